//! The table of pieces: id to bytes, and bytes to id for the pieces a model may produce from text.
//!
//! All pieces lie in one buffer, so that a vocabulary of 262,144 pieces loads in milliseconds. Invariant: ids
//! are dense from 0, no two pieces of the model have the same bytes, and [`Vocab::find`] gives only pieces
//! that may be made from text ([`Kind::is_spelled`]).

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

use crate::error::{Error, shorten};
use crate::slots::Slots;

/// Longest piece accepted, in bytes. The longest in use are runs of a few hundred spaces.
pub(crate) const PIECE_BYTES_MAX: usize = 2048;
/// Most bytes of all pieces together, so that offsets fit 32 bits.
const TEXT_BYTES_MAX: usize = 1 << 30;
/// Most pieces accepted. The largest in use have 262,144.
pub(crate) const PIECES_MAX: usize = 1 << 22;

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Made from text by the model.
    Normal,
    /// Stands for what the vocabulary cannot spell.
    Unknown,
    /// A special token, such as the start of a turn: never made from a user's text.
    Control,
    /// A token that frames text, such as `<think>` or `<tool_call>`, but that its maker did not mark as
    /// special.
    Marker,
    /// Ordinary text that is always one token, such as a run of spaces.
    UserDefined,
    /// One byte of a character that the vocabulary cannot spell.
    Byte,
    /// Fills up the table.
    Unused,
}

impl Kind {
    /// Whether the model may produce such a piece from text.
    pub(crate) fn is_spelled(self) -> bool {
        matches!(self, Self::Normal | Self::UserDefined | Self::Byte)
    }
}

/// The pieces of a vocabulary.
pub(crate) struct Vocab {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<Kind>,
    /// Whether the model may look a piece up.
    listed: Vec<bool>,
    /// Ids of pieces of one byte, which are looked up more than all others.
    singles: Box<[Option<u32>; 256]>,
    slots: Slots,
    state: RandomState,
    longest: usize,
    /// Pieces announced.
    count: usize,
}

impl Vocab {
    /// A table for `count` pieces, still empty.
    pub(crate) fn with_capacity(count: usize) -> Result<Self, Error> {
        if count > PIECES_MAX {
            return Err(Error::wanted(
                "vocabulary",
                format!("at most {PIECES_MAX} pieces"),
                count.to_string(),
            ));
        }
        Ok(Self {
            bytes: Vec::with_capacity(count * 8),
            ends: Vec::with_capacity(count),
            kinds: Vec::with_capacity(count),
            listed: Vec::with_capacity(count),
            singles: Box::new([None; 256]),
            slots: Slots::with_capacity(count),
            state: RandomState::default(),
            longest: 0,
            count,
        })
    }

    /// Adds the piece of the next id. `in_model`: the model may look it up; then its bytes must be new.
    pub(crate) fn push(&mut self, piece: &[u8], kind: Kind, in_model: bool) -> Result<u32, Error> {
        let id = self.ends.len() as u32;
        if piece.len() > PIECE_BYTES_MAX {
            let wanted = format!("at most {PIECE_BYTES_MAX} bytes");
            return Err(Error::wanted(format!("piece {id}"), wanted, format!("{} bytes", piece.len())));
        }
        if self.bytes.len() > TEXT_BYTES_MAX {
            let wanted = format!("at most {TEXT_BYTES_MAX} bytes together");
            return Err(Error::wanted("vocabulary", wanted, "more"));
        }
        if self.ends.len() >= self.count {
            return Err(Error::wanted("vocabulary", format!("{id} pieces as announced"), "more"));
        }
        let is_listed = in_model && !piece.is_empty();
        if is_listed {
            self.index(piece, id)?;
        }
        self.listed.push(is_listed);
        self.bytes.extend_from_slice(piece);
        self.ends.push(self.bytes.len() as u32);
        self.kinds.push(kind);
        Ok(id)
    }

    fn index(&mut self, piece: &[u8], id: u32) -> Result<(), Error> {
        self.longest = self.longest.max(piece.len());
        let hash = self.hash(piece);
        match self.slots.find(hash, |other| self.piece(other) == piece) {
            Err(slot) => {
                self.slots.fill(slot, hash, id);
                if let [byte] = piece {
                    self.singles[usize::from(*byte)] = Some(id);
                }
            }
            Ok(first) => {
                let text = shorten(&String::from_utf8_lossy(piece));
                let found = format!("`{text}` as {first} and {id}");
                return Err(Error::wanted("vocabulary", "distinct pieces", found));
            }
        }
        Ok(())
    }

    fn hash(&self, piece: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(piece);
        hasher.finish()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn kind(&self, id: u32) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
    }

    /// The bytes of a piece; empty for an id outside the table.
    pub(crate) fn piece(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// The id of the piece with exactly these bytes, if it may be made from text.
    pub(crate) fn find(&self, piece: &[u8]) -> Option<u32> {
        self.find_any(piece).filter(|&id| self.kinds[id as usize].is_spelled())
    }

    /// The id of the model's piece with exactly these bytes, of any kind.
    pub(crate) fn find_any(&self, piece: &[u8]) -> Option<u32> {
        match piece {
            [] => None,
            [byte] => self.singles[usize::from(*byte)],
            _ if piece.len() > self.longest => None,
            _ => self.slots.find(self.hash(piece), |id| self.piece(id) == piece).ok(),
        }
    }

    /// Whether `id` is what [`Self::find_any`] gives for these bytes.
    pub(crate) fn is(&self, id: u32, piece: &[u8]) -> bool {
        self.is_listed(id) && self.piece(id) == piece
    }

    /// Whether the model may look up the piece of an id.
    pub(crate) fn is_listed(&self, id: u32) -> bool {
        self.listed.get(id as usize) == Some(&true)
    }

    /// All ids with their kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (u32, Kind)> + '_ {
        self.kinds.iter().enumerate().map(|(id, &kind)| (id as u32, kind))
    }

    /// The ids of `<0x00>` to `<0xFF>`, if all are there.
    pub(crate) fn byte_pieces(&self) -> Option<Box<[u32; 256]>> {
        let mut ids = Box::new([0; 256]);
        for (byte, id) in ids.iter_mut().enumerate() {
            *id = self.find(format!("<0x{byte:02X}>").as_bytes())?;
        }
        Some(ids)
    }
}
