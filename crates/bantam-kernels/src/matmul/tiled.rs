//! The integer arithmetic in tiles: sixteen rows of activations times sixteen outputs at a time.
//!
//! Tiles give each unit's sums of products of codes as every other path has them, times the scale of the activations, which is a power
//! of two; then `add_unit` adds the units in order.
//!
//! Some units are multiplied and then added up, not one by one: multiply-adds in lanes wait for the port that tiles are multiplied on, so both at
//! once gain nothing.

use std::marker::PhantomData;
use std::ops::Range;

use super::Codes;
use super::codes::{GROUP, Scale};
use super::integer::{Part, add_unit, each_lane};
use super::slab::{Filled, Halves, Panel, Workspace};
use crate::Machine;
use crate::blocks::{OverUnit, Unit, unit_of, with_unit};
use crate::lanes::{Kernel, LANES, Lanes, RUN, dispatch};
use crate::share::Shared;
use crate::tiles::{Amx, Digits, TileRow, TileSums, Tiles, bf16_of};

/// From so many rows on tiles are used.
pub(super) const TILED_ROWS: usize = 12;
/// Units of two panels that are multiplied before they are added up: their digits and sums, and the codes of the panels as they pass, stay in
/// the first-level cache.
const STRETCH: usize = 6;

/// Rows of codes in tiles, sixteen at a time; rows behind the last one are zero.
#[derive(Default)]
pub(super) struct CodeTiles {
    /// `[rows / 16][width / 32]`, times the scale of their group
    digits: Vec<Digits>,
    /// What minima of weights are multiplied with: of the first unit of 16, of the second, and of both; `[rows / 16][width / 32]`
    minima: Vec<[[f32; LANES]; 3]>,
}

/// Sums of a thread's products in tiles.
#[derive(Default)]
pub(super) struct TiledSums {
    /// Of the units that are not yet added up.
    units: [[TileSums; 2]; STRETCH],
    /// `[panels][16 rows][16 outputs]`, from one stretch of the inputs to the next
    sums: Vec<[[f32; LANES]; LANES]>,
}

impl CodeTiles {
    pub(super) fn clear(&mut self) {
        self.digits.clear();
        self.minima.clear();
    }

    /// Where some inputs of sixteen rows are.
    #[inline(always)]
    fn places(&self, sixteen: usize, inputs: &Range<usize>, width: usize) -> Range<usize> {
        let first = sixteen * (width / GROUP);
        first + inputs.start / GROUP..first + inputs.end / GROUP
    }

    pub(super) fn is_empty(&self) -> bool {
        self.digits.is_empty()
    }

    /// Lays codes out.
    pub(super) fn fill(&mut self, machine: &Machine, codes: &Codes) {
        let groups = codes.width() / GROUP;
        let count = codes.rows().div_ceil(LANES) * groups;
        self.digits.resize(count, Digits::default());
        self.minima.resize(count, [[0.0; LANES]; 3]);
        let (digits, minima) = (Shared::new(&mut self.digits), Shared::new(&mut self.minima));
        machine.split(count, 16, |range| {
            // SAFETY: the ranges of the threads do not overlap.
            let (digits, minima) = unsafe {
                (digits.slice_mut(range.start, range.len()), minima.slice_mut(range.start, range.len()))
            };
            dispatch(machine.isa(), Fill { codes, first: range.start, digits, minima });
        });
    }
}

struct Fill<'a> {
    codes: &'a Codes,
    first: usize,
    digits: &'a mut [Digits],
    minima: &'a mut [[[f32; LANES]; 3]],
}

impl Kernel for Fill<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let groups = self.codes.width() / GROUP;
        for (index, (digits, minima)) in self.digits.iter_mut().zip(self.minima).enumerate() {
            let (sixteen, group) = ((self.first + index) / groups, (self.first + index) % groups);
            for lane in 0..LANES {
                let row = LANES * sixteen + lane;
                if row < self.codes.rows() {
                    take_row(self.codes, (row, group), digits, minima, lane);
                } else {
                    (digits.low[lane], digits.high[lane]) = ([0; RUN], [0; RUN]);
                    minima.iter_mut().for_each(|minima| minima[lane] = 0.0);
                }
            }
        }
    }
}

/// Takes a group of one row.
#[inline(always)]
fn take_row(
    codes: &Codes,
    (row, group): (usize, usize),
    digits: &mut Digits,
    minima: &mut [[f32; LANES]; 3],
    lane: usize,
) {
    let row = codes.row(row);
    let scale = row.scales[group];
    let (low, high) = (&mut digits.low[lane], &mut digits.high[lane]);
    for ((code, low), high) in row.codes.as_chunks::<GROUP>().0[group].iter().zip(low).zip(high) {
        let lower = *code & 255;
        (*low, *high) =
            (bf16_of(f32::from(lower) * scale.code), bf16_of(f32::from(code - lower) * scale.code));
    }
    let [first, second] = row.sums[group].map(|sum| -(scale.code * sum));
    for (minima, minimum) in minima.iter_mut().zip([first, second, scale.minimum]) {
        minima[lane] = minimum;
    }
}

/// A part of a product, all its rows in tiles. Gives whether it could be done.
pub(super) fn multiply(part: &Part<'_>) -> bool {
    multiply_with::<Amx>(part)
}

fn multiply_with<T: Tiles>(part: &Part<'_>) -> bool {
    let Some((unit, _)) = unit_of(part.weights.storage).filter(|_| !part.x.tiles().is_empty()) else {
        return false;
    };
    let Some(mut tiles) = T::configure(part.isa, unit) else { return false };
    Workspace::slabs::<Halves>(part, |slab, tiled| {
        if tiled.sums.len() < slab.panels.len() {
            tiled.sums.resize(slab.panels.len(), [[0.0; LANES]; LANES]);
        }
        dispatch(part.isa, Slab { part, slab, tiles: &mut tiles, tiled });
    });
    true
}

/// A slab of panels for all rows.
struct Slab<'a, T> {
    part: &'a Part<'a>,
    slab: Filled<'a>,
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

impl<T: Tiles> Slab<'_, T> {
    #[inline(always)]
    fn all_rows<L: Lanes, U: Unit>(&mut self) {
        let stretch = STRETCH * U::LEN;
        for sixteen in 0..self.part.x.rows().div_ceil(LANES) {
            for begin in self.slab.inputs.clone().step_by(stretch) {
                let end = (begin + stretch).min(self.slab.inputs.end);
                self.add_stretch::<L, U>(sixteen, begin..end);
            }
        }
    }

    /// Adds the products of some inputs to the sums of sixteen rows, for all panels. Sums are kept from stretch to stretch of a slab, and wait among
    /// the results for the slab of the inputs behind.
    #[inline(always)]
    fn add_stretch<'s, L: Lanes, U: Unit>(&'s mut self, sixteen: usize, inputs: Range<usize>) {
        let Slab { part, slab, tiled, .. } = self;
        let (places, slab_inputs) = (part.x.tiles().places(sixteen, &inputs, part.x.width()), &slab.inputs);
        let (digits, minima) = (&part.x.tiles().digits[places.clone()], &part.x.tiles().minima[places]);
        let (begins, ends) = (inputs.start == slab_inputs.start, inputs.end == slab_inputs.end);
        let (begin, end) = (inputs.start - slab_inputs.start, inputs.end - slab_inputs.start);
        let products = &mut tiled.units[..inputs.len() / U::LEN];
        for (two, panels) in slab.panels.chunks(2).enumerate() {
            let codes = |panel: &'s Panel| -> &'s [TileRow] {
                &bytemuck::cast_slice(panel.pairs())[begin / 2..end / 2]
            };
            self.tiles.multiply(digits, [codes(&panels[0]), codes(&panels[panels.len() - 1])], products);
            for (i, panel) in panels.iter().enumerate() {
                let kept = &mut tiled.sums[2 * two + i];
                let place = (sixteen * LANES, slab.output + (2 * two + i) * LANES);
                let mut sums = [L::splat(0.0); LANES];
                if !begins {
                    sums = each_lane!(|lane| L::load(&kept[lane]));
                } else if inputs.start > 0 {
                    sums = part.load_sixteen(place);
                }
                for (index, products) in products.iter().enumerate() {
                    let which = if U::LEN == GROUP { 2 } else { index % 2 };
                    let minima = &minima[index * U::LEN / GROUP][which];
                    sums = add_sixteen::<L, U>(sums, &products[i], (panel, begin / U::LEN + index), minima);
                }
                if ends {
                    part.store_sixteen(place, sums);
                } else {
                    each_lane!(|lane| sums[lane].store(&mut kept[lane]));
                }
            }
        }
    }
}

impl Part<'_> {
    /// What was stored of sixteen outputs of sixteen rows.
    #[inline(always)]
    fn load_sixteen<L: Lanes>(&self, (row, output): (usize, usize)) -> [L; LANES] {
        let rows = self.x.rows() - row;
        each_lane!(|lane| if lane < rows { self.load(row + lane, output) } else { L::splat(0.0) })
    }

    #[inline(always)]
    fn store_sixteen<L: Lanes>(&self, (row, output): (usize, usize), sums: [L; LANES]) {
        let rows = self.x.rows() - row;
        each_lane!(|lane| {
            if lane < rows {
                self.store(row + lane, output, sums[lane]);
            }
        });
    }
}

/// Adds one unit to the sums of sixteen rows.
#[inline(always)]
fn add_sixteen<L: Lanes, U: Unit>(
    sums: [L; LANES],
    products: &TileSums,
    (panel, unit): (&Panel, usize),
    x_minima: &[f32; LANES],
) -> [L; LANES] {
    let scales = L::load(&panel.scales[unit]);
    let minima = if U::MINIMA { L::load(&panel.minima[unit]) } else { L::splat(0.0) };
    each_lane!(|lane| {
        let scale = Scale { code: 1.0, minimum: x_minima[lane] };
        add_unit::<L, U>(sums[lane], L::load(&products.0[lane]), scales, minima, scale)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Input, Layout, Rounding, Weights, multiply};
    use crate::tiles::Model;
    use crate::{Isa, Storage};

    /// Bytes whose halves are no special numbers.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| 0x28 + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 16).collect()
    }

    fn check(storage: Storage, rows: usize, outputs: usize, inputs: usize) {
        let bytes = bytes(storage.bytes_of(inputs).expect("whole blocks") * outputs);
        let weights = Weights { storage, layout: Layout::OutIn, outputs, inputs, bytes: &bytes };
        let x: Vec<f32> = (0..rows * inputs).map(|i| (i as f32 * 0.37).sin() * (i % 41) as f32).collect();
        let machine = Machine::new(Isa::SCALAR, 2);
        let mut codes = Codes::new();
        codes.fill(&machine, &x, inputs, Rounding::Bits16);
        let mut truth = vec![0.0; rows * outputs];
        multiply(&machine, weights, Input::Coded(&codes), &mut truth);
        for isa in Isa::available() {
            codes.fill_tiles(&Machine::new(isa, 2));
            let mut y = vec![f32::NAN; rows * outputs];
            let part = Part { isa, weights, x: &codes, y: &Shared::new(&mut y), outputs: 0..outputs };
            assert!(multiply_with::<Model>(&part));
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
