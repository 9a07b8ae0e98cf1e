//! Where in JSON a text stands.

/// Whether a text stands within a string of JSON, told by its bytes alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) is_in_string: bool,
    is_escaped: bool,
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
