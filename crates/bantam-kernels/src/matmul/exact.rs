//! The exact arithmetic: rows of weights widened into a slab, then dot products in f32.

use std::ops::Range;

use super::across::Across;
use super::widen::widen;
use super::{Layout, Part, Weights};
use crate::lanes::{Kernel, Lanes, dispatch, groups};
use crate::machine::Isa;

/// Numbers in a slab of widened weights: 128 KiB, so that it stays in the second-level cache.
const SLAB: usize = 32 * 1024;

/// The outputs `outputs` of a product, for all its rows.
pub(super) fn multiply(isa: Isa, of: &Part<'_>, x: &[f32], outputs: Range<usize>) {
    if let Some(across) = Across::new(of, x, outputs.clone()) {
        return dispatch(isa, across);
    }
    dispatch(isa, Slabs { of, x, outputs });
}

/// The part of a product that one thread computes: a range of the outputs, for all rows.
struct Slabs<'a> {
    of: &'a Part<'a>,
    x: &'a [f32],
    outputs: Range<usize>,
}

impl Kernel for Slabs<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let inputs = self.of.weights.inputs;
        let slab_rows = (SLAB / inputs.max(1)).clamp(4, 64).min(self.outputs.len());
        let in_place = self.of.weights.numbers().filter(|_| self.of.weights.layout == Layout::OutIn);
        let mut slab = vec![0.0; if in_place.is_some() { 0 } else { slab_rows * inputs }];
        let mut begin = self.outputs.start;
        while begin < self.outputs.end {
            let count = slab_rows.min(self.outputs.end - begin);
            let rows = match in_place {
                Some(weights) => &weights[begin * inputs..][..count * inputs],
                None => {
                    fill::<L>(&self.of.weights, begin, &mut slab[..count * inputs]);
                    &slab[..count * inputs]
                }
            };
            self.products::<L>(rows, begin, count);
            begin += count;
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

impl Slabs<'_> {
    #[inline(always)]
    fn products<L: Lanes>(&self, slab: &[f32], begin: usize, count: usize) {
        let mut row = 0;
        while row < self.of.rows {
            // As many sums as hide the wait of each for the one before it, and as few loads for each as registers allow.
            let step = match self.of.rows - row {
                1 => {
                    self.outputs_of::<L, 4, 1>(slab, begin, count, row);
                    1
                }
                2 if const { L::WIDE } => {
                    self.outputs_of::<L, 4, 2>(slab, begin, count, row);
                    2
                }
                2 => {
                    self.outputs_of::<L, 2, 2>(slab, begin, count, row);
                    2
                }
                left if const { L::WIDE } && left >= 6 => {
                    self.outputs_of::<L, 4, 6>(slab, begin, count, row);
                    6
                }
                _ => {
                    self.outputs_of::<L, 2, 3>(slab, begin, count, row);
                    3
                }
            };
            row += step;
        }
    }

    /// The outputs of `ROWS` rows of activations, `OUT` at a time.
    #[inline(always)]
    fn outputs_of<L: Lanes, const OUT: usize, const ROWS: usize>(
        &self,
        slab: &[f32],
        begin: usize,
        count: usize,
        row: usize,
    ) {
        let inputs = self.of.weights.inputs;
        let mut x: [&[f32]; ROWS] = [&[]; ROWS];
        for (r, x) in x.iter_mut().enumerate() {
            *x = &self.x[(row + r) * inputs..][..inputs];
        }
        let mut out = 0;
        while out < count {
            // At the end some outputs are computed again rather than fewer at a time: same bits. They are not written again,
            // since they may be added.
            let first = if out + OUT <= count { out } else { count.saturating_sub(OUT) };
            let mut w: [&[f32]; OUT] = [&[]; OUT];
            for (o, w) in w.iter_mut().enumerate() {
                *w = &slab[(first + o).min(count - 1) * inputs..][..inputs];
            }
            let sums = tile::<L, OUT, ROWS>(&w, &x);
            for (r, sums) in sums.iter().enumerate() {
                let at = (row + r) * self.of.weights.outputs + begin + out;
                let sums = &sums[out - first..OUT.min(count)];
                // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
                let y = unsafe { self.of.y.slice_mut(at, sums.len()) };
                match self.of.added {
                    Some(factor) => y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum.mul_add(factor, *y)),
                    None => y.copy_from_slice(sums),
                }
            }
            out += OUT;
        }
    }
}

/// `ROWS` times `OUT` dot products: lane `i` takes every sixteenth product from `i` on, then the lanes' sum.
#[inline(always)]
fn tile<L: Lanes, const OUT: usize, const ROWS: usize>(
    w: &[&[f32]; OUT],
    x: &[&[f32]; ROWS],
) -> [[f32; OUT]; ROWS] {
    let mut sums = [[L::splat(0.0); OUT]; ROWS];
    let (mut w_whole, mut w_rest) = ([groups(w[0]).0; OUT], [groups(w[0]).1; OUT]);
    for o in 0..OUT {
        (w_whole[o], w_rest[o]) = groups(w[o]);
    }
    let (mut x_whole, mut x_rest) = ([groups(x[0]).0; ROWS], [groups(x[0]).1; ROWS]);
    for r in 0..ROWS {
        (x_whole[r], x_rest[r]) = groups(x[r]);
    }
    let whole = x_whole[0].len();
    for w in &mut w_whole {
        *w = &w[..whole];
    }
    for x in &mut x_whole {
        *x = &x[..whole];
    }
    for k in 0..whole {
        for r in 0..ROWS {
            let x = L::load(&x_whole[r][k]);
            for o in 0..OUT {
                sums[r][o] = x.mul_add(L::load(&w_whole[o][k]), sums[r][o]);
            }
        }
    }
    if !x_rest[0].is_empty() {
        for o in 0..OUT {
            let w = L::load_part(w_rest[o]);
            for r in 0..ROWS {
                sums[r][o] = L::load_part(x_rest[r]).mul_add(w, sums[r][o]);
            }
        }
    }
    let mut totals = [[0.0; OUT]; ROWS];
    for r in 0..ROWS {
        totals[r] = L::sums(&sums[r]);
    }
    totals
}
