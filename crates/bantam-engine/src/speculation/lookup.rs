//! Guesses out of the sequence itself.

/// Tokens that must have stood before, at least.
const MATCH_MIN: usize = 2;
/// Longer matches are not told apart.
const MATCH_MAX: usize = 16;

/// Up to `count` tokens that followed the longest match of the last tokens, the latest among equally long ones.
pub(crate) fn look_up(tokens: &[u32], count: usize) -> &[u32] {
    let Some((newest, before)) = tokens.split_last() else { return &[] };
    let ends = (1..tokens.len()).rev().filter(|end| tokens[end - 1] == *newest);
    let mut best = (MATCH_MIN - 1, 0);
    for end in ends {
        let common = tokens[..end - 1].iter().rev().zip(before.iter().rev());
        let length = 1 + common.take(MATCH_MAX - 1).take_while(|(a, b)| a == b).count();
        if length > best.0 {
            best = (length, end);
        }
        if length == MATCH_MAX {
            break;
        }
    }
    match best {
        (_, 0) => &[],
        (_, end) => &tokens[end..(end + count).min(tokens.len())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_then_the_latest() {
        let text = [1, 2, 3, 4, 9, 2, 3, 5, 9, 2, 3, 6, 7, 1, 2, 3];
        assert_eq!(look_up(&text, 2), [4, 9], "three tokens stood at the beginning");
        assert_eq!(look_up(&text[1..], 3), [6, 7, 1], "two tokens stood thrice");
        assert_eq!(look_up(&[5, 5, 5, 5], 9), [5], "a match may reach into itself");
        assert_eq!(look_up(&[7, 1, 8, 1], 3), [0; 0], "one token is no match");
        assert_eq!(look_up(&[], 3), [0; 0]);
    }
}
