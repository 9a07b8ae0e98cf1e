//! The integer arithmetic in tiles: sixteen rows of activations times sixteen outputs at a time.
//!
//! Tiles give the exact sums of each unit's products of digits; then `add_unit` adds the units in order, as for every
//! other path. Sums of sixteen rows stay in registers while a stretch of the inputs passes.

use std::marker::PhantomData;
use std::ops::Range;

use super::codes::{GROUP, Scale};
use super::integer::{Part, add_unit, each_lane};
use super::slab::{Bytes, Panel, Workspace};
use super::{Codes, Rounding};
use crate::Machine;
use crate::blocks::{OverUnit, Unit, unit_of, with_unit};
use crate::lanes::{Kernel, LANES, Lanes, RUN, dispatch};
use crate::share::Shared;
use crate::tiles::{DigitSums, Digits, Tiles};

/// From so many rows on tiles are used. Up to sixteen rows in tiles cost as much as five in 16-bit pairs, or ten where units
/// are short, by count (see docs/kernels.md): nobody has measured it yet, so the doubt is left some room.
pub(super) const TILED_ROWS: usize = 12;
/// Groups of inputs whose tiles, 40 KiB with those of the weights, stay in the first-level cache for a slab of panels.
const STRETCH: usize = 20;

/// A group of codes of sixteen rows of activations. Rows behind the last one are zero.
#[derive(Clone, Default)]
#[repr(C)]
pub(super) struct CodeTile {
    digits: Digits,
    /// Of the first unit of 16, of the second, and of both.
    scales: [[Scale; LANES]; 3],
}

/// Sums of a thread's products in tiles, kept from one stretch of the inputs to the next.
#[derive(Default)]
pub(super) struct TiledSums {
    /// Of the unit that is multiplied and of the one before it, which is added up meanwhile.
    digits: [DigitSums; 2],
    /// `[panels][16 rows][16 outputs]`
    sums: Vec<[[f32; LANES]; LANES]>,
}

/// Lays codes out in tiles, `[rows / 16][width / 32]`.
pub(super) fn fill(machine: &Machine, codes: &Codes, tiles: &mut [CodeTile]) {
    let count = tiles.len();
    let tiles = Shared::new(tiles);
    machine.split(count, 16, |range| {
        // SAFETY: the ranges of the threads do not overlap.
        let tiles = unsafe { tiles.slice_mut(range.start, range.len()) };
        dispatch(machine.isa(), Fill { codes, first: range.start, tiles });
    });
}

struct Fill<'a> {
    codes: &'a Codes,
    first: usize,
    tiles: &'a mut [CodeTile],
}

impl Kernel for Fill<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let groups = self.codes.width() / GROUP;
        for (index, tile) in self.tiles.iter_mut().enumerate() {
            let (sixteen, group) = ((self.first + index) / groups, (self.first + index) % groups);
            for lane in 0..LANES {
                tile.take_row(self.codes, LANES * sixteen + lane, group, lane);
            }
        }
    }
}

impl CodeTile {
    /// Takes a group of one row.
    #[inline(always)]
    fn take_row(&mut self, codes: &Codes, row: usize, group: usize, lane: usize) {
        let (low, high) = (&mut self.digits.low[lane], &mut self.digits.high[lane]);
        if row >= codes.rows() {
            (*low, *high) = ([0; RUN], [0; RUN]);
            self.scales.iter_mut().for_each(|scales| scales[lane] = Scale::default());
            return;
        }
        let row = codes.row(row);
        for ((code, low), high) in row.codes.as_chunks::<GROUP>().0[group].iter().zip(low).zip(high) {
            (*low, *high) = (*code as u8, (*code >> 8) as i8);
        }
        let whole = row.scales[group];
        let [first, second] = row.sums[group].map(|sum| Scale::new(whole.code, sum));
        for (scales, scale) in self.scales.iter_mut().zip([first, second, whole]) {
            scales[lane] = scale;
        }
    }
}

/// A part of a product, all its rows in tiles.
pub(super) struct TiledRows<'a, T> {
    part: &'a Part<'a>,
    tiles: PhantomData<T>,
}

impl<'a, T: Tiles> TiledRows<'a, T> {
    pub(super) fn new(part: &'a Part<'a>) -> Self {
        TiledRows { part, tiles: PhantomData }
    }

    /// Gives whether it could be done.
    pub(super) fn run(&self) -> bool {
        let part = self.part;
        let Some((unit, _)) = unit_of(part.weights.storage).filter(|_| !part.x.tiles().is_empty()) else {
            return false;
        };
        let Some(mut tiles) = T::configure(part.isa, unit) else { return false };
        Workspace::slabs::<Bytes>(part, |panels, output, tiled| {
            tiled.sums.resize(panels.len(), [[0.0; LANES]; LANES]);
            if !low_digits(part.x) {
                tiled.digits.iter_mut().for_each(|digits| digits.low = Default::default());
            }
            dispatch(part.isa, Slab { part, panels, output, tiles: &mut tiles, tiled });
        });
        true
    }
}

/// The outputs of a slab of panels from `output` on, for all rows.
struct Slab<'a, T> {
    part: &'a Part<'a>,
    panels: &'a [Panel],
    output: usize,
    tiles: &'a mut T,
    tiled: &'a mut TiledSums,
}

impl<T: Tiles> Kernel for Slab<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        struct WithLanes<'a, L, T>(Slab<'a, T>, PhantomData<L>);
        impl<L: Lanes, T: Tiles> OverUnit for WithLanes<'_, L, T> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(mut self) {
                self.0.all_rows::<L, U>();
            }
        }
        // Tests have tiles everywhere.
        if const { L::TILES || cfg!(test) } {
            with_unit(self.part.weights.storage, WithLanes::<L, T>(self, PhantomData));
        }
    }
}

fn low_digits(x: &Codes) -> bool {
    x.rounding() == Rounding::Bits16
}

impl<T: Tiles> Slab<'_, T> {
    #[inline(always)]
    fn all_rows<L: Lanes, U: Unit>(&mut self) {
        let (groups, low) = (self.part.weights.inputs / GROUP, low_digits(self.part.x));
        for (sixteen, x) in self.part.x.tiles().chunks_exact(groups).enumerate() {
            for begin in (0..groups).step_by(STRETCH) {
                let end = (begin + STRETCH).min(groups);
                for (i, panel) in self.panels.iter().enumerate() {
                    let kept = &mut self.tiled.sums[i];
                    let mut sums = [L::splat(0.0); LANES];
                    if begin > 0 {
                        sums = each_lane!(|lane| L::load(&kept[lane]));
                    }
                    let digits = &mut self.tiled.digits;
                    sums = add_stretch::<L, U, T>(sums, panel, (x, low), begin..end, self.tiles, digits);
                    if end < groups {
                        each_lane!(|lane| sums[lane].store(&mut kept[lane]));
                    } else {
                        self.part.store_sixteen(sixteen * LANES, self.output + i * LANES, sums);
                    }
                }
            }
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn store_sixteen<L: Lanes>(&self, row: usize, output: usize, sums: [L; LANES]) {
        let rows = self.x.rows() - row;
        each_lane!(|lane| {
            if lane < rows {
                self.store(row + lane, output, sums[lane]);
            }
        });
    }
}

/// Adds the products of the units of some groups to the sums of sixteen rows. While one unit is multiplied in
/// tiles, the one before it is added.
#[inline(always)]
fn add_stretch<L: Lanes, U: Unit, T: Tiles>(
    mut sums: [L; LANES],
    panel: &Panel,
    (x, low): (&[CodeTile], bool),
    groups: Range<usize>,
    tiles: &mut T,
    digits: &mut [DigitSums; 2],
) -> [L; LANES] {
    let codes = bytemuck::cast_slice(panel.pairs());
    let (first, end) = (groups.start * (GROUP / U::LEN), groups.end * (GROUP / U::LEN));
    for unit in first..=end {
        if unit < end {
            let (group, begin) = (unit * U::LEN / GROUP, unit * U::LEN % GROUP);
            let codes = &codes[unit * U::LEN / 4..][..U::LEN / 4];
            tiles.multiply(&x[group].digits, (begin, low), codes, unit, &mut digits[unit % 2]);
        }
        if unit > first {
            let unit = unit - 1;
            sums = add_sixteen::<L, U>(sums, &digits[unit % 2], panel, &x[unit * U::LEN / GROUP], unit);
        }
    }
    sums
}

/// Adds one unit to the sums of sixteen rows.
#[inline(always)]
fn add_sixteen<L: Lanes, U: Unit>(
    sums: [L; LANES],
    digits: &DigitSums,
    panel: &Panel,
    x: &CodeTile,
    unit: usize,
) -> [L; LANES] {
    let scales = L::load(&panel.scales[unit]);
    let minima = if U::MINIMA { L::load(&panel.minima[unit]) } else { L::splat(0.0) };
    let x = &x.scales[if U::LEN == GROUP { 2 } else { unit % 2 }];
    each_lane!(|lane| {
        let ints = L::ints_of_digits(&digits.high[lane], &digits.low[lane]);
        add_unit::<L, U>(sums[lane], L::ints_to_f32(ints), scales, minima, x[lane])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Input, Layout, Weights, multiply};
    use crate::tiles::Model;
    use crate::{Isa, Storage};

    /// Bytes whose halves are no special numbers.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| 0x28 + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 16).collect()
    }

    fn check(storage: Storage, rows: usize, outputs: usize, inputs: usize) {
        for rounding in [Rounding::Bits16, Rounding::Bits8] {
            check_rounded(storage, rows, (outputs, inputs), rounding);
        }
    }

    fn check_rounded(storage: Storage, rows: usize, (outputs, inputs): (usize, usize), rounding: Rounding) {
        let bytes = bytes(storage.bytes_of(inputs).expect("whole blocks") * outputs);
        let weights = Weights { storage, layout: Layout::OutIn, outputs, inputs, bytes: &bytes };
        let x: Vec<f32> = (0..rows * inputs).map(|i| (i as f32 * 0.37).sin() * (i % 41) as f32).collect();
        let machine = Machine::new(Isa::SCALAR, 2);
        let mut codes = Codes::new();
        codes.fill(&machine, &x, inputs, rounding);
        let mut truth = vec![0.0; rows * outputs];
        multiply(&machine, weights, Input::Coded(&codes), &mut truth);
        for isa in Isa::available() {
            codes.fill_tiles(&Machine::new(isa, 2));
            let mut y = vec![f32::NAN; rows * outputs];
            let part = Part { isa, weights, x: &codes, y: &Shared::new(&mut y), outputs: 0..outputs };
            assert!(TiledRows::<Model>::new(&part).run());
            assert!(
                truth.iter().zip(&y).all(|(truth, y)| truth.to_bits() == y.to_bits()),
                "{storage} on {isa}: {rows} rows, {outputs} x {inputs}"
            );
        }
    }

    #[test]
    fn every_storage_in_tiles() {
        for storage in Storage::ALL.into_iter().filter(|storage| storage.is_quantized()) {
            check(storage, 16, 16, 256);
            check(storage, 37, 21, 768);
        }
    }

    #[test]
    fn every_number_of_rows_and_outputs_in_tiles() {
        for rows in 1..34 {
            check(Storage::Q4_1, rows, 1 + rows % 19, 96);
            check(Storage::Q2K, rows, 16 + rows % 19, 256);
        }
    }

    #[test]
    fn slabs_and_stretches() {
        // More panels than a slab holds, and more groups than a stretch does, with a rest of either.
        check(Storage::Q8_0, 18, 150, 32 * (2 * STRETCH + 1));
        check(Storage::Q6K, 18, 40, 256 * 9);
    }
}
