//! Super-blocks of 256 weights: a scale and a minimum for the whole, small integers for its units.

use super::{Block, half_at};
use crate::Storage;

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

impl Block for Q2K {
    const STORAGE: Storage = Storage::Q2K;
    const UNIT: usize = 16;
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], minima: &mut [f32]) {
        let (d, dmin) = (half_at(block, 80), half_at(block, 82));
        for unit in 0..16 {
            scales[unit] = d * f32::from(block[unit] & 15);
            minima[unit] = dmin * f32::from(block[unit] >> 4);
        }
        for (run, codes) in codes[..256].chunks_exact_mut(32).enumerate() {
            two_bits(&block[16 + 32 * (run / 4)..][..32], 2 * (run % 4), codes);
        }
    }
}

/// Two bits of each byte from `shift` on.
#[inline(always)]
fn two_bits(bytes: &[u8], shift: usize, codes: &mut [i16]) {
    for (code, byte) in codes.iter_mut().zip(bytes) {
        *code = i16::from(byte >> shift & 3);
    }
}

impl Block for Q3K {
    const STORAGE: Storage = Storage::Q3K;
    const UNIT: usize = 16;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        let d = half_at(block, 108);
        let packed = &block[96..108];
        for unit in 0..16 {
            let low = packed[unit % 8] >> (4 * (unit / 8)) & 15;
            let high = packed[8 + unit % 4] >> (2 * (unit / 4)) & 3;
            scales[unit] = d * f32::from(i16::from(low | high << 4) - 32);
        }
        for (run, codes) in codes[..256].chunks_exact_mut(32).enumerate() {
            two_bits(&block[32 + 32 * (run / 4)..][..32], 2 * (run % 4), codes);
            for (code, mask) in codes.iter_mut().zip(&block[..32]) {
                // The bit set means that nothing is subtracted.
                *code -= i16::from(!mask >> run & 1) << 2;
            }
        }
    }
}

/// Eight pairs of 6-bit scale and minimum in 12 bytes: the first four in the low six bits of bytes 0-3
/// and 4-7, the others in the nibbles of bytes 8-11 with their top bits above the first ones.
#[inline(always)]
fn six_bits(packed: &[u8], unit: usize) -> (f32, f32) {
    let (scale, minimum) = if unit < 4 {
        (packed[unit] & 63, packed[unit + 4] & 63)
    } else {
        let low = packed[unit + 4];
        (low & 15 | packed[unit - 4] >> 6 << 4, low >> 4 | packed[unit] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// The scales and minima that [`Q4K`] and [`Q5K`] begin with.
#[inline(always)]
fn scales_and_minima(block: &[u8], scales: &mut [f32], minima: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    for unit in 0..8 {
        let (scale, minimum) = six_bits(&block[4..16], unit);
        scales[unit] = d * scale;
        minima[unit] = dmin * minimum;
    }
}

impl Block for Q4K {
    const STORAGE: Storage = Storage::Q4K;
    const UNIT: usize = 32;
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], minima: &mut [f32]) {
        scales_and_minima(block, scales, minima);
        for (pair, codes) in codes[..256].chunks_exact_mut(64).enumerate() {
            super::nibbles(&block[16 + 32 * pair..][..32], codes, 0);
        }
    }
}

impl Block for Q5K {
    const STORAGE: Storage = Storage::Q5K;
    const UNIT: usize = 32;
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], minima: &mut [f32]) {
        scales_and_minima(block, scales, minima);
        let high = &block[16..48];
        for (pair, codes) in codes[..256].chunks_exact_mut(64).enumerate() {
            super::nibbles(&block[48 + 32 * pair..][..32], codes, 0);
            for (unit, codes) in codes.chunks_exact_mut(32).enumerate() {
                for (code, bits) in codes.iter_mut().zip(high) {
                    *code += i16::from(bits >> (2 * pair + unit) & 1) << 4;
                }
            }
        }
    }
}

impl Block for Q6K {
    const STORAGE: Storage = Storage::Q6K;
    const UNIT: usize = 16;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        let d = half_at(block, 208);
        for unit in 0..16 {
            scales[unit] = d * f32::from(block[192 + unit] as i8);
        }
        for (half, codes) in codes[..256].chunks_exact_mut(128).enumerate() {
            let (low, high) = (&block[64 * half..][..64], &block[128 + 32 * half..][..32]);
            for (run, codes) in codes.chunks_exact_mut(32).enumerate() {
                let (low, nibble, plane) = (&low[32 * (run % 2)..][..32], 4 * (run / 2), 2 * run);
                for ((code, low), high) in codes.iter_mut().zip(low).zip(high) {
                    *code = i16::from(low >> nibble & 15 | (high >> plane & 3) << 4) - 32;
                }
            }
        }
    }
}
