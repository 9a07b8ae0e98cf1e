//! Blocks of 32 weights with one scale.

use super::{Block, Units, four_bits, halves_at, part, two_halves_at};
use crate::Storage;
use crate::lanes::{DigitLanes, LANES, Lanes, Nibbles};

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

/// Scale and minimum of blocks that begin with both.
#[inline(always)]
fn scale_and_minimum<L: Lanes, const N: usize>(
    blocks: &[&[u8; N]; LANES],
    scales: &mut [f32; LANES],
    minima: &mut [f32; LANES],
) {
    let (d, m) = two_halves_at::<L, N>(blocks, 0);
    d.store(scales);
    // What is subtracted is the opposite of what the block adds.
    L::splat(0.0).sub(m).store(minima);
}

/// Nibbles of four blocks with the fifth bits above them.
#[inline(always)]
fn with_fifth_bits<L: DigitLanes>([first, second]: [L::Fours; 2], flags: [&[u8; 4]; 4]) -> [L::Fours; 2] {
    let (mut low, mut high) = (0, 0);
    for (row, flags) in flags.into_iter().enumerate() {
        let flags = u64::from(u32::from_le_bytes(*flags));
        low |= (flags & 0xffff) << (16 * row);
        high |= (flags >> 16) << (16 * row);
    }
    [L::fours_add_where(first, low, 16), L::fours_add_where(second, high, 16)]
}

impl Block for Q4_0 {
    const STORAGE: Storage = Storage::Q4_0;
    const BITS: usize = 4;
    type Unit = Units<32, false>;
    type Bytes = [u8; 18];
    type Scales = [[f32; LANES]; 1];

    const VALUES: Option<[f32; LANES]> = four_bits(8);
    #[inline(always)]
    fn nibbles(block: &[u8; 18], _: usize) -> Nibbles<'_> {
        Nibbles::Both(part(block, 2))
    }

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 18], _: usize) -> L::Bytes {
        L::bytes_add(L::bytes_of_nibbles(part(block, 2)), -8)
    }
    #[inline(always)]
    fn fours<L: DigitLanes>([a, b, c, d]: [&[u8; 18]; 4], _: usize) -> [L::Fours; 2] {
        L::fours_of_nibbles([part(a, 2), part(b, 2), part(c, 2), part(d, 2)])
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 18]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 18>(blocks, 0).store(&mut scales[0]);
    }
}

impl Block for Q4_1 {
    const STORAGE: Storage = Storage::Q4_1;
    const BITS: usize = 4;
    type Unit = Units<32, true>;
    type Bytes = [u8; 20];
    type Scales = [[f32; LANES]; 1];

    const VALUES: Option<[f32; LANES]> = four_bits(0);
    #[inline(always)]
    fn nibbles(block: &[u8; 20], _: usize) -> Nibbles<'_> {
        Nibbles::Both(part(block, 4))
    }

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 20], _: usize) -> L::Bytes {
        L::bytes_of_nibbles(part(block, 4))
    }
    #[inline(always)]
    fn fours<L: DigitLanes>([a, b, c, d]: [&[u8; 20]; 4], _: usize) -> [L::Fours; 2] {
        L::fours_of_nibbles([part(a, 4), part(b, 4), part(c, 4), part(d, 4)])
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 20]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        scale_and_minimum::<L, 20>(blocks, &mut scales[0], &mut minima[0]);
    }
}

impl Block for Q5_0 {
    const STORAGE: Storage = Storage::Q5_0;
    const BITS: usize = 5;
    type Unit = Units<32, false>;
    type Bytes = [u8; 22];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 22], _: usize) -> L::Bytes {
        // A nibble with four ones above it is that nibble less 16.
        let fifth = L::bytes_of_flags(part(block, 2), 0, 0xf0);
        L::bytes_join(L::bytes_of_nibbles(part(block, 6)), fifth, 0)
    }
    #[inline(always)]
    fn fours<L: DigitLanes>(blocks: [&[u8; 22]; 4], _: usize) -> [L::Fours; 2] {
        let [a, b, c, d] = blocks;
        let nibbles = L::fours_of_nibbles([part(a, 6), part(b, 6), part(c, 6), part(d, 6)]);
        with_fifth_bits::<L>(nibbles, [part(a, 2), part(b, 2), part(c, 2), part(d, 2)])
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 22]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 22>(blocks, 0).store(&mut scales[0]);
    }
}

impl Block for Q5_1 {
    const STORAGE: Storage = Storage::Q5_1;
    const BITS: usize = 5;
    type Unit = Units<32, true>;
    type Bytes = [u8; 24];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 24], _: usize) -> L::Bytes {
        L::bytes_join(L::bytes_of_nibbles(part(block, 8)), L::bytes_of_flags(part(block, 4), 16, 0), 0)
    }
    #[inline(always)]
    fn fours<L: DigitLanes>(blocks: [&[u8; 24]; 4], _: usize) -> [L::Fours; 2] {
        let [a, b, c, d] = blocks;
        let nibbles = L::fours_of_nibbles([part(a, 8), part(b, 8), part(c, 8), part(d, 8)]);
        with_fifth_bits::<L>(nibbles, [part(a, 4), part(b, 4), part(c, 4), part(d, 4)])
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 24]; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales) {
        scale_and_minimum::<L, 24>(blocks, &mut scales[0], &mut minima[0]);
    }
}

impl Block for Q8_0 {
    const STORAGE: Storage = Storage::Q8_0;
    const BITS: usize = 8;
    type Unit = Units<32, false>;
    type Bytes = [u8; 34];
    type Scales = [[f32; LANES]; 1];

    #[inline(always)]
    fn codes<L: Lanes>(block: &[u8; 34], _: usize) -> L::Bytes {
        L::bytes_load(part(block, 2))
    }
    #[inline(always)]
    fn fours<L: DigitLanes>([a, b, c, d]: [&[u8; 34]; 4], run: usize) -> [L::Fours; 2] {
        let [a, b] = [Self::codes::<L>(a, run), Self::codes::<L>(b, run)];
        let [c, d] = [Self::codes::<L>(c, run), Self::codes::<L>(d, run)];
        let [first, second] = L::fours_of([a, b, c, d]);
        [L::fours_flip(first), L::fours_flip(second)]
    }
    #[inline(always)]
    fn scales<L: Lanes>(blocks: &[&[u8; 34]; LANES], scales: &mut Self::Scales, _: &mut Self::Scales) {
        halves_at::<L, 34>(blocks, 0).store(&mut scales[0]);
    }
}
