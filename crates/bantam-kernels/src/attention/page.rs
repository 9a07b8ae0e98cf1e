//! Where keys and values are kept.

use half::f16;

use crate::lanes::LANES;

/// Positions in a page.
pub const PAGE: usize = 64;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvStorage {
    /// As computed.
    F32,
    /// Rounded to half precision.
    F16,
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

    pub(super) fn head_len(self) -> usize {
        PAGE * (self.head_dim + self.value_stride())
    }

    /// Numbers in a page.
    pub fn page_len(self) -> usize {
        self.num_kv_heads * self.head_len()
    }
}

/// Keys and values of [`PAGE`] positions of one layer:
/// for each head the keys, `[head_dim][PAGE]`, then the values, `[PAGE][head_dim filled up to 16]`.
#[derive(Clone)]
pub struct Page {
    pub(super) shape: KvShape,
    pub(super) numbers: Numbers,
}

#[derive(Clone)]
pub(super) enum Numbers {
    F32(Vec<f32>),
    F16(Vec<u16>),
}

impl Page {
    /// A page of zeros.
    pub fn new(shape: KvShape, storage: KvStorage) -> Self {
        let numbers = match storage {
            KvStorage::F32 => Numbers::F32(vec![0.0; shape.page_len()]),
            KvStorage::F16 => Numbers::F16(vec![0; shape.page_len()]),
        };
        Page { shape, numbers }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::F32(numbers) => numbers.len() * 4,
            Numbers::F16(numbers) => numbers.len() * 2,
        }
    }

    /// Puts the keys and values of one position, `[num_kv_heads][head_dim]` each, into place `slot`.
    pub fn put(&mut self, slot: usize, keys: &[f32], values: &[f32]) {
        let KvShape { num_kv_heads, head_dim } = self.shape;
        assert!(slot < PAGE && keys.len() == num_kv_heads * head_dim && values.len() == keys.len());
        match &mut self.numbers {
            Numbers::F32(numbers) => put(self.shape, numbers, slot, keys, values, |x| x),
            Numbers::F16(numbers) => {
                put(self.shape, numbers, slot, keys, values, |x| f16::from_f32(x).to_bits())
            }
        }
    }
}

fn put<T: Copy>(
    shape: KvShape,
    numbers: &mut [T],
    slot: usize,
    keys: &[f32],
    values: &[f32],
    round: impl Fn(f32) -> T,
) {
    let (dim, stride) = (shape.head_dim, shape.value_stride());
    let heads = numbers.chunks_exact_mut(shape.head_len());
    for ((head, keys), values) in heads.zip(keys.chunks_exact(dim)).zip(values.chunks_exact(dim)) {
        let (key_part, value_part) = head.split_at_mut(PAGE * dim);
        for (place, key) in key_part[slot..].iter_mut().step_by(PAGE).zip(keys) {
            *place = round(*key);
        }
        for (place, value) in value_part[slot * stride..].iter_mut().zip(values) {
            *place = round(*value);
        }
    }
}
