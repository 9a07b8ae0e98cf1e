//! The blocks of every quantised storage, taken apart into integer codes with scales and minima.
//!
//! A weight is `scale * code - minimum`, with one scale (and one minimum, where the storage has
//! them) for each unit of 16 or 32 weights. Scales are the exact products of a block's `f16` and its
//! small integers, so the same numbers come out as from ggml's own dequantisers, bit for bit.
//!
//! Layouts: ggml-common.h of llama.cpp; numbers are little endian, `d` is an `f16`.

mod iq4;
mod k;
mod legacy;

use half::f16;

use crate::Storage;

/// One block, taken apart.
pub(crate) trait Block {
    const STORAGE: Storage;
    /// Weights that share a scale: 16 or 32.
    const UNIT: usize;
    /// Whether a minimum is subtracted.
    const MINIMA: bool;

    /// `block` has the storage's bytes, `codes` its weights; `scales` and `minima` have one place for each
    /// unit (`minima` none where there are none).
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], minima: &mut [f32]);
}

/// Work over a storage's blocks, chosen at run time.
pub(crate) trait OverBlock {
    type Output;
    fn run<B: Block>(self) -> Self::Output;
}

/// Runs `work` over a quantised storage's blocks; `None` for the others.
#[inline(always)]
pub(crate) fn with_block<W: OverBlock>(storage: Storage, work: W) -> Option<W::Output> {
    Some(match storage {
        Storage::F32 | Storage::F16 | Storage::BF16 => return None,
        Storage::Q4_0 => work.run::<legacy::Q4_0>(),
        Storage::Q4_1 => work.run::<legacy::Q4_1>(),
        Storage::Q5_0 => work.run::<legacy::Q5_0>(),
        Storage::Q5_1 => work.run::<legacy::Q5_1>(),
        Storage::Q8_0 => work.run::<legacy::Q8_0>(),
        Storage::Q2K => work.run::<k::Q2K>(),
        Storage::Q3K => work.run::<k::Q3K>(),
        Storage::Q4K => work.run::<k::Q4K>(),
        Storage::Q5K => work.run::<k::Q5K>(),
        Storage::Q6K => work.run::<k::Q6K>(),
        Storage::Iq4Nl => work.run::<iq4::Iq4Nl>(),
        Storage::Iq4Xs => work.run::<iq4::Iq4Xs>(),
    })
}

/// The `f16` at a byte offset.
#[inline(always)]
fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// Sixteen bytes of two codes each: the low nibbles first, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8], codes: &mut [i16], offset: i16) {
    let (low, high) = codes.split_at_mut(bytes.len());
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = i16::from(byte & 15) - offset;
        *high = i16::from(byte >> 4) - offset;
    }
}
