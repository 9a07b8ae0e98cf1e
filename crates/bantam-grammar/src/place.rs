//! Where in JSON a text stands.

/// Whether a text stands within a string of JSON, told by its bytes alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The string in which it stands, as far as it is written, behind its quote.
    string: Option<Vec<u8>>,
    is_escaped: bool,
}

impl Place {
    /// What is written of the string in which the text stands.
    pub(crate) fn string(&self) -> Option<&[u8]> {
        self.string.as_deref()
    }

    /// Goes past some more bytes.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match &mut self.string {
                Some(string) if self.is_escaped || byte != b'"' => {
                    string.push(byte);
                    self.is_escaped = !self.is_escaped && byte == b'\\';
                }
                Some(_) => self.string = None,
                None if byte == b'"' => self.string = Some(Vec::new()),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_told_from_what_is_around_them() {
        let string = |text: &str| {
            let mut place = Place::default();
            place.pass(text.as_bytes());
            place.string().map(|string| String::from_utf8(string.to_vec()).unwrap())
        };
        let inside =
            [("\"", ""), ("{\"a\": \"b", "b"), ("\"a\\\"", "a\\\""), ("[\"\\\\\", \"}", "}"), ("\"\\", "\\")];
        for (text, wanted) in inside {
            assert_eq!(string(text).as_deref(), Some(wanted), "{text}");
        }
        for outside in ["", "{", "\"a\"", "\"\\\\\"", "[1, \"]\"", "\"\\n\""] {
            assert_eq!(string(outside), None, "{outside}");
        }
    }
}
