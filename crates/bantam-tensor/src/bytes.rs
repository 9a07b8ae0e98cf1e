//! The bytes of a tensor: a range of a mapped file or of an owned buffer.
//!
//! A clone or a slice shares the same memory; the memory goes when the last of them goes.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// A shared, immutable range of bytes.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<Owner>,
    start: usize,
    len: usize,
}

enum Owner {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Owner {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(vec) => vec,
        }
    }
}

impl Bytes {
    /// The whole of a mapped file.
    pub(crate) fn from_map(map: Mmap) -> Self {
        let len = map.len();
        Self { owner: Arc::new(Owner::Mapped(map)), start: 0, len }
    }

    /// The bytes themselves.
    pub fn as_slice(&self) -> &[u8] {
        &self.owner.as_slice()[self.start..self.start + self.len]
    }

    /// A part of these bytes, without a copy; `None` where the range is not inside them.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        let owner = Arc::clone(&self.owner);
        Some(Self { owner, start: self.start + range.start, len: range.end - range.start })
    }

    /// Lets go of the memory that they take, if they lie in a mapped file: it is read again where it is needed again.
    pub fn release(&self) {
        if let Owner::Mapped(map) = &*self.owner {
            crate::format::release(map, self.start..self.start + self.len);
        }
    }

    /// Whether the bytes lie in a mapped file rather than in memory of our own.
    pub fn is_mapped(&self) -> bool {
        matches!(*self.owner, Owner::Mapped(_))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(vec: Vec<u8>) -> Self {
        let len = vec.len();
        Self { owner: Arc::new(Owner::Owned(vec)), start: 0, len }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_mapped() { "mapped" } else { "owned" };
        write!(f, "Bytes({} {kind})", self.len)
    }
}
