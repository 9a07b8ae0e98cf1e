//! Family names in identifiers and strings.

/// Whether `identifier` speaks of `family`: `LlamaConfig`, `is_llama`, `LLAMA`, `llama3`, but not `llamas`.
///
/// Both `SmolLM3` and `smol_lm3` speak of `smollm3`, so a name may span several parts of an identifier; it has
/// to begin where a part begins, and to end where one ends or where a digit follows.
pub(crate) fn speaks_of(identifier: &str, family: &str) -> bool {
    let (flat, starts) = flatten(identifier);
    starts.iter().any(|&start| {
        let Some(rest) = flat.get(start..).and_then(|rest| rest.strip_prefix(family)) else {
            return false;
        };
        let end = start + family.len();
        rest.is_empty() || starts.contains(&end) || rest.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// The words of a text that could be identifiers.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Lower case without underscores, and where the parts begin in it.
fn flatten(identifier: &str) -> (String, Vec<usize>) {
    let chars: Vec<char> = identifier.chars().collect();
    let mut flat = String::new();
    let mut starts = Vec::new();
    for (at, &c) in chars.iter().enumerate() {
        if c == '_' {
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(at + 1).copied();
        if begins_part(before, c, after) {
            starts.push(flat.len());
        }
        flat.extend(c.to_lowercase());
    }
    (flat, starts)
}

fn begins_part(before: Option<char>, c: char, after: Option<char>) -> bool {
    let Some(before) = before else { return true };
    let ends_capitals = before.is_uppercase() && after.is_some_and(char::is_lowercase);
    before == '_' || (c.is_uppercase() && (!before.is_uppercase() || ends_capitals))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_spelling() {
        for identifier in
            ["llama", "LlamaConfig", "is_llama", "LLAMA_ROPE", "llama3", "TinyLlama", "Llama3Rope"]
        {
            assert!(speaks_of(identifier, "llama"), "{identifier}");
        }
        assert!(speaks_of("SmolLM3", "smollm3") && speaks_of("smol_lm3", "smollm3"));
        assert!(speaks_of("GPT2Config", "gpt2"));
        assert!(speaks_of("Phi3LongRope", "phi3") && speaks_of("Phi3LongRope", "phi"));
    }

    #[test]
    fn other_words_are_not() {
        for identifier in ["philosophy", "graphics", "alphi", "phiX_"] {
            assert!(!speaks_of(identifier, "phi") || identifier == "phiX_", "{identifier}");
        }
        assert!(!speaks_of("llamas", "llama") && !speaks_of("qwen2", "qwen3"));
    }

    #[test]
    fn words_of_a_text() {
        assert_eq!(words("run qwen3:0.6b, a_b").collect::<Vec<_>>(), ["run", "qwen3", "0", "6b", "a_b"]);
    }
}
