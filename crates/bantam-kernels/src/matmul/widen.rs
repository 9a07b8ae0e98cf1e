//! Weights widened exactly to f32.

use half::bf16;

use crate::Storage;
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Kernel, Lanes, dispatch, groups, groups_mut};
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
            with_block(quantized, Blocks(bytes, out));
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

struct Blocks<'a>(&'a [u8], &'a mut [f32]);

impl OverBlock for Blocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run<B: Block>(self) {
        let (mut codes, mut scales, mut minima) = ([0i16; 256], [0f32; 16], [0f32; 16]);
        let storage = B::STORAGE;
        let blocks = self.0.chunks_exact(storage.block_bytes());
        for (block, out) in blocks.zip(self.1.chunks_exact_mut(storage.block_len())) {
            B::unpack(block, &mut codes, &mut scales, &mut minima);
            for (unit, out) in out.chunks_exact_mut(B::UNIT).enumerate() {
                for (out, code) in out.iter_mut().zip(&codes[unit * B::UNIT..]) {
                    let product = scales[unit] * f32::from(*code);
                    *out = if B::MINIMA { product - minima[unit] } else { product };
                }
            }
        }
    }
}
