//! How JSON is led to its end when few tokens are left: what is open is closed as soon as the grammar lets it be.
//!
//! Only what the grammar allows is left to choose from, so the answer holds to it as before.

use llguidance::toktrie::{SimpleVob, TokEnv};

/// Tokens that bring JSON nearer to its end, in tiers: where one of a tier is allowed, only those of this tier are.
pub(crate) struct Closers {
    /// Within a string.
    inside: Vec<SimpleVob>,
    /// Elsewhere: the end itself, closing brackets, what leads to the next key that must come, the shortest of values.
    outside: Vec<SimpleVob>,
}

/// Whether an answer is led to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It cannot be: it is not known what leads there.
    Never,
    /// Not yet.
    Later,
    /// It is, and there was always nothing else to choose.
    Now,
    /// It is, and something else could have come.
    Cut,
}

/// Where in JSON a text stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    is_in_string: bool,
    is_escaped: bool,
}

impl Closers {
    pub(crate) fn new(words: &TokEnv) -> Self {
        let trie = words.tok_trie();
        let tokens = |first: &[u8], rest: &[u8]| {
            let mut found = trie.alloc_token_set();
            for id in 0..trie.vocab_size() as u32 {
                let word = trie.token(id).split_first();
                if word
                    .is_some_and(|(byte, more)| first.contains(byte) && more.iter().all(|b| rest.contains(b)))
                {
                    found.allow_token(id);
                }
            }
            found
        };
        let brackets = tokens(b"]}", b"]}");
        let (commas, quotes) = (tokens(b",", b" \""), tokens(b"\"", b"\"]}"));
        Closers {
            inside: vec![quotes.clone()],
            outside: vec![trie.eos_token_set(), brackets, commas, quotes],
        }
    }

    /// Leaves of a mask the tokens that bring the end nearest; whether others were among them.
    pub(crate) fn restrict(&self, place: Place, mask: &mut SimpleVob) -> bool {
        let tiers = if place.is_in_string { &self.inside } else { &self.outside };
        let Some(nearest) = tiers.iter().find(|tier| !tier.and_is_zero(mask)) else { return false };
        let before = mask.num_set();
        mask.and(nearest);
        mask.num_set() < before
    }
}

impl Place {
    /// The place behind some more bytes.
    pub(crate) fn after(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |Place { is_in_string, is_escaped }, byte| match byte {
            _ if is_escaped => Place { is_in_string, is_escaped: false },
            b'"' => Place { is_in_string: !is_in_string, is_escaped },
            b'\\' => Place { is_in_string, is_escaped: is_in_string },
            _ => Place { is_in_string, is_escaped },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_told_from_what_is_around_them() {
        let place = |text: &str| Place::default().after(text.as_bytes());
        for inside in ["\"", "{\"a\": \"b", "\"a\\\"", "[\"\\\\\", \"}"] {
            assert!(place(inside).is_in_string, "{inside}");
        }
        for outside in ["", "{", "\"a\"", "\"\\\\\"", "[1, \"]\""] {
            assert!(!place(outside).is_in_string, "{outside}");
        }
        assert!(place("\"\\").is_escaped && !place("\"\\n").is_escaped);
    }
}
