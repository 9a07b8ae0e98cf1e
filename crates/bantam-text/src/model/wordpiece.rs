//! WordPiece: from the left, always the longest piece; a word that cannot be spelled is unknown as a whole
//! (Wu et al. 2016, as in BERT).

use crate::vocab::Vocab;

/// What BERT's vocabulary needs beside the pieces.
pub(crate) struct WordPiece {
    /// Marks a piece inside a word, usually `##`.
    pub(crate) prefix: String,
    pub(crate) unknown: u32,
    /// Longer words are unknown. In characters.
    pub(crate) word_chars_max: usize,
}

impl WordPiece {
    pub(crate) fn ids(&self, vocab: &Vocab, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        if word.chars().count() > self.word_chars_max || self.spell(vocab, word, ids).is_none() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }

    fn spell(&self, vocab: &Vocab, word: &str, ids: &mut Vec<u32>) -> Option<()> {
        let mut piece = String::with_capacity(word.len() + self.prefix.len());
        let mut start = 0;
        while start < word.len() {
            piece.clear();
            if start > 0 {
                piece.push_str(&self.prefix);
            }
            let prefix_len = piece.len();
            piece.push_str(&word[start..]);
            let (id, len) = longest(vocab, &piece, prefix_len)?;
            ids.push(id);
            start += len;
        }
        Some(())
    }
}

/// The longest beginning of `piece`, past `prefix_len`, that is in the vocabulary, and its length without the
/// prefix.
fn longest(vocab: &Vocab, piece: &str, prefix_len: usize) -> Option<(u32, usize)> {
    let rest = &piece[prefix_len..];
    rest.char_indices().rev().find_map(|(i, c)| {
        let end = prefix_len + i + c.len_utf8();
        vocab.find(&piece.as_bytes()[..end]).map(|id| (id, end - prefix_len))
    })
}
