//! The exact arithmetic: dot products in f32 of weights that are numbers, or were widened into a slab.
//!
//! Lane `i` of sixteen takes every sixteenth product from `i` on, one fused multiply-add each, then the lanes are summed:
//! the same bits whatever the number of rows and however rows, outputs and terms are cut.

use std::ops::Range;

use super::across::Across;
use super::widen::{Brain, Half, Number, Single, widen};
use super::{Layout, Part, Weights};
use crate::Storage;
use crate::lanes::{CACHE_LINE, Kernel, LANES, Lanes, dispatch, groups};
use crate::machine::Isa;

/// Numbers in a slab of widened weights: 128 KiB, so that it stays in the second-level cache.
const SLAB: usize = 32 * 1024;
/// Rows of activations, outputs and terms of a block. So many activations and weights, and the sums of these rows and outputs, stay in
/// the second-level cache together, and the activations of a tile in the first.
const ROWS: usize = 48;
const OUTPUTS: usize = 32;
const TERMS: usize = 1024;

/// The outputs `outputs` of a product, for all its rows.
pub(super) fn multiply(isa: Isa, of: &Part<'_>, x: &[f32], outputs: Range<usize>) {
    if let Some(across) = Across::new(of, x, outputs.clone()) {
        return dispatch(isa, across);
    }
    dispatch(isa, Dots { of, x, outputs });
}

/// The part of a product that one thread computes: a range of the outputs, for all rows.
struct Dots<'a> {
    of: &'a Part<'a>,
    x: &'a [f32],
    outputs: Range<usize>,
}

impl Kernel for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match (self.of.weights.layout, self.of.weights.storage) {
            (Layout::OutIn, Storage::F32) => self.as_they_lie::<L, Single>(),
            (Layout::OutIn, Storage::F16) => self.as_they_lie::<L, Half>(),
            (Layout::OutIn, Storage::BF16) => self.as_they_lie::<L, Brain>(),
            _ => self.widened::<L>(),
        }
    }
}

/// Widens the weights of some outputs, one row for each.
#[inline(always)]
fn fill<L: Lanes>(weights: &Weights<'_>, begin: usize, slab: &mut [f32]) {
    let (inputs, storage) = (weights.inputs, weights.storage);
    match weights.layout {
        Layout::OutIn => {
            let row_bytes = weights.bytes.len() / weights.outputs;
            let count = slab.len() / inputs.max(1);
            widen::<L>(storage, &weights.bytes[begin * row_bytes..][..count * row_bytes], slab);
        }
        Layout::InOut => {
            let count = slab.len() / inputs.max(1);
            let size = storage.block_bytes();
            let mut across = vec![0.0; count];
            for k in 0..inputs {
                let at = (k * weights.outputs + begin) * size;
                widen::<L>(storage, &weights.bytes[at..][..count * size], &mut across);
                for (row, value) in across.iter().enumerate() {
                    slab[row * inputs + k] = *value;
                }
            }
        }
    }
}

/// What is multiplied at a time.
struct Block {
    rows: Range<usize>,
    outputs: Range<usize>,
    terms: Range<usize>,
}

impl Dots<'_> {
    #[inline(always)]
    fn as_they_lie<L: Lanes, N: Number>(&self) {
        let numbers: &[N] = bytemuck::cast_slice(self.of.weights.bytes);
        let inputs = self.of.weights.inputs;
        self.products::<L, N>(&numbers[self.outputs.start * inputs..], self.outputs.clone());
    }

    #[inline(always)]
    fn widened<L: Lanes>(&self) {
        let inputs = self.of.weights.inputs;
        let slab_rows = (SLAB / inputs.max(1)).clamp(4, 64).min(self.outputs.len());
        let mut slab = vec![0.0; slab_rows * inputs];
        for begin in self.outputs.clone().step_by(slab_rows) {
            let outputs = begin..(begin + slab_rows).min(self.outputs.end);
            let slab = &mut slab[..outputs.len() * inputs];
            fill::<L>(&self.of.weights, begin, slab);
            self.products::<L, Single>(bytemuck::cast_slice(slab), outputs);
        }
    }

    /// The products with some outputs, whose numbers come first of `w`.
    #[inline(always)]
    fn products<L: Lanes, N: Number>(&self, w: &[N], outputs: Range<usize>) {
        let (rows, inputs) = (self.of.rows, self.of.weights.inputs);
        // Rows that fit a tile want all terms of a weight's row one after the other, as memory has them.
        let one_tile = rows <= if L::WIDE { 6 } else { 3 };
        let terms_max = if one_tile { inputs.max(1) } else { TERMS };
        let mut held = vec![[0.0; LANES]; if inputs > terms_max { ROWS * OUTPUTS } else { 0 }];
        for row in (0..rows).step_by(ROWS) {
            for output in outputs.clone().step_by(OUTPUTS) {
                for term in (0..inputs.max(1)).step_by(terms_max) {
                    let block = Block {
                        rows: row..(row + ROWS).min(rows),
                        outputs: output..(output + OUTPUTS).min(outputs.end),
                        terms: term..(term + terms_max).min(inputs),
                    };
                    self.block::<L, N>(&w[(output - outputs.start) * inputs..], &block, &mut held);
                }
            }
        }
    }

    /// As many sums side by side as hide the wait of each for the one before it, and as few loads for each as registers allow.
    #[inline(always)]
    fn block<L: Lanes, N: Number>(&self, w: &[N], block: &Block, held: &mut [[f32; LANES]]) {
        let mut row = block.rows.start;
        while row < block.rows.end {
            row += match block.rows.end - row {
                1 => self.tiles::<L, N, 4, 1>(w, block, row, held),
                2 if const { L::WIDE } => self.tiles::<L, N, 4, 2>(w, block, row, held),
                2 => self.tiles::<L, N, 2, 2>(w, block, row, held),
                3 if const { L::WIDE } => self.tiles::<L, N, 4, 3>(w, block, row, held),
                4 if const { L::WIDE } => self.tiles::<L, N, 4, 4>(w, block, row, held),
                5 if const { L::WIDE } => self.tiles::<L, N, 4, 5>(w, block, row, held),
                _ if const { L::WIDE } => self.tiles::<L, N, 4, 6>(w, block, row, held),
                _ => self.tiles::<L, N, 2, 3>(w, block, row, held),
            };
        }
    }

    /// The outputs of a block for `R` rows, `O` at a time; gives `R`. Sums of terms that are not the last are held.
    #[inline(always)]
    fn tiles<L: Lanes, N: Number, const O: usize, const R: usize>(
        &self,
        w: &[N],
        block: &Block,
        row: usize,
        held: &mut [[f32; LANES]],
    ) -> usize {
        let Block { rows, outputs, terms } = block;
        let inputs = self.of.weights.inputs;
        let mut x: [&[f32]; R] = [&[]; R];
        for (r, x) in x.iter_mut().enumerate() {
            *x = &self.x[(row + r) * inputs..][terms.clone()];
        }
        for out in (0..outputs.len()).step_by(O) {
            // Behind the last output stand copies of it, which nobody stores.
            let of_output = |o: usize| &w[(out + o).min(outputs.len() - 1) * inputs..][terms.clone()];
            let mut weights: [&[N]; O] = [&[]; O];
            for (o, weights) in weights.iter_mut().enumerate() {
                *weights = of_output(o);
            }
            let mut sums = [[L::splat(0.0); O]; R];
            let place = |r: usize, o: usize| (row - rows.start + r) * OUTPUTS + out + o;
            if terms.start > 0 {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (o, sum) in sums.iter_mut().enumerate() {
                        *sum = L::load(&held[place(r, o)]);
                    }
                }
            }
            let ahead = if row == rows.start { self.ahead::<L, N, O>(w, terms, out + 2 * O) } else { &[] };
            add_products::<L, N, O, R>(&weights, &x, ahead, &mut sums);
            for (r, sums) in sums.iter().enumerate() {
                if terms.end < inputs {
                    for (o, sum) in sums.iter().enumerate() {
                        sum.store(&mut held[place(r, o)]);
                    }
                } else {
                    self.store(row + r, outputs.start + out..outputs.end, L::sums(sums));
                }
            }
        }
        R
    }

    /// The numbers of `O` outputs to ask for while others are multiplied, if these lie one after the other; else asks for them
    /// at once. Rows are too short for the processor to see a pattern in all of them.
    #[inline(always)]
    fn ahead<'w, L: Lanes, N: Number, const O: usize>(
        &self,
        w: &'w [N],
        terms: &Range<usize>,
        output: usize,
    ) -> &'w [N] {
        let inputs = self.of.weights.inputs;
        if terms.len() == inputs {
            return w.get(output * inputs..(output + O) * inputs).unwrap_or_default();
        }
        for output in output..output + O {
            let first = output * inputs + terms.start;
            prefetch::<L, N>(w.get(first..first + terms.len()).unwrap_or_default());
        }
        &[]
    }

    /// Writes the first of some outputs of a row, or adds them.
    #[inline(always)]
    fn store<const O: usize>(&self, row: usize, outputs: Range<usize>, sums: [f32; O]) {
        let sums = &sums[..O.min(outputs.len())];
        // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
        let y = unsafe { self.of.y.slice_mut(row * self.of.weights.outputs + outputs.start, sums.len()) };
        match self.of.added {
            Some(factor) => y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum.mul_add(factor, *y)),
            None => y.copy_from_slice(sums),
        }
    }
}

#[inline(always)]
fn prefetch<L: Lanes, N: Number>(numbers: &[N]) {
    for line in numbers.chunks(CACHE_LINE / size_of::<N>()) {
        L::prefetch(&bytemuck::bytes_of(&line[0])[0]);
    }
}

/// Adds the products of `R` rows with `O` outputs to their sums, and asks for as many numbers ahead as are read, if there are any.
#[inline(always)]
fn add_products<L: Lanes, N: Number, const O: usize, const R: usize>(
    w: &[&[N]; O],
    x: &[&[f32]; R],
    ahead: &[N],
    sums: &mut [[L; O]; R],
) {
    let mut lanes = *sums;
    let ((x_first, x_first_rest), (w_first, w_first_rest)) = (groups(x[0]), groups(w[0]));
    let (mut x_whole, mut x_rest) = ([x_first; R], [x_first_rest; R]);
    for r in 0..R {
        (x_whole[r], x_rest[r]) = groups(x[r]);
        x_whole[r] = &x_whole[r][..x_first.len()];
    }
    let (mut w_whole, mut w_rest) = ([w_first; O], [w_first_rest; O]);
    for o in 0..O {
        (w_whole[o], w_rest[o]) = groups(w[o]);
        w_whole[o] = &w_whole[o][..x_first.len()];
    }
    for k in 0..x_first.len() {
        if let Some(numbers) = ahead.get(k * O * LANES..(k + 1) * O * LANES) {
            prefetch::<L, N>(numbers);
        }
        let mut weights = [L::splat(0.0); O];
        for o in 0..O {
            weights[o] = N::load(&w_whole[o][k]);
        }
        for r in 0..R {
            let x = L::load(&x_whole[r][k]);
            for o in 0..O {
                lanes[r][o] = x.mul_add(weights[o], lanes[r][o]);
            }
        }
    }
    if !x_first_rest.is_empty() {
        for o in 0..O {
            let w: L = N::load_part(w_rest[o]);
            for r in 0..R {
                lanes[r][o] = L::load_part(x_rest[r]).mul_add(w, lanes[r][o]);
            }
        }
    }
    *sums = lanes;
}
