//! The arithmetic of processors with tiles of BF16: both factors are rounded to BF16, and each 32 inputs are added to a
//! sum in f32 by one instruction, in order ([`crate::tiles`]). One row takes the same instructions as many.
//!
//! Few rows are multiplied with weights as they come out of their blocks. For more the weights of a slab of outputs are
//! rounded once into tiles that stay in the second-level cache while all rows pass.

mod rows;
mod weights;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Zeroable;

pub use rows::PairRows;

use super::Part;
use super::widen::{Brain, Half, Single};
use crate::Storage;
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Bf16Kernel, Bf16Lanes, LANES, with_bf16_tiles};
use crate::machine::Isa;
use crate::tiles::{AmxPairs, PairTiles, Tile, TileSums};
use weights::{Panel, PanelOfBlocks, PanelOfNumbers};

/// Bytes of weights in a slab, and of activations that are multiplied with it at a time. Both stay in a second-level cache of 2 MiB,
/// as every processor with tiles has.
const SLAB: usize = 768 << 10;
const ROWS: usize = 512 << 10;
/// Tiles of a row of tiles that are multiplied at a time, a multiple of those in any block, so that enough outputs and rows stay in that
/// cache. (Fewer, so that the first-level cache keeps them for all rows, gain less than loading and storing their sums more often costs.)
const STRETCH: usize = 64;

/// The outputs `outputs` of a product, for all its rows.
pub(super) fn multiply(isa: Isa, of: &Part<'_>, x: &PairRows, outputs: Range<usize>) {
    let part = PairsPart { isa, of, x, outputs, tiles: PhantomData::<AmxPairs> };
    assert!(with_bf16_tiles(isa, part).is_some(), "{isa} has no tiles of BF16");
}

/// The part of a product that one thread computes: a range of the outputs, for all rows.
struct PairsPart<'a, T> {
    isa: Isa,
    of: &'a Part<'a>,
    x: &'a PairRows,
    outputs: Range<usize>,
    tiles: PhantomData<T>,
}

impl<T: PairTiles> Bf16Kernel for PairsPart<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Bf16Lanes>(self) {
        struct WithLanes<'a, L, T>(PairsPart<'a, T>, PhantomData<L>);
        impl<L: Bf16Lanes, T: PairTiles> OverBlock for WithLanes<'_, L, T> {
            type Output = ();
            #[inline(always)]
            fn run<B: Block>(self) {
                self.0.products::<L, PanelOfBlocks<'_, B>>();
            }
        }
        match self.of.weights.storage {
            Storage::F32 => self.products::<L, PanelOfNumbers<'_, Single>>(),
            Storage::F16 => self.products::<L, PanelOfNumbers<'_, Half>>(),
            Storage::BF16 => self.products::<L, PanelOfNumbers<'_, Brain>>(),
            blocks => {
                with_block(blocks, WithLanes::<L, T>(self, PhantomData));
            }
        }
    }
}

impl<T: PairTiles> PairsPart<'_, T> {
    #[inline(always)]
    fn products<'w, L: Bf16Lanes, P: Panel<'w>>(&'w self) {
        let Some(mut tiles) = T::configure(self.isa, self.x.columns()) else { return };
        if self.x.rows() <= LANES {
            self.few_rows::<L, P>(&mut tiles);
        } else {
            self.many_rows::<L, P>(&mut tiles);
        }
    }

    /// Two panels of sixteen outputs at a time, straight out of the blocks.
    #[inline(always)]
    fn few_rows<'w, L: Bf16Lanes, P: Panel<'w>>(&'w self, tiles: &mut T) {
        for output in self.outputs.clone().step_by(2 * LANES) {
            let panels = self.two_panels::<P>(output);
            let mut held = [[Tile::ZERO; 2]; 2];
            let mut scales = [P::Scales::zeroed(); 2];
            tiles.begin();
            let mut before = None;
            for column in 0..panels[0].columns() {
                for i in 0..2 {
                    panels[i].scales::<L>(column, &mut scales[i]);
                }
                for step in 0..P::STEPS {
                    let (at, now) = (column * P::STEPS + step, &mut held[(column * P::STEPS + step) % 2]);
                    for i in 0..2 {
                        panels[i].tile::<L>(column, step, &scales[i], &mut now[i]);
                        panels[i].prefetch_ahead::<L>(column, step);
                    }
                    // A tile is loaded from the first-level cache alone, so what was just stored is left some time to get there.
                    if let Some(before) = before.replace(at) {
                        let [first, second] = &held[before % 2];
                        tiles.add([first, second], self.x.step(before));
                    }
                }
            }
            if let Some(before) = before {
                let [first, second] = &held[before % 2];
                tiles.add([first, second], self.x.step(before));
            }
            let mut sums = [TileSums::ZERO; 2];
            tiles.end(&mut sums);
            for (i, sums) in sums.iter_mut().enumerate() {
                self.store::<L>(0, output + i * LANES, sums);
            }
        }
    }

    /// The sixteen outputs from one on, and the next sixteen; behind the last are copies, which nobody stores.
    #[inline(always)]
    fn two_panels<'w, P: Panel<'w>>(&'w self, output: usize) -> [P; 2] {
        let weights = &self.of.weights;
        let next = if output + LANES < weights.outputs { output + LANES } else { output };
        [P::of(weights, output), P::of(weights, next)]
    }

    #[inline(always)]
    fn many_rows<'w, L: Bf16Lanes, P: Panel<'w>>(&'w self, tiles: &mut T) {
        let steps = self.x.steps();
        let row = steps.clamp(1, STRETCH) * size_of::<Tile>();
        let panels_max = (SLAB / row / 2 * 2).max(2);
        let groups_max = (ROWS / row / 2 * 2).clamp(2, 16);
        let mut held = Workspace::take();
        for output in self.outputs.clone().step_by(panels_max * LANES) {
            let outputs = output..(output + panels_max * LANES).min(self.outputs.end);
            for begin in (0..steps).step_by(STRETCH) {
                let stretch = begin..(begin + STRETCH).min(steps);
                self.fill_slab::<L, P>(outputs.clone(), &stretch, &mut held.weights);
                for group in (0..self.x.groups()).step_by(groups_max) {
                    let groups = group..(group + groups_max).min(self.x.groups());
                    self.squares::<L>(tiles, &mut held, &stretch, groups, outputs.clone());
                }
            }
        }
        held.put_back();
    }

    /// Rounds a stretch of the weights of some outputs, two panels one behind the other.
    #[inline(always)]
    fn fill_slab<'w, L: Bf16Lanes, P: Panel<'w>>(
        &'w self,
        outputs: Range<usize>,
        stretch: &Range<usize>,
        slab: &mut Vec<Tile>,
    ) {
        let pairs = outputs.len().div_ceil(2 * LANES);
        let tiles = 2 * pairs * stretch.len();
        if slab.len() < tiles {
            slab.resize(tiles, Tile::ZERO);
        }
        for (pair, slab) in slab[..tiles].chunks_exact_mut(2 * stretch.len()).enumerate() {
            let panels = self.two_panels::<P>(outputs.start + 2 * pair * LANES);
            let (first, second) = slab.split_at_mut(stretch.len());
            fill::<L, P>(&panels[0], stretch.start / P::STEPS, first);
            fill::<L, P>(&panels[1], stretch.start / P::STEPS, second);
        }
    }

    /// A slab with some groups of sixteen rows. Sums are kept from stretch to stretch, if there are several.
    #[inline(always)]
    fn squares<L: Bf16Lanes>(
        &self,
        tiles: &mut T,
        held: &mut Workspace,
        stretch: &Range<usize>,
        groups: Range<usize>,
        outputs: Range<usize>,
    ) {
        let (first, last) = (stretch.start == 0, stretch.end == self.x.steps());
        let kept = if first && last { 0 } else { self.x.groups() / 2 };
        let Workspace { weights, sums } = held;
        let slabs = weights.chunks_exact(2 * stretch.len()).take(outputs.len().div_ceil(2 * LANES));
        // The square before, whose sums are written while the next one is multiplied.
        let mut before: Option<(usize, [usize; 2])> = None;
        for (pair, slab) in slabs.enumerate() {
            let output = outputs.start + 2 * pair * LANES;
            let (above, below) = slab.split_at(stretch.len());
            let place = if kept > 0 { pair * kept + groups.start / 2 } else { 0 };
            let count = groups.len() / 2;
            if sums.len() < place + count {
                sums.resize(place + count, [[TileSums::ZERO; 2]; 2]);
            }
            for (place, group) in (place..).zip(groups.clone().step_by(2)) {
                let x = [&self.x.group(group)[stretch.clone()], &self.x.group(group + 1)[stretch.clone()]];
                tiles.square([above, below], x, (!first).then_some(&sums[place]));
                if let Some((place, from)) = before.take() {
                    self.store_square::<L>(from, &mut sums[place]);
                }
                tiles.end_square(&mut sums[place]);
                before = last.then_some((place, [group * LANES, output]));
            }
        }
        if let Some((place, from)) = before {
            self.store_square::<L>(from, &mut sums[place]);
        }
    }

    /// Writes the sums of four tiles, from a row and an output on.
    #[inline(always)]
    fn store_square<L: Bf16Lanes>(&self, [row, output]: [usize; 2], sums: &mut [[TileSums; 2]; 2]) {
        for (i, sums) in sums.iter_mut().enumerate() {
            for (j, sums) in sums.iter_mut().enumerate() {
                self.store::<L>(row + j * LANES, output + i * LANES, sums);
            }
        }
    }

    /// Writes the sums of sixteen outputs, those that are there, for up to sixteen rows.
    #[inline(always)]
    fn store<L: Bf16Lanes>(&self, row: usize, output: usize, sums: &mut TileSums) {
        let count = LANES.min(self.outputs.end.saturating_sub(output));
        if count == 0 {
            return;
        }
        L::turn(bytemuck::cast_mut(sums));
        for (row, sums) in (row..self.x.rows()).zip(&sums.0) {
            // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
            let y = unsafe { self.of.y.slice_mut(row * self.of.weights.outputs + output, count) };
            match y.first_chunk_mut() {
                Some(whole) => *whole = *sums,
                None => y.copy_from_slice(&sums[..count]),
            }
        }
    }
}

/// Rounds a panel into tiles, from a column on.
#[inline(always)]
fn fill<'w, L: Bf16Lanes, P: Panel<'w>>(panel: &P, first: usize, to: &mut [Tile]) {
    let mut scales = P::Scales::zeroed();
    for (column, tiles) in (first..).zip(to.chunks_exact_mut(P::STEPS)) {
        panel.scales::<L>(column, &mut scales);
        for (step, tile) in tiles.iter_mut().enumerate() {
            panel.tile::<L>(column, step, &scales, tile);
            panel.prefetch_ahead::<L>(column, step);
        }
    }
}

/// What a thread rounds weights into. It is kept from one call to the next, since a thread is called for small parts of a product,
/// and empty memory is not free.
#[derive(Default)]
struct Workspace {
    weights: Vec<Tile>,
    sums: Vec<[[TileSums; 2]; 2]>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace::default());
}

impl Workspace {
    fn take() -> Self {
        WORKSPACE.with(|kept| kept.take())
    }

    fn put_back(self) {
        WORKSPACE.with(|kept| kept.replace(self));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;
    use crate::lanes::Scalar;
    use crate::matmul::{Input, Layout, Weights, dequantize, multiply};
    use crate::share::Shared;
    use crate::tiles::PairsModel;

    /// Bytes whose halves are no special numbers.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|i| 0x28 + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 16).collect()
    }

    fn activations(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.37).sin() * (1 + i % 41) as f32).collect()
    }

    struct Case<'a> {
        weights: Weights<'a>,
        rows: usize,
        x: Vec<f32>,
    }

    impl Case<'_> {
        fn by_model(&self, x: &[f32]) -> Vec<f32> {
            let rows = PairRows::of_model(x, self.weights.inputs);
            let mut y = vec![f32::NAN; rows.rows() * self.weights.outputs];
            let input = Input::Pairs(&rows);
            let of =
                Part { weights: self.weights, input, rows: rows.rows(), y: Shared::new(&mut y), added: None };
            let outputs = 0..self.weights.outputs;
            let (isa, tiles) = (Isa::SCALAR, PhantomData::<PairsModel>);
            PairsPart { isa, of: &of, x: &rows, outputs, tiles }.run::<Scalar>();
            y
        }

        /// In f64, of factors rounded to BF16; with what a sum may be off.
        fn truth(&self) -> Vec<(f64, f64)> {
            let Weights { storage, outputs, inputs, bytes, .. } = self.weights;
            let mut weights = vec![0.0; outputs * inputs];
            dequantize(Isa::SCALAR, storage, bytes, &mut weights);
            let sum = |i: usize| {
                let x = &self.x[i / outputs * inputs..][..inputs];
                let w = &weights[i % outputs * inputs..][..inputs];
                let products = x
                    .iter()
                    .zip(w)
                    .map(|(x, w)| half::bf16::from_f32(*x).to_f64() * half::bf16::from_f32(*w).to_f64());
                // A weight with a minimum may be rounded the other way: it is formed with one rounding and not with two.
                let size: f64 = products.clone().map(f64::abs).sum();
                (products.sum(), size * (2f64.powi(-9) / (inputs as f64).sqrt() + 1e-6))
            };
            (0..self.rows * outputs).map(sum).collect()
        }
    }

    fn check(storage: Storage, rows: usize, outputs: usize, inputs: usize) {
        let bytes = match storage {
            Storage::F32 => activations(outputs * inputs).iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => bytes(storage.bytes_of(inputs).expect("whole blocks") * outputs),
        };
        let weights = Weights { storage, layout: Layout::OutIn, outputs, inputs, bytes: &bytes };
        let case = Case { weights, rows, x: activations(rows * inputs) };
        let what = format!("{storage}: {rows} rows, {outputs} x {inputs}");
        let model = case.by_model(&case.x);
        for (i, (found, (truth, bound))) in model.iter().zip(case.truth()).enumerate() {
            assert!(
                (f64::from(*found) - truth).abs() <= bound,
                "{what}, number {i}: {found} and not {truth}"
            );
        }
        let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
        let last = case.by_model(&case.x[(rows - 1) * inputs..]);
        assert_eq!(bits(&last), bits(&model[(rows - 1) * outputs..]), "{what}: the last row alone");
        for isa in Isa::available().into_iter().filter(|isa| isa.has_bf16_tiles()) {
            for threads in [1, 3] {
                let machine = Machine::new(isa, threads);
                let (mut x, mut y) = (PairRows::new(), vec![f32::NAN; rows * outputs]);
                x.fill(&machine, &case.x, inputs);
                multiply(&machine, weights, Input::Pairs(&x), &mut y);
                assert_eq!(bits(&y), bits(&model), "{what} on {isa} with {threads} threads");
            }
        }
    }

    #[test]
    fn every_storage_in_pairs() {
        for storage in Storage::ALL {
            for rows in [2, 18] {
                check(storage, rows, 21, 512);
            }
        }
    }

    #[test]
    fn every_number_of_rows_and_outputs_in_pairs() {
        for rows in 1..=36 {
            check(Storage::Q4_1, rows, 1 + rows * 7 % 40, 96);
        }
        // More groups of rows than are multiplied at a time.
        check(Storage::Q8_0, 290, 3, 32);
    }

    #[test]
    fn every_width_of_numbers_in_pairs() {
        for inputs in (1..=70).step_by(3) {
            check(Storage::F32, 3, 17, inputs);
            check(Storage::BF16, 19, 5, inputs);
        }
    }

    #[test]
    fn slabs_and_stretches_in_pairs() {
        // More outputs than a slab holds, and more tiles than a stretch.
        check(Storage::Q4_0, 17, 2 * (SLAB / (65 * size_of::<Tile>())) * LANES + 3, 32 * 65);
    }
}
