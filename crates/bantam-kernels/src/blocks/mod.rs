//! The blocks of every quantised storage, taken apart into integer codes with scales and minima.
//!
//! A weight is `scale * code - minimum`, with one scale (and one minimum, where the storage has
//! them) for each unit of 16 or 32 weights. Scales are the exact products of a block's `f16` and its
//! small integers, so the same numbers come out as from ggml's own dequantisers, bit for bit.
//!
//! Layouts: ggml-common.h of llama.cpp; numbers are little endian, `d` is an `f16`.

mod iq4;
mod k;
mod legacy;

use bytemuck::Pod;

use crate::Storage;
use crate::lanes::{DigitLanes, LANES, Lanes, Nibbles};

/// A storage's blocks. The associated types are arrays, so that the compiler knows all lengths.
pub(crate) trait Block {
    const STORAGE: Storage;
    type Unit: Unit;
    const UNIT: usize = <Self::Unit as Unit>::LEN;
    const MINIMA: bool = <Self::Unit as Unit>::MINIMA;
    /// Weights in a block.
    const LEN: usize = Self::STORAGE.block_len();
    /// Bits of a code.
    const BITS: usize;
    /// What makes codes unsigned when it is added; those with minima are.
    const OFFSET: u8 = if Self::MINIMA { 0 } else { 1 << (Self::BITS - 1) };
    /// A block, as many bytes as the storage says.
    type Bytes: Pod;
    /// Scales of sixteen blocks: `[[f32; LANES]; LEN / UNIT]`.
    type Scales: Pod;

    /// The codes of weights `RUN * run ..` of a block, signed.
    fn codes<L: Lanes>(block: &Self::Bytes, run: usize) -> L::Bytes;

    /// The values that codes of four bits stand for, where [`Block::nibbles`] has these.
    const VALUES: Option<[f32; LANES]> = None;

    /// The codes of weights `RUN * run ..`, of four bits, as they lie.
    fn nibbles(_: &Self::Bytes, _: usize) -> Nibbles<'_> {
        unreachable!("no codes of four bits")
    }

    /// The same, unsigned: each the greater by [`Block::OFFSET`].
    #[inline(always)]
    fn unsigned_codes<L: Lanes>(block: &Self::Bytes, run: usize) -> L::Bytes {
        L::bytes_add(Self::codes::<L>(block, run), Self::OFFSET as i8)
    }

    /// The same of four blocks, the first and the second half of the run.
    #[inline(always)]
    fn fours<L: DigitLanes>([a, b, c, d]: [&Self::Bytes; 4], run: usize) -> [L::Fours; 2] {
        let [a, b] = [Self::unsigned_codes::<L>(a, run), Self::unsigned_codes::<L>(b, run)];
        let [c, d] = [Self::unsigned_codes::<L>(c, run), Self::unsigned_codes::<L>(d, run)];
        L::fours_of([a, b, c, d])
    }

    /// The scales (and minima) of sixteen blocks, block `i` in lane `i`.
    fn scales<L: Lanes>(blocks: &[&Self::Bytes; LANES], scales: &mut Self::Scales, minima: &mut Self::Scales);
}

/// Weights that share a scale.
pub(crate) trait Unit {
    /// How many: 16 or 32.
    const LEN: usize;
    /// Whether a minimum is subtracted.
    const MINIMA: bool;
}

pub(crate) struct Units<const LEN: usize, const MINIMA: bool>;

impl<const LEN: usize, const MINIMA: bool> Unit for Units<LEN, MINIMA> {
    const LEN: usize = LEN;
    const MINIMA: bool = MINIMA;
}

/// Work over units of one kind, chosen at run time.
pub(crate) trait OverUnit {
    type Output;
    fn run<U: Unit>(self) -> Self::Output;
}

/// Runs `work` over the kind of units that a quantised storage has; `None` for the others.
#[inline(always)]
pub(crate) fn with_unit<W: OverUnit>(storage: Storage, work: W) -> Option<W::Output> {
    Some(match unit_of(storage)? {
        (16, false) => work.run::<Units<16, false>>(),
        (16, true) => work.run::<Units<16, true>>(),
        (_, false) => work.run::<Units<32, false>>(),
        (_, true) => work.run::<Units<32, true>>(),
    })
}

/// Length of a storage's units, and whether they have minima.
pub(crate) fn unit_of(storage: Storage) -> Option<(usize, bool)> {
    struct Kind;
    impl OverBlock for Kind {
        type Output = (usize, bool);
        fn run<B: Block>(self) -> (usize, bool) {
            (B::UNIT, B::MINIMA)
        }
    }
    with_block(storage, Kind)
}

/// Bits of a storage's codes, and what makes these unsigned.
pub(crate) fn bits_of(storage: Storage) -> Option<(usize, u8)> {
    struct Bits;
    impl OverBlock for Bits {
        type Output = (usize, u8);
        fn run<B: Block>(self) -> (usize, u8) {
            (B::BITS, B::OFFSET)
        }
    }
    with_block(storage, Bits)
}

/// Codes of four bits, less by an offset.
const fn four_bits(offset: i8) -> Option<[f32; LANES]> {
    let mut table = [0; LANES];
    let mut i = 0;
    while i < LANES {
        table[i] = i as i8 - offset;
        i += 1;
    }
    values_of(table)
}

const fn values_of(table: [i8; LANES]) -> Option<[f32; LANES]> {
    let mut values = [0.0; LANES];
    let mut i = 0;
    while i < LANES {
        values[i] = table[i] as f32;
        i += 1;
    }
    Some(values)
}

/// Work over a storage's blocks, chosen at run time.
pub(crate) trait OverBlock {
    type Output;
    fn run<B: Block>(self) -> Self::Output;
}

/// Runs `work` over a quantised storage's blocks; `None` for the others.
#[inline(always)]
pub(crate) fn with_block<W: OverBlock>(storage: Storage, work: W) -> Option<W::Output> {
    Some(match storage {
        Storage::F32 | Storage::F16 | Storage::BF16 => return None,
        Storage::Q4_0 => work.run::<legacy::Q4_0>(),
        Storage::Q4_1 => work.run::<legacy::Q4_1>(),
        Storage::Q5_0 => work.run::<legacy::Q5_0>(),
        Storage::Q5_1 => work.run::<legacy::Q5_1>(),
        Storage::Q8_0 => work.run::<legacy::Q8_0>(),
        Storage::Q2K => work.run::<k::Q2K>(),
        Storage::Q3K => work.run::<k::Q3K>(),
        Storage::Q4K => work.run::<k::Q4K>(),
        Storage::Q5K => work.run::<k::Q5K>(),
        Storage::Q6K => work.run::<k::Q6K>(),
        Storage::Iq4Nl => work.run::<iq4::Iq4Nl>(),
        Storage::Iq4Xs => work.run::<iq4::Iq4Xs>(),
    })
}

/// The `f16` at a byte offset of each block.
#[inline(always)]
fn halves_at<L: Lanes, const N: usize>(blocks: &[&[u8; N]; LANES], offset: usize) -> L {
    let mut bits = [0; LANES];
    for i in 0..LANES {
        bits[i] = u16::from_le_bytes([blocks[i][offset], blocks[i][offset + 1]]);
    }
    L::load_f16(&bits)
}

/// Two `f16` behind each other at a byte offset of each block.
#[inline(always)]
fn two_halves_at<L: Lanes, const N: usize>(blocks: &[&[u8; N]; LANES], offset: usize) -> (L, L) {
    L::load_f16_pairs(&words_at(blocks, offset))
}

/// The four bytes at an offset of each block.
#[inline(always)]
fn words_at<const N: usize>(blocks: &[&[u8; N]; LANES], offset: usize) -> [u32; LANES] {
    let mut words = [0; LANES];
    for i in 0..LANES {
        words[i] = u32::from_le_bytes(*part(blocks[i], offset));
    }
    words
}

/// Sixteen bytes at an offset of each block, word by word.
#[inline(always)]
fn four_words_at<L: Lanes, const N: usize>(blocks: &[&[u8; N]; LANES], offset: usize) -> [[u32; LANES]; 4] {
    let mut rows = [part(blocks[0], offset); LANES];
    for i in 0..LANES {
        rows[i] = part(blocks[i], offset);
    }
    L::words_across(&rows)
}

/// A whole number made of each lane's number `i` as a lane.
macro_rules! each {
    ($lanes:ident, |$i:ident| $number:expr) => {{
        let mut numbers = [0.0; $crate::lanes::LANES];
        for $i in 0..$crate::lanes::LANES {
            numbers[$i] = ($number) as i32 as f32;
        }
        $lanes::load(&numbers)
    }};
}

use each;

/// A part of a block whose length the compiler knows.
#[inline(always)]
fn part<const N: usize>(bytes: &[u8], begin: usize) -> &[u8; N] {
    match bytes[begin..].first_chunk() {
        Some(part) => part,
        None => unreachable!("parts lie within their block"),
    }
}
