//! Blocks of 32 weights with one scale.

use super::{Block, halves_at, nibbles, part};
use crate::Storage;
use crate::lanes::{LANES, Lanes};

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

/// Blocks that begin with `d`.
#[inline(always)]
pub(super) fn scale_first<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]]) {
    halves_at::<L>(blocks, 0).store(&mut scales[0]);
}

/// Blocks that begin with `d, m`; a minimum is what is subtracted.
#[inline(always)]
fn scale_and_minimum<L: Lanes>(
    blocks: &[&[u8]; LANES],
    scales: &mut [[f32; LANES]],
    minima: &mut [[f32; LANES]],
) {
    scale_first::<L>(blocks, scales);
    L::splat(0.0).sub(halves_at::<L>(blocks, 2)).store(&mut minima[0]);
}

/// Adds bit j of `high` to code j as its fifth bit.
#[inline(always)]
fn fifth_bits(high: &[u8], codes: &mut [i16]) {
    let bits = u32::from_le_bytes(*part(high));
    for (half, codes) in codes[..32].as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let bits = (bits >> (16 * half)) as u16;
        for (j, code) in codes.iter_mut().enumerate() {
            // A mask and a comparison, since not every instruction set shifts by lanes.
            *code += if bits & (1 << j) == 0 { 0 } else { 16 };
        }
    }
}

impl Block for Q4_0 {
    const STORAGE: Storage = Storage::Q4_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        nibbles::<16>(&block[2..], codes, 8);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], _: &mut [[f32; LANES]]) {
        scale_first::<L>(blocks, scales);
    }
}

impl Block for Q4_1 {
    const STORAGE: Storage = Storage::Q4_1;
    const UNIT: usize = 32;
    const MINIMA: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        nibbles::<16>(&block[4..], codes, 0);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], minima: &mut [[f32; LANES]]) {
        scale_and_minimum::<L>(blocks, scales, minima);
    }
}

impl Block for Q5_0 {
    const STORAGE: Storage = Storage::Q5_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        nibbles::<16>(&block[6..], codes, 16);
        fifth_bits(&block[2..], codes);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], _: &mut [[f32; LANES]]) {
        scale_first::<L>(blocks, scales);
    }
}

impl Block for Q5_1 {
    const STORAGE: Storage = Storage::Q5_1;
    const UNIT: usize = 32;
    const MINIMA: bool = true;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        nibbles::<16>(&block[8..], codes, 0);
        fifth_bits(&block[4..], codes);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], minima: &mut [[f32; LANES]]) {
        scale_and_minimum::<L>(blocks, scales, minima);
    }
}

impl Block for Q8_0 {
    const STORAGE: Storage = Storage::Q8_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;

    #[inline(always)]
    fn codes(block: &[u8], codes: &mut [i16]) {
        let bytes: &[u8; 32] = part(&block[2..]);
        for (code, byte) in codes[..32].iter_mut().zip(bytes) {
            *code = i16::from(*byte as i8);
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8]; LANES], scales: &mut [[f32; LANES]], _: &mut [[f32; LANES]]) {
        scale_first::<L>(blocks, scales);
    }
}
