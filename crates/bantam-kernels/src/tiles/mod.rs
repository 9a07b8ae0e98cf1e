//! Products of tiles: sixteen rows of activations times sixteen outputs in one instruction.
//!
//! Processors with AMX multiply a tile of 16 rows of up to 16 pairs of BF16 by one of up to 16 times 16 pairs and add to 16 x 16 sums in
//! f32. A 16-bit code is two digits in base 256, the upper one signed and the lower one not, and digits, 256 times them, and codes of weights
//! are numbers of BF16. A unit's sums of products of either digit are whole numbers of at most 20 bits, or 256 times such ones, so they are exact in
//! f32, and the sum of both is rounded once: as where the integer, `256 * high + low`, is made a number on every other path.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx_bf16;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx_pairs;
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "other processors and systems have no such tiles")
)]
mod bf16;
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "other processors and systems have no such tiles")
)]
mod pairs;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use amx::{Amx, permitted};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use amx_bf16::AmxBf16;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use amx_pairs::AmxPairs;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) use bf16::AmxBf16;
#[cfg(test)]
pub(crate) use bf16::Bf16Model;
pub(crate) use bf16::{Bf16Square, Bf16Tiles};
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) use pairs::AmxPairs;
#[cfg(test)]
pub(crate) use pairs::PairsModel;
pub(crate) use pairs::{PairTiles, Tile, TileSums};

use crate::Isa;
#[cfg(test)]
use crate::width::Pair;
use crate::width::{LANES, RUN};

/// The digits of a run of codes of sixteen rows, in BF16.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Digits {
    /// 256 times the upper ones.
    pub(crate) high: [[u16; RUN]; LANES],
    pub(crate) low: [[u16; RUN]; LANES],
}

impl Default for Digits {
    fn default() -> Self {
        Digits { high: [[0; RUN]; LANES], low: [[0; RUN]; LANES] }
    }
}

/// A number of up to eight bits in BF16.
#[inline(always)]
pub(crate) fn bf16_of(number: f32) -> u16 {
    (number.to_bits() >> 16) as u16
}

/// Codes of weights in BF16 as tiles hold them: two codes of each of sixteen outputs, `[16][2]`.
pub(crate) type TileRow = [u16; 2 * LANES];

/// What multiplies tiles for one thread, from [`Tiles::configure`] until it is dropped.
pub(crate) trait Tiles: Sized {
    /// Makes ready for units of `unit` codes, 16 or 32; `None` where `isa` has no tiles.
    fn configure(isa: Isa, unit: usize) -> Option<Self>;

    /// Multiplies the digits of some runs by the codes of twice sixteen outputs, `unit / 2` lines for each unit, and gives the sums of
    /// each unit.
    fn multiply(&mut self, digits: &[Digits], codes: [&[TileRow]; 2], sums: &mut [[TileSums; 2]]);
}

/// Stands in for the tiles of other processors and systems.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) enum Amx {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
impl Tiles for Amx {
    fn configure(_: Isa, _: usize) -> Option<Self> {
        None
    }
    fn multiply(&mut self, _: &[Digits], _: [&[TileRow]; 2], _: &mut [[TileSums; 2]]) {
        match *self {}
    }
}

/// What the instructions do, in plain Rust, for tests on processors without them.
#[cfg(test)]
pub(crate) struct Model {
    unit: usize,
}

#[cfg(test)]
impl Tiles for Model {
    fn configure(_: Isa, unit: usize) -> Option<Self> {
        Some(Model { unit })
    }

    fn multiply(&mut self, digits: &[Digits], codes: [&[TileRow]; 2], sums: &mut [[TileSums; 2]]) {
        for (panel, codes) in codes.into_iter().enumerate() {
            self.multiply_one(digits, codes, sums.iter_mut().map(|sums| &mut sums[panel]));
        }
    }
}

#[cfg(test)]
impl Model {
    fn multiply_one<'a>(
        &self,
        digits: &[Digits],
        codes: &[TileRow],
        sums: impl Iterator<Item = &'a mut TileSums>,
    ) {
        let pairs = |row: &[u16]| -> Vec<Pair> {
            row.as_chunks().0.iter().map(|[x, y]| Pair::from(*x) | Pair::from(*y) << 16).collect()
        };
        for (index, (codes, sums)) in codes.chunks_exact(self.unit / 2).zip(sums).enumerate() {
            let (run, begin) = (index * self.unit / RUN, index * self.unit % RUN);
            let codes: Vec<Vec<Pair>> = codes.iter().map(|line| pairs(line)).collect();
            for (row, output) in (0..LANES * LANES).map(|i| (i / LANES, i % LANES)) {
                let sum = &mut sums.0[row][output];
                *sum = 0.0;
                for digits in [&digits[run].high, &digits[run].low] {
                    let digits = pairs(&digits[row][begin..begin + self.unit]);
                    *sum = bf16::added(*sum, &digits, codes.iter().map(|line| line[output]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least, the greatest and other codes.
    fn code(row: usize, k: usize) -> i16 {
        [i16::MIN, i16::MAX, -1, 255, (row * 2477 + k * 9973) as i16][(row + k) % 5]
    }

    fn digits(run: usize) -> Digits {
        let mut digits = Digits::default();
        for (row, k) in (0..LANES * RUN).map(|i| (i / RUN, i % RUN)) {
            let code = code(row, run * RUN + k);
            let [low, _] = code.to_le_bytes();
            digits.low[row][k] = bf16_of(f32::from(low));
            digits.high[row][k] = bf16_of(f32::from(code - i16::from(low)));
        }
        digits
    }

    fn weight(k: usize, output: usize) -> i8 {
        (k * 37 + output * 89) as u8 as i8
    }

    #[test]
    fn sums_of_digits_are_those_of_integers_rounded_once() {
        for isa in Isa::available() {
            for (unit, runs) in [(16, 1), (16, 3), (32, 1), (32, 4), (32, 7)] {
                check::<Model>(isa, unit, runs);
                check::<Amx>(isa, unit, runs);
            }
        }
    }

    fn check<T: Tiles>(isa: Isa, unit: usize, runs: usize) {
        let Some(mut tiles) = T::configure(isa, unit) else { return };
        let digits: Vec<Digits> = (0..runs).map(digits).collect();
        let line = |k: usize| std::array::from_fn(|i| bf16_of(f32::from(weight(2 * k + i % 2, i / 2))));
        let codes: Vec<TileRow> = (0..runs * RUN).map(line).collect();
        let (first, second) = codes.split_at(runs * RUN / 2);
        let mut found = vec![[TileSums::ZERO; 2]; runs * RUN / unit];
        tiles.multiply(&digits, [first, second], &mut found);
        for (index, found) in found.iter().enumerate() {
            for (row, output) in (0..LANES * 2 * LANES).map(|i| (i / (2 * LANES), i % (2 * LANES))) {
                let (panel, lane) = (output / LANES, output % LANES);
                let product =
                    |k: usize| i32::from(code(row, k)) * i32::from(weight(panel * runs * RUN + k, lane));
                let whole: i32 = (index * unit..(index + 1) * unit).map(product).sum();
                assert_eq!(
                    whole as f32, found[panel].0[row][lane],
                    "{isa}, {unit}: {index}, {row}, {output}"
                );
            }
        }
    }
}
