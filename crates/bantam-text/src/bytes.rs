//! The alphabet of byte-level vocabularies: every byte is written as one printable character.
//!
//! Source: `bytes_to_unicode` of the GPT-2 release. Printable Latin-1 bytes stand for themselves, the other
//! 68 are counted up from U+0100.

/// Whether a byte stands for itself.
fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The character of a byte.
pub(crate) fn spelled(byte: u8) -> char {
    if is_itself(byte) {
        return char::from(byte);
    }
    let others_before = (0..byte).filter(|byte| !is_itself(*byte)).count();
    char::from_u32(0x100 + others_before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Characters of the alphabet, back to bytes.
pub(crate) struct Alphabet {
    byte_of: [Option<u8>; 0x144],
}

impl Alphabet {
    pub(crate) fn new() -> Self {
        let mut byte_of = [None; 0x144];
        for byte in 0..=255u8 {
            byte_of[spelled(byte) as usize] = Some(byte);
        }
        Self { byte_of }
    }

    /// The bytes that `spelled` stands for, appended to `bytes`; `None` where a character is not of the
    /// alphabet.
    pub(crate) fn bytes(&self, spelled: &str, bytes: &mut Vec<u8>) -> Option<()> {
        for c in spelled.chars() {
            bytes.push((*self.byte_of.get(c as usize)?)?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_has_every_byte_once() {
        let alphabet = Alphabet::new();
        let mut seen: Vec<u8> = alphabet.byte_of.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn space_and_newline_are_spelled_as_in_gpt_2() {
        let mut bytes = Vec::new();
        assert!(Alphabet::new().bytes("ĠaĊ", &mut bytes).is_some());
        assert_eq!(bytes, b" a\n");
        assert!(Alphabet::new().bytes("\u{2581}", &mut bytes).is_none());
    }
}
