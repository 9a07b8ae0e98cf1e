//! Weights widened exactly to f32.

use std::marker::PhantomData;

use bytemuck::{Pod, Zeroable};

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
        Storage::F32 => numbers::<L, Single>(bytes, out),
        Storage::F16 => numbers::<L, Half>(bytes, out),
        Storage::BF16 => numbers::<L, Brain>(bytes, out),
        quantized => {
            with_block(quantized, Blocks::<L>(bytes, out, PhantomData));
        }
    }
}

/// A number as it lies in memory.
pub(super) trait Number: Pod {
    fn load<L: Lanes>(from: &[Self; LANES]) -> L;

    /// Zero behind the end.
    #[inline(always)]
    fn load_part<L: Lanes>(from: &[Self]) -> L {
        let mut all = [Self::zeroed(); LANES];
        all[..from.len()].copy_from_slice(from);
        Self::load(&all)
    }
}

macro_rules! number {
    ($name:ident, $of:ty, $load:ident) => {
        #[derive(Clone, Copy, Pod, Zeroable)]
        #[repr(transparent)]
        pub(super) struct $name([u8; size_of::<$of>()]);

        impl Number for $name {
            #[inline(always)]
            fn load<L: Lanes>(from: &[Self; LANES]) -> L {
                L::$load(&from.map(|number| <$of>::from_le_bytes(number.0)))
            }
        }
    };
}

number!(Single, f32, load);
number!(Half, u16, load_f16);
number!(Brain, u16, load_bf16);

#[inline(always)]
fn numbers<L: Lanes, N: Number>(bytes: &[u8], out: &mut [f32]) {
    let (whole, rest) = groups(bytemuck::cast_slice::<u8, N>(bytes));
    let (out, out_rest) = groups_mut(out);
    for (out, numbers) in out.iter_mut().zip(whole) {
        N::load::<L>(numbers).store(out);
    }
    let mut last = [0.0; LANES];
    N::load_part::<L>(rest).store(&mut last);
    out_rest.copy_from_slice(&last[..out_rest.len()]);
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
