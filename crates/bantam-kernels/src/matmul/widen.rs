//! Weights widened exactly to f32.

use std::marker::PhantomData;

use bytemuck::Zeroable;
use half::bf16;

use crate::Storage;
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Kernel, LANES, Lanes, RUN, dispatch, groups, groups_mut};
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
pub(crate) fn widen<L: Lanes>(storage: Storage, bytes: &[u8], out: &mut [f32]) {
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
        let mut codes = [0; RUN];
        let (mut scales, mut minima) = (<B::Scales as Zeroable>::zeroed(), <B::Scales as Zeroable>::zeroed());
        let blocks: &[B::Bytes] = bytemuck::cast_slice(self.0);
        // Scales are formed for sixteen blocks together; behind the end the last one stands in.
        for (blocks, out) in blocks.chunks(LANES).zip(self.1.chunks_mut(LANES * B::LEN)) {
            let mut sixteen = [&blocks[blocks.len() - 1]; LANES];
            for (place, block) in sixteen.iter_mut().zip(blocks) {
                *place = block;
            }
            B::scales::<L>(&sixteen, &mut scales, &mut minima);
            let scales: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&scales));
            let minima: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&minima));
            for (lane, (block, out)) in sixteen.iter().zip(out.chunks_exact_mut(B::LEN)).enumerate() {
                for (run, out) in out.chunks_exact_mut(RUN).enumerate() {
                    L::bytes_to_codes(B::codes::<L>(block, run), &mut codes);
                    let unit = run * (RUN / B::UNIT);
                    for (half, (out, codes)) in
                        out.chunks_exact_mut(B::UNIT).zip(codes.chunks_exact(B::UNIT)).enumerate()
                    {
                        let (scale, minimum) = (scales[unit + half][lane], minima[unit + half][lane]);
                        for (out, code) in out.iter_mut().zip(codes) {
                            let product = scale * f32::from(*code);
                            *out = if B::MINIMA { product - minimum } else { product };
                        }
                    }
                }
            }
        }
    }
}
