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
    /// By character from U+0080 to U+017F: the byte, or [`NONE`].
    byte_of: [u16; 0x100],
}

const NONE: u16 = 0x100;

impl Alphabet {
    pub(crate) fn new() -> Self {
        let mut byte_of = [NONE; 0x100];
        for byte in 0..=255u8 {
            if let Some(place) = (spelled(byte) as usize).checked_sub(0x80) {
                byte_of[place] = u16::from(byte);
            }
        }
        Self { byte_of }
    }

    /// The bytes that `spelled`, which should be UTF-8, stands for, appended to `bytes`; `None` where a character is not
    /// of the alphabet.
    pub(crate) fn bytes(&self, spelled: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
        let start = bytes.len();
        // What is written over here, so that the loop below has no room to look after.
        bytes.extend_from_slice(spelled);
        let out = &mut bytes[start..];
        let (mut at, mut len) = (0, 0);
        while let Some(&first) = spelled.get(at) {
            at += 1;
            if matches!(first, b'!'..=b'~') {
                out[len] = first;
            } else {
                // U+0080 to U+017F, which are two bytes long.
                let second =
                    spelled.get(at).filter(|&&b| b & 0xC0 == 0x80 && matches!(first, 0xC2..=0xC5))?;
                at += 1;
                let byte = self.byte_of[usize::from(first - 0xC2) << 6 | usize::from(second & 0x3F)];
                out[len] = u8::try_from(byte).ok()?;
            }
            len += 1;
        }
        bytes.truncate(start + len);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let text: String = all.iter().map(|&byte| spelled(byte)).collect();
        let mut bytes = b"before".to_vec();
        assert!(Alphabet::new().bytes(text.as_bytes(), &mut bytes).is_some());
        assert_eq!(bytes, [b"before", &all[..]].concat());
    }

    #[test]
    fn space_and_newline_are_spelled_as_in_gpt_2() {
        let mut bytes = Vec::new();
        assert!(Alphabet::new().bytes("ĠaĊ".as_bytes(), &mut bytes).is_some());
        assert_eq!(bytes, b" a\n");
        for foreign in ["\u{2581}".as_bytes(), "ń".as_bytes(), b" ", b"\xC4", b"\xC4a", b"\xC0\xA1"] {
            assert!(Alphabet::new().bytes(foreign, &mut bytes).is_none(), "{foreign:?}");
        }
    }
}
