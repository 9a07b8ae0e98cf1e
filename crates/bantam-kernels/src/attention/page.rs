//! Where keys and values are kept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};

use super::coded::{Coded, GROUP, Width};
use crate::Machine;
use crate::lanes::LANES;
use crate::share::Shared;

/// Positions in a page.
pub const PAGE: usize = 64;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvStorage {
    /// As computed.
    F32,
    /// Rounded to half precision.
    F16,
    /// Rounded to the upper half of single precision.
    BF16,
    /// Rotated, then 8-bit codes and a scale for each 32 numbers of a head.
    Q8_0,
    /// Rotated, then 4-bit codes and a scale for each 32 numbers of a head.
    Q4_0,
}

impl KvStorage {
    /// Every storage, finest first.
    pub const ALL: [KvStorage; 5] =
        [KvStorage::F32, KvStorage::F16, KvStorage::BF16, KvStorage::Q8_0, KvStorage::Q4_0];

    /// Its name on the command line, as llama.cpp has it.
    pub const fn name(self) -> &'static str {
        match self {
            KvStorage::F32 => "f32",
            KvStorage::F16 => "f16",
            KvStorage::BF16 => "bf16",
            KvStorage::Q8_0 => "q8_0",
            KvStorage::Q4_0 => "q4_0",
        }
    }
}

impl fmt::Display for KvStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KvStorage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = KvStorage::ALL.map(KvStorage::name).join(", ");
        let found = KvStorage::ALL.into_iter().find(|storage| storage.name() == name);
        found.ok_or_else(|| format!("keys and values cannot be kept as \"{name}\"; there are {names}"))
    }
}

/// The shape of the keys and values of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Heads of keys and of values.
    pub num_kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Values of one position of one head are filled up to whole groups of sixteen.
    pub(super) fn value_stride(self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// What comes of a query is filled up to whole groups of codes.
    pub(super) fn padded_dim(self) -> usize {
        self.head_dim.next_multiple_of(GROUP)
    }

    pub(super) fn head_len(self) -> usize {
        PAGE * (self.head_dim + self.value_stride())
    }

    /// Bytes of a page.
    pub fn page_bytes(self, storage: KvStorage) -> usize {
        let head = match storage {
            KvStorage::F32 => self.head_len() * 4,
            KvStorage::F16 | KvStorage::BF16 => self.head_len() * 2,
            KvStorage::Q8_0 => Coded::bytes_of_head(self, Width::Eight),
            KvStorage::Q4_0 => Coded::bytes_of_head(self, Width::Four),
        };
        self.num_kv_heads * head
    }
}

/// Keys and values of [`PAGE`] positions of one layer. Uncoded, it holds for each head the keys,
/// `[head_dim][PAGE]`, then the values, `[PAGE][head_dim filled up to 16]`; coded, see `coded.rs`.
///
/// Clones share their numbers; one that is written gets a copy of its own first.
#[derive(Clone, PartialEq)]
pub struct Page {
    pub(super) shape: KvShape,
    pub(super) numbers: Arc<Numbers>,
}

#[derive(Clone, PartialEq)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    Coded(Coded),
}

impl Page {
    /// A page of zeros.
    pub fn new(shape: KvShape, storage: KvStorage) -> Self {
        let len = shape.num_kv_heads * shape.head_len();
        // Zeros of plain numbers come from the system where it has some; halves are made of them.
        let numbers = match storage {
            KvStorage::F32 => Numbers::F32(vec![0.0; len]),
            KvStorage::F16 => Numbers::F16(vec![0; len].reinterpret_into()),
            KvStorage::BF16 => Numbers::BF16(vec![0; len].reinterpret_into()),
            KvStorage::Q8_0 => Numbers::Coded(Coded::new(shape, Width::Eight)),
            KvStorage::Q4_0 => Numbers::Coded(Coded::new(shape, Width::Four)),
        };
        Page { shape, numbers: Arc::new(numbers) }
    }

    /// Whether a clone has the same numbers in the same place.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.numbers) > 1
    }

    /// How it keeps them.
    pub fn storage(&self) -> KvStorage {
        match &*self.numbers {
            Numbers::F32(_) => KvStorage::F32,
            Numbers::F16(_) => KvStorage::F16,
            Numbers::BF16(_) => KvStorage::BF16,
            Numbers::Coded(coded) => match coded.width {
                Width::Eight => KvStorage::Q8_0,
                Width::Four => KvStorage::Q4_0,
            },
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.shape.page_bytes(self.storage())
    }

    /// Puts the keys and values of one position, `[num_kv_heads][head_dim]` each, into place `slot`.
    pub fn put(&mut self, slot: usize, keys: &[f32], values: &[f32]) {
        let KvShape { num_kv_heads, head_dim } = self.shape;
        assert!(slot < PAGE && keys.len() == num_kv_heads * head_dim && values.len() == keys.len());
        match Arc::make_mut(&mut self.numbers) {
            Numbers::F32(numbers) => {
                put(self.shape, numbers, slot, keys, values, |x, y| y.copy_from_slice(x))
            }
            Numbers::F16(numbers) => {
                put(self.shape, numbers, slot, keys, values, |x, y| y.convert_from_f32_slice(x))
            }
            Numbers::BF16(numbers) => {
                put(self.shape, numbers, slot, keys, values, |x, y| y.convert_from_f32_slice(x))
            }
            Numbers::Coded(coded) => coded.put(self.shape, slot, keys, values),
        }
    }

    /// Appends all of it, [`Page::bytes`] bytes, numbers with their lowest byte first.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match &*self.numbers {
            Numbers::F32(numbers) => numbers.iter().for_each(|x| out.extend(x.to_le_bytes())),
            Numbers::F16(numbers) => numbers.iter().for_each(|x| out.extend(x.to_le_bytes())),
            Numbers::BF16(numbers) => numbers.iter().for_each(|x| out.extend(x.to_le_bytes())),
            Numbers::Coded(coded) => coded.write_to(out),
        }
    }

    /// A page as [`Page::write_to`] wrote it; `None` for another number of bytes.
    pub fn read_from(shape: KvShape, storage: KvStorage, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != shape.page_bytes(storage) {
            return None;
        }
        let (twos, fours) = (bytes.as_chunks().0.iter().copied(), bytes.as_chunks().0.iter().copied());
        let numbers = match storage {
            KvStorage::F32 => Numbers::F32(fours.map(f32::from_le_bytes).collect()),
            KvStorage::F16 => Numbers::F16(twos.map(f16::from_le_bytes).collect()),
            KvStorage::BF16 => Numbers::BF16(twos.map(bf16::from_le_bytes).collect()),
            KvStorage::Q8_0 => Numbers::Coded(Coded::read_from(shape, Width::Eight, bytes)),
            KvStorage::Q4_0 => Numbers::Coded(Coded::read_from(shape, Width::Four, bytes)),
        };
        Some(Page { shape, numbers: Arc::new(numbers) })
    }
}

/// `round` rounds a whole head, since it asks the processor each time what it can do.
fn put<T: Copy + Default>(
    shape: KvShape,
    numbers: &mut [T],
    slot: usize,
    keys: &[f32],
    values: &[f32],
    round: impl Fn(&[f32], &mut [T]),
) {
    let (dim, stride) = (shape.head_dim, shape.value_stride());
    let mut rounded = vec![T::default(); dim];
    let heads = numbers.chunks_exact_mut(shape.head_len());
    for ((head, keys), values) in heads.zip(keys.chunks_exact(dim)).zip(values.chunks_exact(dim)) {
        let (key_part, value_part) = head.split_at_mut(PAGE * dim);
        round(keys, &mut rounded);
        for (place, key) in key_part[slot..].iter_mut().step_by(PAGE).zip(&rounded) {
            *place = *key;
        }
        round(values, &mut value_part[slot * stride..][..dim]);
    }
}

/// Puts the keys and values of consecutive positions, `[rows][num_kv_heads][head_dim]` each, the first into place
/// `slot` of the first page. There must be as many pages as that takes.
pub fn append(machine: &Machine, pages: &mut [Page], slot: usize, keys: &[f32], values: &[f32]) {
    let Some(shape) = pages.first().map(|page| page.shape) else { return };
    let width = shape.num_kv_heads * shape.head_dim;
    let rows = keys.len() / width;
    assert!(
        rows * width == keys.len() && values.len() == keys.len(),
        "whole rows of keys, and as many values"
    );
    assert!(slot < PAGE && (slot + rows).div_ceil(PAGE) == pages.len(), "pages for all rows");
    let shared = Shared::new(pages);
    let work = |range: std::ops::Range<usize>| {
        // SAFETY: the threads' ranges do not overlap.
        let pages = unsafe { shared.slice_mut(range.start, range.len()) };
        for (index, page) in range.zip(pages) {
            for place in 0..PAGE {
                if let Some(row) = (index * PAGE + place).checked_sub(slot).filter(|row| *row < rows) {
                    let row = row * width..(row + 1) * width;
                    page.put(place, &keys[row.clone()], &values[row]);
                }
            }
        }
    };
    let count = (slot + rows).div_ceil(PAGE);
    if count == 1 { work(0..count) } else { machine.split(count, 1, work) }
}
