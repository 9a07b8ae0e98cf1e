//! Byte-pair encoding by a list of merges (Sennrich et al. 2016; byte-level as in GPT-2).

use std::hash::{BuildHasher, RandomState};

use super::Unknown;
use super::merge::{Join, Symbol, Workspace};
use crate::error::{Error, shorten};
use crate::vocab::{Kind, Vocab};

/// What a word is cut into before the first merge.
pub(crate) enum Start {
    /// Bytes, each with its piece.
    Bytes(Box<[Option<u32>; 256]>),
    /// Characters.
    Chars,
}

/// The merges of a vocabulary.
pub(crate) struct Bpe {
    merges: Pairs,
    start: Start,
    unknown: Unknown,
    /// A word that is a piece is taken whole, whatever the merges say.
    whole_words: bool,
}

impl Bpe {
    pub(crate) fn new(
        vocab: &Vocab,
        merges: Pairs,
        byte_level: bool,
        unknown: Unknown,
        whole_words: bool,
    ) -> Self {
        let start = if byte_level {
            let mut pieces = Box::new([None; 256]);
            (0..=255u8).zip(pieces.iter_mut()).for_each(|(byte, id)| *id = vocab.find(&[byte]));
            Start::Bytes(pieces)
        } else {
            Start::Chars
        };
        Self { merges, start, unknown, whole_words }
    }

    pub(crate) fn ids(&self, vocab: &Vocab, word: &str, space: &mut Workspace, ids: &mut Vec<u32>) {
        if self.whole_words
            && let Some(id) = vocab.find(word.as_bytes())
        {
            ids.push(id);
            return;
        }
        self.begin(vocab, word, space);
        space.merge(|left, right| self.merges.find(pair(left.id?, right.id?)));
        let mut after_unknown = false;
        for symbol in space.symbols() {
            match symbol.id {
                Some(id) => ids.push(id),
                None => self.unknown.ids(
                    &word.as_bytes()[symbol.start as usize..symbol.end as usize],
                    after_unknown,
                    ids,
                ),
            }
            after_unknown = symbol.id.is_none();
        }
    }

    fn begin(&self, vocab: &Vocab, word: &str, space: &mut Workspace) {
        match &self.start {
            Start::Bytes(pieces) => {
                let bytes = word.bytes().enumerate();
                space.start(bytes.map(|(i, b)| Symbol::new(i, i + 1, pieces[usize::from(b)])));
            }
            Start::Chars => space.start(word.char_indices().map(|(i, c)| {
                let end = i + c.len_utf8();
                Symbol::new(i, end, vocab.find(&word.as_bytes()[i..end]))
            })),
        }
    }
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Pairs of ids, each with the rank of its merge and the joined id: open addressing, a random odd factor as
/// the hash, so that no file can choose pairs that collide.
pub(crate) struct Pairs {
    slots: Vec<(u64, u32, u32)>,
    factor: u64,
    shift: u32,
}

/// No pair: ids are below 2^32 - 1.
const FREE: u64 = u64::MAX;

impl Pairs {
    fn with_capacity(count: usize) -> Self {
        let slots = (count.max(4) * 2).next_power_of_two();
        let factor = RandomState::new().hash_one(slots) | 1;
        Self { slots: vec![(FREE, 0, 0); slots], factor, shift: 64 - slots.trailing_zeros() }
    }

    /// Adds a pair unless it is there. At most as many as the capacity was given for.
    fn insert(&mut self, key: u64, rank: u32, id: u32) {
        let slot = self.slot(key);
        if self.slots[slot].0 == FREE {
            self.slots[slot] = (key, rank, id);
        }
    }

    fn find(&self, key: u64) -> Option<Join> {
        let (found, order, id) = self.slots[self.slot(key)];
        (found == key).then_some(Join { order, id })
    }

    /// Where `key` is or would be.
    fn slot(&self, key: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (key.wrapping_mul(self.factor) >> self.shift) as usize;
        while self.slots[slot].0 != key && self.slots[slot].0 != FREE {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

/// Collects merges in order of rank.
pub(crate) struct Merges<'v> {
    vocab: &'v Vocab,
    table: Pairs,
    joined: Vec<u8>,
    rank: u32,
}

impl<'v> Merges<'v> {
    pub(crate) fn with_capacity(vocab: &'v Vocab, count: usize) -> Self {
        Self { vocab, table: Pairs::with_capacity(count), joined: Vec::new(), rank: 0 }
    }

    /// Adds the merge of the next rank. All three pieces must be in the vocabulary.
    pub(crate) fn push(&mut self, left: &[u8], right: &[u8]) -> Result<(), Error> {
        self.joined.clear();
        self.joined.extend_from_slice(left);
        self.joined.extend_from_slice(right);
        let find = |piece: &[u8]| {
            self.vocab.find_any(piece).ok_or_else(|| {
                let text = shorten(&String::from_utf8_lossy(piece));
                Error::wanted(
                    format!("merge {}", self.rank),
                    "pieces of the vocabulary",
                    format!("`{text}`, which is not in it"),
                )
            })
        };
        let (left, right, joined) = (find(left)?, find(right)?, find(&self.joined)?);
        // A special token is never made from text, even where the merges would spell it.
        if self.vocab.kind(joined).is_some_and(Kind::is_spelled) {
            self.table.insert(pair(left, right), self.rank, joined);
        }
        self.rank += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> Pairs {
        self.table
    }
}
