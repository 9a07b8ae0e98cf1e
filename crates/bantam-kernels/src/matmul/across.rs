//! The exact arithmetic where the outputs of an input lie side by side and inputs are few: the second halves of low-rank
//! products.
//!
//! Sixteen outputs are formed together, one in each lane, so that no sum runs within a register. The bits are those of
//! `exact`, whose lane `i` is the sum `i` here.

use std::ops::Range;

use super::{Layout, Part};
use crate::lanes::{Kernel, LANES, Lanes};

/// Inputs up to which this is the faster way whatever the number of rows.
const INPUTS_MAX: usize = 64;

/// The part of a product that one thread computes: a range of the outputs, for all rows.
pub(super) struct Across<'a> {
    /// `[inputs][outputs]`
    numbers: &'a [f32],
    of: &'a Part<'a>,
    x: &'a [f32],
    outputs: Range<usize>,
}

impl<'a> Across<'a> {
    /// That part, if the product is of this kind.
    pub(super) fn new(of: &'a Part<'a>, x: &'a [f32], outputs: Range<usize>) -> Option<Self> {
        let fits = of.weights.layout == Layout::InOut && of.weights.inputs <= INPUTS_MAX;
        let numbers = of.weights.numbers().filter(|_| fits)?;
        Some(Across { numbers, of, x, outputs })
    }
}

impl Kernel for Across<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for begin in self.outputs.clone().step_by(LANES) {
            let count = LANES.min(self.outputs.end - begin);
            let mut row = 0;
            while row + 2 <= self.of.rows {
                self.outputs_of::<L, 2>(begin, count, row);
                row += 2;
            }
            if row < self.of.rows {
                self.outputs_of::<L, 1>(begin, count, row);
            }
        }
    }
}

impl Across<'_> {
    /// Up to sixteen outputs of `ROWS` rows.
    #[inline(always)]
    fn outputs_of<L: Lanes, const ROWS: usize>(&self, begin: usize, count: usize, row: usize) {
        let inputs = self.of.weights.inputs;
        let mut x: [&[f32]; ROWS] = [&[]; ROWS];
        for (r, x) in x.iter_mut().enumerate() {
            *x = &self.x[(row + r) * inputs..][..inputs];
        }
        // As many sums as there are inputs, up to sixteen; those that are left out would stay zero.
        let sums = match inputs {
            0..=4 => self.sums::<L, 4, ROWS>(begin, count, &x),
            5..=8 => self.sums::<L, 8, ROWS>(begin, count, &x),
            _ => self.sums::<L, LANES, ROWS>(begin, count, &x),
        };
        for (r, sum) in sums.into_iter().enumerate() {
            let at = (row + r) * self.of.weights.outputs + begin;
            // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
            let y = unsafe { self.of.y.slice_mut(at, count) };
            let sum = match self.of.added {
                Some(factor) => sum.mul_add(L::splat(factor), L::load_part(y)),
                None => sum,
            };
            let mut whole = [0.0; LANES];
            sum.store(&mut whole);
            y.copy_from_slice(&whole[..count]);
        }
    }

    #[inline(always)]
    fn sums<L: Lanes, const SUMS: usize, const ROWS: usize>(
        &self,
        begin: usize,
        count: usize,
        x: &[&[f32]; ROWS],
    ) -> [L; ROWS] {
        let mut sums = [[L::splat(0.0); SUMS]; ROWS];
        for first in (0..self.of.weights.inputs).step_by(SUMS) {
            for i in 0..SUMS {
                if first + i < self.of.weights.inputs {
                    let w = self.lanes::<L>(first + i, begin, count);
                    for r in 0..ROWS {
                        sums[r][i] = L::splat(x[r][first + i]).mul_add(w, sums[r][i]);
                    }
                }
            }
        }
        let mut totals = [L::splat(0.0); ROWS];
        for r in 0..ROWS {
            let mut width = SUMS / 2;
            while width > 0 {
                for i in 0..width {
                    sums[r][i] = sums[r][i].add(sums[r][i + width]);
                }
                width /= 2;
            }
            totals[r] = sums[r][0];
        }
        totals
    }

    /// The weights of an input for some outputs.
    #[inline(always)]
    fn lanes<L: Lanes>(&self, input: usize, begin: usize, count: usize) -> L {
        let from = &self.numbers[input * self.of.weights.outputs + begin..][..count];
        match from.first_chunk() {
            Some(whole) => L::load(whole),
            None => L::load_part(from),
        }
    }
}
