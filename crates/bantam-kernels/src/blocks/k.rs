//! Super-blocks of 256 weights: a scale and a minimum for the whole, small integers for its units.

use super::{Block, each, halves_at, nibbles, part};
use crate::Storage;
use crate::lanes::{LANES, Lanes};

/// `scales[16], qs[64], d, dmin`: for each 16 weights `d * (s & 15) * q - dmin * (s >> 4)`.
pub(super) struct Q2K;
/// `hmask[32], qs[64], scales[12], d`: for each 16 weights `d * (s - 32) * q`.
pub(super) struct Q3K;
/// `d, dmin, scales[12], qs[128]`: for each 32 weights `d * s * q - dmin * m`.
pub(super) struct Q4K;
/// `d, dmin, scales[12], qh[32], qs[128]`: as [`Q4K`] with a fifth bit.
pub(super) struct Q5K;
/// `ql[128], qh[64], i8 scales[16], d`: for each 16 weights `d * s * (q - 32)`.
pub(super) struct Q6K;

/// Two bits of each of 32 bytes, from `shift` on.
#[inline(always)]
fn two_bits(bytes: &[u8; 32], shift: usize, codes: &mut [i16; 32]) {
    for i in 0..32 {
        codes[i] = i16::from(bytes[i] >> shift & 3);
    }
}

impl Block for Q2K {
    const STORAGE: Storage = Storage::Q2K;
    const UNIT: usize = 16;
    const MINIMA: bool = true;
    type Bytes = [u8; 84];
    type Codes = [i16; 256];
    type Scales = [[f32; LANES]; 16];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 84], codes: &mut [i16; 256]) {
        for (run, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            two_bits(part(block, 16 + 32 * (run / 4)), 2 * (run % 4), codes);
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 84]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        let (d, dmin) = (halves_at::<L, 84>(blocks, 80), halves_at::<L, 84>(blocks, 82));
        for unit in 0..16 {
            d.mul(each!(L, blocks, |block| i32::from(block[unit] & 15))).store(&mut scales[unit]);
            dmin.mul(each!(L, blocks, |block| i32::from(block[unit] >> 4))).store(&mut minima[unit]);
        }
    }
}

impl Block for Q3K {
    const STORAGE: Storage = Storage::Q3K;
    const UNIT: usize = 16;
    const MINIMA: bool = false;
    type Bytes = [u8; 110];
    type Codes = [i16; 256];
    type Scales = [[f32; LANES]; 16];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 110], codes: &mut [i16; 256]) {
        let masks: &[u8; 32] = part(block, 0);
        for (run, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            two_bits(part(block, 32 + 32 * (run / 4)), 2 * (run % 4), codes);
            for i in 0..32 {
                // The bit set means that nothing is subtracted.
                codes[i] -= i16::from(!masks[i] >> run & 1) << 2;
            }
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 110]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let d = halves_at::<L, 110>(blocks, 108);
        for (unit, scales) in scales.iter_mut().enumerate() {
            let scale = each!(L, blocks, |block| {
                let low = block[96 + unit % 8] >> (4 * (unit / 8)) & 15;
                let high = block[104 + unit % 4] >> (2 * (unit / 4)) & 3;
                i32::from(low | high << 4) - 32
            });
            d.mul(scale).store(scales);
        }
    }
}

/// Eight pairs of 6-bit scale and minimum in 12 bytes: the first four in the low six bits of bytes 0-3
/// and 4-7, the others in the nibbles of bytes 8-11 with their top bits above the first ones.
#[inline(always)]
fn six_bits(packed: &[u8; 12], unit: usize) -> (i32, i32) {
    let (scale, minimum) = if unit < 4 {
        (packed[unit] & 63, packed[unit + 4] & 63)
    } else {
        let low = packed[unit + 4];
        (low & 15 | packed[unit - 4] >> 6 << 4, low >> 4 | packed[unit] >> 6 << 4)
    };
    (i32::from(scale), i32::from(minimum))
}

/// The scales and minima that [`Q4K`] and [`Q5K`] begin with.
#[inline(always)]
fn scales_and_minima<L: Lanes, const N: usize>(
    blocks: &[&[u8; N]; LANES],
    scales: &mut [[f32; LANES]; 8],
    minima: &mut [[f32; LANES]; 8],
) {
    let (d, dmin) = (halves_at::<L, N>(blocks, 0), halves_at::<L, N>(blocks, 2));
    for unit in 0..8 {
        d.mul(each!(L, blocks, |block| six_bits(part(*block, 4), unit).0)).store(&mut scales[unit]);
        dmin.mul(each!(L, blocks, |block| six_bits(part(*block, 4), unit).1)).store(&mut minima[unit]);
    }
}

impl Block for Q4K {
    const STORAGE: Storage = Storage::Q4K;
    const UNIT: usize = 32;
    const MINIMA: bool = true;
    type Bytes = [u8; 144];
    type Codes = [i16; 256];
    type Scales = [[f32; LANES]; 8];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 144], codes: &mut [i16; 256]) {
        for (pair, codes) in codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let [low, high]: &mut [[i16; 32]; 2] = bytemuck::cast_mut(codes);
            nibbles::<32>(part(block, 16 + 32 * pair), low, high, 0);
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 144]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        scales_and_minima::<L, 144>(blocks, scales, minima);
    }
}

impl Block for Q5K {
    const STORAGE: Storage = Storage::Q5K;
    const UNIT: usize = 32;
    const MINIMA: bool = true;
    type Bytes = [u8; 176];
    type Codes = [i16; 256];
    type Scales = [[f32; LANES]; 8];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 176], codes: &mut [i16; 256]) {
        let fifth: &[u8; 32] = part(block, 16);
        for (pair, codes) in codes.as_chunks_mut::<64>().0.iter_mut().enumerate() {
            let [low, high]: &mut [[i16; 32]; 2] = bytemuck::cast_mut(codes);
            nibbles::<32>(part(block, 48 + 32 * pair), low, high, 0);
            for i in 0..32 {
                low[i] += i16::from(fifth[i] >> (2 * pair) & 1) << 4;
                high[i] += i16::from(fifth[i] >> (2 * pair + 1) & 1) << 4;
            }
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 176]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        scales_and_minima::<L, 176>(blocks, scales, minima);
    }
}

impl Block for Q6K {
    const STORAGE: Storage = Storage::Q6K;
    const UNIT: usize = 16;
    const MINIMA: bool = false;
    type Bytes = [u8; 210];
    type Codes = [i16; 256];
    type Scales = [[f32; LANES]; 16];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 210], codes: &mut [i16; 256]) {
        for (run, codes) in codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (half, run) = (run / 4, run % 4);
            let low: &[u8; 32] = part(block, 64 * half + 32 * (run % 2));
            let high: &[u8; 32] = part(block, 128 + 32 * half);
            let (nibble, plane) = (4 * (run / 2), 2 * run);
            for i in 0..32 {
                codes[i] = i16::from(low[i] >> nibble & 15 | (high[i] >> plane & 3) << 4) - 32;
            }
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 210]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        let d = halves_at::<L, 210>(blocks, 208);
        for (unit, scales) in scales.iter_mut().enumerate() {
            d.mul(each!(L, blocks, |block| i32::from(block[192 + unit] as i8))).store(scales);
        }
    }
}
