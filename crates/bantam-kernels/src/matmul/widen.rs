//! Weights widened exactly to f32.

use std::marker::PhantomData;

use half::bf16;

use crate::Storage;
use crate::blocks::{Block, OverBlock, UNITS_MAX, with_block};
use crate::lanes::{Kernel, LANES, Lanes, dispatch, groups, groups_mut};
use crate::machine::Isa;

/// Writes the weights in `bytes` to `out` as f32, exactly as ggml's own dequantisers do.
///
/// # Panics
///
/// Unless `bytes` holds as many weights as `out`, in whole blocks.
pub fn dequantize(isa: Isa, storage: Storage, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(storage.bytes_of(out.len()), Some(bytes.len()), "bytes of another number of weights");
    dispatch(isa, Widen { storage, bytes, out });
}

struct Widen<'a> {
    storage: Storage,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        widen::<L>(self.storage, self.bytes, self.out);
    }
}

/// [`dequantize`] within a kernel.
#[inline(always)]
pub(super) fn widen<L: Lanes>(storage: Storage, bytes: &[u8], out: &mut [f32]) {
    match storage {
        Storage::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
        Storage::F16 => halves::<L>(bytes, out),
        Storage::BF16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
        quantized => {
            with_block(quantized, Blocks::<L>(bytes, out, PhantomData));
        }
    }
}

#[inline(always)]
fn halves<L: Lanes>(bytes: &[u8], out: &mut [f32]) {
    let bits = |bytes: &[[u8; 2]; 16]| bytes.map(u16::from_le_bytes);
    let (whole, rest) = groups(bytes.as_chunks::<2>().0);
    let (out, out_rest) = groups_mut(out);
    for (out, bytes) in out.iter_mut().zip(whole) {
        L::load_f16(&bits(bytes)).store(out);
    }
    for (out, bytes) in out_rest.iter_mut().zip(rest) {
        *out = half::f16::from_le_bytes(*bytes).to_f32();
    }
}

struct Blocks<'a, L>(&'a [u8], &'a mut [f32], PhantomData<L>);

impl<L: Lanes> OverBlock for Blocks<'_, L> {
    type Output = ();
    #[inline(always)]
    fn run<B: Block>(self) {
        let mut codes = [0i16; 256];
        let (mut scales, mut minima) = ([[0.0; LANES]; UNITS_MAX], [[0.0; LANES]; UNITS_MAX]);
        // Scales are formed for sixteen blocks together; behind the end the last one stands in.
        for (bytes, out) in self.0.chunks(LANES * B::BYTES).zip(self.1.chunks_mut(LANES * B::LEN)) {
            let last = bytes.len() / B::BYTES - 1;
            let blocks = std::array::from_fn(|i| &bytes[i.min(last) * B::BYTES..][..B::BYTES]);
            B::scales::<L>(&blocks, &mut scales, &mut minima);
            for (lane, (block, out)) in blocks.iter().zip(out.chunks_exact_mut(B::LEN)).enumerate() {
                B::codes(block, &mut codes);
                for (unit, out) in out.chunks_exact_mut(B::UNIT).enumerate() {
                    let (scale, minimum) = (scales[unit][lane], minima[unit][lane]);
                    for (out, code) in out.iter_mut().zip(&codes[unit * B::UNIT..][..B::UNIT]) {
                        let product = scale * f32::from(*code);
                        *out = if B::MINIMA { product - minimum } else { product };
                    }
                }
            }
        }
    }
}
