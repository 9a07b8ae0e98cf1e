//! Unigram language model: of all segmentations the one with the highest sum of scores (Kudo 2018).
//!
//! Viterbi over the bytes of a word; pieces that begin at a place are found by narrowing a range of the
//! sorted vocabulary byte by byte.

use super::Unknown;
use crate::error::Error;
use crate::vocab::Vocab;

/// How much worse than the worst piece an unknown character is (`kUnkPenalty` of SentencePiece).
const UNKNOWN_PENALTY: f64 = 10.0;

/// The pieces' scores, and their order.
pub(crate) struct Unigram {
    scores: Vec<f32>,
    sorted: Vec<u32>,
    /// Where in `sorted` the pieces begin that start with each two bytes, and, at the end, where the last of
    /// them ends.
    starts: Vec<u32>,
    unknown_score: f64,
    unknown: Unknown,
}

/// The best way to reach a place.
#[derive(Clone, Copy)]
struct Step {
    score: f64,
    from: u32,
    id: Option<u32>,
}

impl Unigram {
    pub(crate) fn new(vocab: &Vocab, scores: &[f32], unknown: Unknown) -> Result<Self, Error> {
        let is_usable = |id: &u32| vocab.find(vocab.piece(*id)) == Some(*id);
        let mut sorted: Vec<u32> = (0..vocab.len() as u32).filter(is_usable).collect();
        sorted.sort_unstable_by_key(|&id| vocab.piece(id));
        if scores.len() < vocab.len() || scores.iter().any(|s| s.is_nan()) {
            return Err(Error::wanted(
                "scores",
                format!("{} numbers", vocab.len()),
                format!("{}, or NaN", scores.len()),
            ));
        }
        let starts = starts(vocab, &sorted);
        let worst = sorted.iter().map(|&id| scores[id as usize]).fold(f32::INFINITY, f32::min);
        let unknown_score = f64::from(worst) - UNKNOWN_PENALTY;
        Ok(Self { scores: scores.to_vec(), sorted, starts, unknown_score, unknown })
    }

    pub(crate) fn ids(&self, vocab: &Vocab, word: &str, ids: &mut Vec<u32>) {
        let best = self.lattice(vocab, word);
        let mut path = Vec::new();
        let mut at = word.len();
        while at > 0 {
            let Some(step) = best[at] else { break };
            path.push((step.from as usize..at, step.id));
            at = step.from as usize;
        }
        let mut after_unknown = false;
        for (range, id) in path.into_iter().rev() {
            match id {
                Some(id) => ids.push(id),
                None => self.unknown.ids(&word.as_bytes()[range], after_unknown, ids),
            }
            after_unknown = id.is_none();
        }
    }

    /// The best step to each byte offset that a segmentation can reach.
    fn lattice(&self, vocab: &Vocab, word: &str) -> Vec<Option<Step>> {
        let mut best: Vec<Option<Step>> = vec![None; word.len() + 1];
        for (at, c) in word.char_indices() {
            let here = if at == 0 { 0.0 } else { best[at].map_or(f64::NEG_INFINITY, |s| s.score) };
            let after_char = at + c.len_utf8();
            let mut has_single = false;
            self.pieces_at(vocab, &word.as_bytes()[at..], |id, len| {
                let score = here + f64::from(self.scores[id as usize]);
                improve(&mut best[at + len], Step { score, from: at as u32, id: Some(id) });
                has_single |= at + len == after_char;
            });
            if !has_single {
                let step = Step { score: here + self.unknown_score, from: at as u32, id: None };
                improve(&mut best[after_char], step);
            }
        }
        best
    }

    /// Calls `found(id, len)` for every piece that `text` begins with, shortest first.
    fn pieces_at(&self, vocab: &Vocab, text: &[u8], mut found: impl FnMut(u32, usize)) {
        let Some(&first) = text.first() else { return };
        let bucket = usize::from(first) * 257;
        // Of the pieces with this first byte, the one that has no other sorts first.
        let single = self.range(bucket, bucket + 1);
        single.iter().for_each(|&id| found(id, 1));
        let Some(&second) = text.get(1) else { return };
        let bucket = bucket + 1 + usize::from(second);
        let mut range = self.range(bucket, bucket + 1);
        for len in 2.. {
            // The shortest piece sorts first; once reported it leaves, as it has no next byte.
            if let Some((&id, rest)) = range.split_first()
                && vocab.piece(id).len() == len
            {
                found(id, len);
                range = rest;
            }
            let Some(&byte) = text.get(len).filter(|_| !range.is_empty()) else { return };
            let byte_of = |id: &u32| vocab.piece(*id)[len];
            let from = range.partition_point(|id| byte_of(id) < byte);
            let to = from + range[from..].partition_point(|id| byte_of(id) == byte);
            range = &range[from..to];
        }
    }

    fn range(&self, from: usize, to: usize) -> &[u32] {
        &self.sorted[self.starts[from] as usize..self.starts[to] as usize]
    }
}

/// For each first byte one bucket of the piece that is just this byte and one for each second byte: where
/// they begin.
fn starts(vocab: &Vocab, sorted: &[u32]) -> Vec<u32> {
    let bucket = |id: u32| match *vocab.piece(id) {
        [] => 0,
        [first] => usize::from(first) * 257,
        [first, second, ..] => usize::from(first) * 257 + 1 + usize::from(second),
    };
    let mut starts = vec![0u32; 256 * 257 + 1];
    sorted.iter().for_each(|&id| starts[bucket(id) + 1] += 1);
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    starts
}

fn improve(best: &mut Option<Step>, step: Step) {
    if best.is_none_or(|b| step.score > b.score) {
        *best = Some(step);
    }
}
