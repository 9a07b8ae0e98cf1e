//! Text that a grammar leaves free until a mark: which tokens may come is computed once and not before each of them, and
//! the parser beneath is told of nothing else than what may be the mark.

use std::sync::Arc;

use llguidance::toktrie::{SimpleVob, TokTrie};

/// Where a text stands that is free until a mark.
#[derive(Clone)]
pub(crate) struct Free {
    mark: Arc<str>,
    allowed: Arc<SimpleVob>,
    /// The last bytes, fewer than the mark has.
    tail: Vec<u8>,
    /// Bytes that the last character lacks.
    lacks: usize,
}

impl Free {
    /// At the beginning of a text. `allowed` may come wherever it is free.
    pub(crate) fn new(mark: Arc<str>, allowed: Arc<SimpleVob>) -> Self {
        Free { mark, allowed, tail: Vec::new(), lacks: 0 }
    }

    /// The tokens that may come next; `None` within a character, and where the mark may have begun.
    pub(crate) fn allowed(&self) -> Option<&[u32]> {
        let mark = self.mark.as_bytes();
        let has_begun = (1..mark.len()).any(|end| self.tail.ends_with(&mark[..end]));
        (self.lacks == 0 && !has_begun).then(|| self.allowed.as_slice())
    }

    /// The place behind some more text; `None` behind the mark, and behind what is no text.
    pub(crate) fn after(mut self, bytes: &[u8]) -> Option<Self> {
        if bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER) {
            return None;
        }
        self.lacks = bytes.iter().fold(self.lacks, |lacks, byte| match byte.leading_ones() {
            1 => lacks.saturating_sub(1),
            ones => (ones as usize).saturating_sub(1),
        });
        self.tail.extend_from_slice(bytes);
        let mark = self.mark.as_bytes();
        if self.tail.windows(mark.len()).any(|text| text == mark) {
            return None;
        }
        self.tail.drain(..(self.tail.len() + 1).saturating_sub(mark.len()));
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_free_but_where_the_mark_may_begin() {
        let after = |words: &[u8]| {
            let free = Some(Free::new("<call>".into(), Arc::new(SimpleVob::alloc(32))));
            let free = words.split(|byte| *byte == b'|').fold(free, |free, word| free?.after(word));
            free.map(|free| free.allowed().is_some())
        };
        for words in [&b""[..], b"a <cab", b"a|<c|<d", "é".as_bytes(), b"\xC3|\xA9", b"<cal|<calx"] {
            assert_eq!(after(words), Some(true), "{words:?}");
        }
        for words in [&b"a<"[..], b"<cal|l", b"<c<call", b"\xC3", b"\xF0\x9F|\x98"] {
            assert_eq!(after(words), Some(false), "{words:?}");
        }
        for words in [&b"<call>"[..], b"a<ca|ll>{|b", b"\xFF[1]"] {
            assert_eq!(after(words), None, "{words:?}");
        }
    }
}
