//! Byte-pair encoding by a list of merges (Sennrich et al. 2016; byte-level as in GPT-2).

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use super::Unknown;
use super::merge::{Join, Symbol, Workspace};
use crate::error::{Error, shorten};
use crate::slots::Slots;
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
        space.merge(|left, right| self.merges.find(left.id?, right.id?));
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

/// Pairs of ids, each with the id of what they join to; a place in the list is an order of merges.
pub(crate) struct Pairs {
    list: Vec<[u32; 3]>,
    slots: Slots,
    /// A random odd factor: the hash of a pair is the two halves of their product.
    factor: u64,
}

impl Pairs {
    /// Left, right, joined, in order; of a pair that is there more than once, the first.
    fn new(all: &[&[[u32; 3]]]) -> Self {
        let count = all.iter().map(|list| list.len()).sum();
        let factor = RandomState::new().hash_one(count) | 1;
        let mut pairs = Self { list: Vec::with_capacity(count), slots: Slots::with_capacity(count), factor };
        for &[left, right, joined] in all.iter().copied().flatten() {
            if let Err(slot) = pairs.place(left, right) {
                pairs.slots.fill(slot, pairs.hash(left, right), pairs.list.len() as u32);
                pairs.list.push([left, right, joined]);
            }
        }
        pairs
    }

    fn find(&self, left: u32, right: u32) -> Option<Join> {
        let order = self.place(left, right).ok()?;
        Some(Join { order, id: self.list[order as usize][2] })
    }

    fn place(&self, left: u32, right: u32) -> Result<u32, usize> {
        let is_it = |place: u32| self.list[place as usize][..2] == [left, right];
        self.slots.find(self.hash(left, right), is_it)
    }

    fn hash(&self, left: u32, right: u32) -> u64 {
        let pair = u64::from(left) << 32 | u64::from(right);
        let product = u128::from(pair) * u128::from(self.factor);
        (product >> 64) as u64 ^ product as u64
    }
}

/// Finds the pieces of merges, in order of rank.
pub(crate) struct Merges<'v> {
    vocab: &'v Vocab,
    /// Left, right, joined.
    found: Vec<[u32; 3]>,
    /// The id that the next merge makes if pieces lie in the order of their merges, as they mostly do.
    guess: u32,
    /// Of the next merge, for messages.
    rank: usize,
}

impl<'v> Merges<'v> {
    /// For merges of these ranks.
    pub(crate) fn of_ranks(vocab: &'v Vocab, ranks: Range<usize>) -> Self {
        Self { vocab, found: Vec::with_capacity(ranks.len()), guess: 0, rank: ranks.start }
    }

    /// Adds the merge of the next rank: what it makes, and where that is cut in two. All three pieces must be in the
    /// vocabulary. Gives the id of what it makes.
    pub(crate) fn push(&mut self, joined: &[u8], cut: usize) -> Result<u32, Error> {
        let guess = self.guess;
        let id = if self.vocab.is(guess, joined) { guess } else { self.find(joined)? };
        self.add(id, joined.split_at(cut))
    }

    /// As [`Self::push`] for what is known to make the piece `id`.
    pub(crate) fn push_known(&mut self, id: u32, cut: usize) -> Result<u32, Error> {
        let vocab = self.vocab;
        self.add(id, vocab.piece(id).split_at(cut))
    }

    fn find(&self, piece: &[u8]) -> Result<u32, Error> {
        self.vocab.find_any(piece).ok_or_else(|| {
            let text = shorten(&String::from_utf8_lossy(piece));
            Error::wanted(
                format!("merge {}", self.rank),
                "pieces of the vocabulary",
                format!("`{text}`, which is not in it"),
            )
        })
    }

    fn add(&mut self, joined: u32, (left, right): (&[u8], &[u8])) -> Result<u32, Error> {
        let (left, right) = (self.find(left)?, self.find(right)?);
        self.guess = joined + 1;
        // A special token is never made from text, even where the merges would spell it.
        if self.vocab.kind(joined).is_some_and(Kind::is_spelled) {
            self.found.push([left, right, joined]);
        }
        self.rank += 1;
        Ok(joined)
    }

    pub(crate) fn finish(self) -> Pairs {
        Pairs::new(&[&self.found])
    }

    /// With the merges of the ranks behind these.
    pub(crate) fn finish_with(self, rest: Self) -> Pairs {
        Pairs::new(&[&self.found, &rest.found])
    }
}
