//! Products of tiles of bytes: sixteen rows of activations times sixteen outputs in one instruction.
//!
//! Processors with AMX multiply a tile of 16 rows of up to 64 bytes by one of up to 64 times 16 bytes and add to 16 x 16
//! integers. A 16-bit code is two digits in base 256, the upper one signed and the lower one not: just its two bytes. So
//! two tile products give the exact sum of a unit's products of codes, `256 * high + low`, as every other path does.

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
pub(crate) use amx::{Amx, of_bf16, permitted};
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
use crate::width::{LANES, RUN};

/// The digits of a run of codes of sixteen rows.
#[derive(Clone, Default)]
#[repr(C, align(64))]
pub(crate) struct Digits {
    pub(crate) low: [[u8; RUN]; LANES],
    pub(crate) high: [[i8; RUN]; LANES],
}

/// A unit's sums of products of digits: sixteen rows of sixteen outputs.
#[derive(Clone, Default)]
#[repr(C, align(64))]
pub(crate) struct DigitSums {
    pub(crate) low: [[i32; LANES]; LANES],
    pub(crate) high: [[i32; LANES]; LANES],
}

/// Codes of weights as tiles hold them: four codes of each of sixteen outputs, `[16][4]`.
pub(crate) type TileRow = [u8; 4 * LANES];

/// What multiplies tiles for one thread, from [`Tiles::configure`] until it is dropped.
pub(crate) trait Tiles: Sized {
    /// Makes ready for units of `unit` codes, 16 or 32; `None` where `isa` has no tiles.
    fn configure(isa: Isa, unit: usize) -> Option<Self>;

    /// Multiplies the digits of a unit by the codes of sixteen outputs, `unit / 4` rows of them. `place` is where in its run
    /// the unit begins, and whether there are low digits; if not, their sums stay as they are. `turn` counts the units: two in a row wait less for each other if it differs in its last bit.
    fn multiply(
        &mut self,
        digits: &Digits,
        place: (usize, bool),
        codes: &[TileRow],
        turn: usize,
        sums: &mut DigitSums,
    );
}

/// Stands in for the tiles of other processors and systems.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) enum Amx {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
impl Tiles for Amx {
    fn configure(_: Isa, _: usize) -> Option<Self> {
        None
    }
    fn multiply(&mut self, _: &Digits, _: (usize, bool), _: &[TileRow], _: usize, _: &mut DigitSums) {
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

    fn multiply(
        &mut self,
        digits: &Digits,
        (begin, low): (usize, bool),
        codes: &[TileRow],
        _: usize,
        sums: &mut DigitSums,
    ) {
        assert_eq!(codes.len(), self.unit / 4);
        sums.high = Default::default();
        if low {
            sums.low = Default::default();
        }
        for row in 0..LANES {
            for output in 0..LANES {
                for k in 0..self.unit {
                    let code = i32::from(codes[k / 4][4 * output + k % 4] as i8);
                    sums.low[row][output] += i32::from(low) * i32::from(digits.low[row][begin + k]) * code;
                    sums.high[row][output] += i32::from(digits.high[row][begin + k]) * code;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least, the greatest and other digits.
    fn digits() -> Digits {
        let mut digits = Digits::default();
        for row in 0..LANES {
            for k in 0..RUN {
                let code = [i16::MIN, i16::MAX, -1, 255, (row * 2477 + k * 9973) as i16][(row + k) % 5];
                [digits.low[row][k], _] = code.to_le_bytes();
                digits.high[row][k] = (code >> 8) as i8;
            }
        }
        digits
    }

    #[test]
    fn tiles_do_as_their_model_does() {
        let digits = digits();
        let codes: Vec<TileRow> = (0..8).map(|k| std::array::from_fn(|i| (k * 37 + i * 89) as u8)).collect();
        for isa in Isa::available() {
            for (unit, begins) in [(16, vec![0, 16]), (32, vec![0])] {
                let (Some(mut tiles), Some(mut model)) =
                    (Amx::configure(isa, unit), Model::configure(isa, unit))
                else {
                    continue;
                };
                for (turn, begin) in begins.into_iter().cycle().take(6).enumerate() {
                    let (mut truth, mut found) = (DigitSums::default(), DigitSums::default());
                    (found.low[3][7], truth.low[3][7]) = (1, 1);
                    let place = (begin, turn < 3);
                    model.multiply(&digits, place, &codes[..unit / 4], turn, &mut truth);
                    tiles.multiply(&digits, place, &codes[..unit / 4], turn, &mut found);
                    assert!(truth.low == found.low && truth.high == found.high, "{isa}, {unit} from {begin}");
                }
            }
        }
    }

    #[test]
    fn digits_make_up_their_code() {
        let digits = digits();
        for (low, high) in digits.low.as_flattened().iter().zip(digits.high.as_flattened()) {
            assert_eq!(i16::from_le_bytes([*low, *high as u8]), (i16::from(*high) << 8) + i16::from(*low));
        }
    }
}
