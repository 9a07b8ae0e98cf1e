//! Few rows of activations: codes straight out of their blocks, each block taken apart once for all rows.

use bytemuck::Zeroable;

use super::codes::Row;
use super::integer::{Part, add_unit, code_sum, each_lane};
use super::slab::{column_of, prefetch_ahead, rows_of};
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Kernel, LANES, Lanes, RUN};

/// A part of a product whose rows may be few; gives whether they were, and are done.
pub(super) struct FewRows<'a>(pub(super) &'a Part<'a>);

impl Kernel for FewRows<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        struct WithLanes<'a, L>(&'a Part<'a>, std::marker::PhantomData<L>);
        impl<L: Lanes> OverBlock for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<B: Block>(self) {
                match self.0.x.rows() {
                    1 => self.0.few_rows::<L, B, 1>(),
                    2 => self.0.few_rows::<L, B, 2>(),
                    3 => self.0.few_rows::<L, B, 3>(),
                    _ => self.0.few_rows::<L, B, 4>(),
                }
            }
        }
        // The condition is known before code is made, so that others need not have the code.
        if const { L::ROWS_OF_BLOCKS > 0 } && (1..=L::ROWS_OF_BLOCKS).contains(&self.0.x.rows()) {
            with_block(self.0.weights.storage, WithLanes::<L>(self.0, std::marker::PhantomData));
            return true;
        }
        false
    }
}

impl Part<'_> {
    /// `N` rows of activations, each block taken apart once for all of them.
    #[inline(always)]
    fn few_rows<L: Lanes, B: Block, const N: usize>(&self) {
        let mut x = [self.x.row(0); N];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.x.row(r);
        }
        let mut output = self.outputs.start;
        while output < self.outputs.end {
            let rows = rows_of::<B>(&self.weights, output);
            let mut sums = [L::splat(0.0); N];
            for index in 0..self.weights.inputs / B::LEN {
                sums = self.add_column::<L, B, N>(&column_of::<B>(&rows, index), (output, index), &x, sums);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                self.store(r, output, sums);
            }
            output += LANES;
        }
    }

    /// Adds the products with block `index` of the sixteen rows from `output` on to the sums of `N` rows of activations.
    #[inline(always)]
    fn add_column<L: Lanes, B: Block, const N: usize>(
        &self,
        blocks: &[&B::Bytes; LANES],
        (output, index): (usize, usize),
        x: &[Row<'_>; N],
        mut sums: [L; N],
    ) -> [L; N] {
        let (mut scales, mut minima) = (B::Scales::zeroed(), B::Scales::zeroed());
        B::scales::<L>(blocks, &mut scales, &mut minima);
        let scales: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&scales));
        let minima: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&minima));
        for run in 0..B::LEN / RUN {
            prefetch_ahead::<L, B>(&self.weights, output, index, run);
            let group = index * (B::LEN / RUN) + run;
            // For one row of activations codes need not leave the registers.
            let codes = if N > 1 {
                each_lane!(|lane| L::codes_of(B::codes::<L>(blocks[lane], run)))
            } else {
                [L::codes_of(B::codes::<L>(blocks[0], run)); LANES]
            };
            for r in 0..N {
                let of_x = L::codes_load(&x[r].codes.as_chunks().0[group]);
                let products = if N > 1 {
                    each_lane!(|lane| L::products(codes[lane], of_x))
                } else {
                    each_lane!(|lane| L::products(L::codes_of(B::codes::<L>(blocks[lane], run)), of_x))
                };
                let ints = if B::UNIT == RUN {
                    [L::products_sum(&products); 2]
                } else {
                    L::products_sum_halves(&products)
                };
                for (half, ints) in ints.into_iter().take(RUN / B::UNIT).enumerate() {
                    let unit = run * (RUN / B::UNIT) + half;
                    let (scales, minima) = (L::load(&scales[unit]), L::load(&minima[unit]));
                    let code_sum = code_sum::<B::Unit>(&x[r], group * (RUN / B::UNIT) + half);
                    sums[r] =
                        add_unit::<L, B::Unit>(sums[r], ints, scales, minima, x[r].scales[group], code_sum);
                }
            }
        }
        sums
    }
}
