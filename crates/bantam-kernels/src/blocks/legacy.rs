//! Blocks of 32 weights with one scale.

use super::{Block, half_at, nibbles};
use crate::Storage;

/// `d, qs[16]`: `d * (q - 8)`.
pub(super) struct Q4_0;
/// `d, m, qs[16]`: `d * q + m`.
pub(super) struct Q4_1;
/// `d, qh[4], qs[16]`: `d * (q - 16)`; bit j of `qh` is the fifth bit of weight j.
pub(super) struct Q5_0;
/// `d, m, qh[4], qs[16]`: `d * q + m`.
pub(super) struct Q5_1;
/// `d, i8[32]`: `d * q`.
pub(super) struct Q8_0;

impl Block for Q4_0 {
    const STORAGE: Storage = Storage::Q4_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        scales[0] = half_at(block, 0);
        nibbles(&block[2..18], &mut codes[..32], 8);
    }
}

impl Block for Q4_1 {
    const STORAGE: Storage = Storage::Q4_1;
    const UNIT: usize = 32;
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], minima: &mut [f32]) {
        scales[0] = half_at(block, 0);
        minima[0] = -half_at(block, 2);
        nibbles(&block[4..20], &mut codes[..32], 0);
    }
}

/// Adds bit j of `high` to code j as its fifth bit.
#[inline(always)]
fn fifth_bits(high: &[u8], codes: &mut [i16]) {
    let bits = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    for (j, code) in codes.iter_mut().enumerate() {
        *code += ((bits >> j & 1) << 4) as i16;
    }
}

impl Block for Q5_0 {
    const STORAGE: Storage = Storage::Q5_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        scales[0] = half_at(block, 0);
        nibbles(&block[6..22], &mut codes[..32], 16);
        fifth_bits(&block[2..6], &mut codes[..32]);
    }
}

impl Block for Q5_1 {
    const STORAGE: Storage = Storage::Q5_1;
    const UNIT: usize = 32;
    const MINIMA: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], minima: &mut [f32]) {
        scales[0] = half_at(block, 0);
        minima[0] = -half_at(block, 2);
        nibbles(&block[8..24], &mut codes[..32], 0);
        fifth_bits(&block[4..8], &mut codes[..32]);
    }
}

impl Block for Q8_0 {
    const STORAGE: Storage = Storage::Q8_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], codes: &mut [i16], scales: &mut [f32], _: &mut [f32]) {
        scales[0] = half_at(block, 0);
        for (code, byte) in codes[..32].iter_mut().zip(&block[2..34]) {
            *code = i16::from(*byte as i8);
        }
    }
}
