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

/// The nibbles from a byte on, all low ones first.
#[inline(always)]
fn nibbles_at<const N: usize>(block: &[u8; N], begin: usize, codes: &mut [i16; 32], offset: i16) {
    let [low, high] = halves(codes);
    nibbles::<16>(part(block, begin), low, high, offset);
}

#[inline(always)]
fn halves(codes: &mut [i16; 32]) -> &mut [[i16; 16]; 2] {
    bytemuck::cast_mut(codes)
}

/// Adds bit j of the four bytes from `begin` on to code j as its fifth bit.
#[inline(always)]
fn fifth_bits<L: Lanes, const N: usize>(block: &[u8; N], begin: usize, codes: &mut [i16; 32]) {
    let bits: &[u8; 4] = part(block, begin);
    let [low, high] = halves(codes);
    L::add_bits(low, u16::from_le_bytes([bits[0], bits[1]]), 16);
    L::add_bits(high, u16::from_le_bytes([bits[2], bits[3]]), 16);
}

impl Block for Q4_0 {
    const STORAGE: Storage = Storage::Q4_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;
    type Bytes = [u8; 18];
    type Codes = [i16; 32];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 18], codes: &mut [i16; 32]) {
        nibbles_at(block, 2, codes, 8);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 18]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 18>(blocks, 0).store(&mut scales[0]);
    }
}

impl Block for Q4_1 {
    const STORAGE: Storage = Storage::Q4_1;
    const UNIT: usize = 32;
    const MINIMA: bool = true;
    type Bytes = [u8; 20];
    type Codes = [i16; 32];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 20], codes: &mut [i16; 32]) {
        nibbles_at(block, 4, codes, 0);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 20]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        halves_at::<L, 20>(blocks, 0).store(&mut scales[0]);
        // What is subtracted is the opposite of what the block adds.
        L::splat(0.0).sub(halves_at::<L, 20>(blocks, 2)).store(&mut minima[0]);
    }
}

impl Block for Q5_0 {
    const STORAGE: Storage = Storage::Q5_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;
    type Bytes = [u8; 22];
    type Codes = [i16; 32];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 22], codes: &mut [i16; 32]) {
        nibbles_at(block, 6, codes, 16);
        fifth_bits::<L, 22>(block, 2, codes);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 22]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 22>(blocks, 0).store(&mut scales[0]);
    }
}

impl Block for Q5_1 {
    const STORAGE: Storage = Storage::Q5_1;
    const UNIT: usize = 32;
    const MINIMA: bool = true;
    type Bytes = [u8; 24];
    type Codes = [i16; 32];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 24], codes: &mut [i16; 32]) {
        nibbles_at(block, 8, codes, 0);
        fifth_bits::<L, 24>(block, 4, codes);
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 24]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        halves_at::<L, 24>(blocks, 0).store(&mut scales[0]);
        // What is subtracted is the opposite of what the block adds.
        L::splat(0.0).sub(halves_at::<L, 24>(blocks, 2)).store(&mut minima[0]);
    }
}

impl Block for Q8_0 {
    const STORAGE: Storage = Storage::Q8_0;
    const UNIT: usize = 32;
    const MINIMA: bool = false;
    type Bytes = [u8; 34];
    type Codes = [i16; 32];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 34], codes: &mut [i16; 32]) {
        let bytes: &[u8; 32] = part(block, 2);
        for i in 0..32 {
            codes[i] = i16::from(bytes[i] as i8);
        }
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 34]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 34>(blocks, 0).store(&mut scales[0]);
    }
}
