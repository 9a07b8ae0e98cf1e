//! Byte-pair encoding by the pieces themselves: two neighbours join when what they spell is a piece, the best
//! score first. This is SentencePiece's BPE (`bpe_model.cc`), and tiktoken's, whose ranks are scores turned
//! round.

use super::Unknown;
use super::merge::{Join, Symbol, Workspace};
use crate::vocab::Vocab;

/// The order in which pieces are made.
pub(crate) struct Spans {
    /// One per id; smaller is sooner.
    orders: Vec<u32>,
    /// Cut into bytes at first, not into characters.
    byte_level: bool,
    unknown: Unknown,
}

impl Spans {
    /// By scores, the highest first. NaN comes last.
    pub(crate) fn by_score(scores: &[f32], unknown: Unknown) -> Self {
        Self { orders: scores.iter().map(|&s| descending(s)).collect(), byte_level: false, unknown }
    }

    /// By id, the lowest first.
    pub(crate) fn by_id(vocab: &Vocab, unknown: Unknown) -> Self {
        Self { orders: (0..vocab.len() as u32).collect(), byte_level: false, unknown }
    }

    /// By id, the lowest first, from bytes: tiktoken, whose ids are ranks.
    pub(crate) fn by_rank(vocab: &Vocab) -> Self {
        let unknown = Unknown { bytes: None, id: None, fuse: false };
        Self { byte_level: true, ..Self::by_id(vocab, unknown) }
    }

    pub(crate) fn ids(&self, vocab: &Vocab, word: &str, space: &mut Workspace, ids: &mut Vec<u32>) {
        let bytes = word.as_bytes();
        let span = |start: u32, end: u32| &bytes[start as usize..end as usize];
        if self.byte_level {
            space.start((0..bytes.len()).map(|i| Symbol::new(i, i + 1, None)));
        } else {
            space.start(word.char_indices().map(|(i, c)| Symbol::new(i, i + c.len_utf8(), None)));
        }
        space.merge(|left, right| {
            let id = vocab.find(span(left.start, right.end))?;
            Some(Join { order: *self.orders.get(id as usize)?, id })
        });
        let mut after_unknown = false;
        for symbol in space.symbols() {
            let text = span(symbol.start, symbol.end);
            let id = symbol.id.or_else(|| vocab.find(text));
            match id {
                Some(id) => ids.push(id),
                None => self.unknown.ids(text, after_unknown, ids),
            }
            after_unknown = id.is_none();
        }
    }
}

/// An integer that falls as the score rises.
fn descending(score: f32) -> u32 {
    if score.is_nan() {
        return u32::MAX;
    }
    // Adding zero makes -0.0 equal to 0.0.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_scores_come_sooner() {
        let scores = [f32::INFINITY, 3.5, 1.0, 0.0, -0.5, -2.0, -1e9, f32::NEG_INFINITY, f32::NAN];
        let orders: Vec<u32> = scores.iter().map(|&s| descending(s)).collect();
        assert!(orders.is_sorted_by(|a, b| a < b), "{orders:?}");
        assert_eq!(descending(-0.0), descending(0.0));
    }
}
