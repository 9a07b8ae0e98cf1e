//! Many rows of activations: panels of codes in pairs, each slab of them for all rows.

use std::marker::PhantomData;

use super::codes::{GROUP, Row};
use super::integer::{Part, add_unit, code_sum};
use super::slab::{Panel, WORD, Workspace};
use crate::blocks::{OverUnit, Unit, with_unit};
use crate::lanes::{Kernel, LANES, Lanes, dispatch};

/// A part of a product.
pub(super) struct ManyRows<'a>(pub(super) &'a Part<'a>);

impl ManyRows<'_> {
    pub(super) fn run(&self) {
        Workspace::slabs::<WORD>(self.0, |panels, output, _| {
            dispatch(self.0.isa, Slab { part: self.0, panels, output });
        });
    }
}

/// The outputs of a slab of panels from `output` on, for all rows.
struct Slab<'a> {
    part: &'a Part<'a>,
    panels: &'a [Panel],
    output: usize,
}

impl Kernel for Slab<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        struct WithLanes<'a, L>(Slab<'a>, PhantomData<L>);
        impl<L: Lanes> OverUnit for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(self) {
                self.0.all_rows::<L, U>();
            }
        }
        with_unit(self.part.weights.storage, WithLanes::<L>(self, PhantomData));
    }
}

impl Slab<'_> {
    #[inline(always)]
    fn all_rows<L: Lanes, U: Unit>(&self) {
        let rows = self.part.x.rows();
        let mut row = 0;
        while row < rows {
            // Two and two cost less than three and one, which loads as much for its one.
            let step = match rows - row {
                4 => 2,
                left if left < L::ROWS => left.min(3),
                _ => L::ROWS,
            };
            for (i, panel) in self.panels.iter().enumerate() {
                let output = self.output + i * LANES;
                match step {
                    1 => self.rows_of_panel::<L, U, 1>(panel, row, output),
                    2 => self.rows_of_panel::<L, U, 2>(panel, row, output),
                    6 if const { L::ROWS == 6 } => self.rows_of_panel::<L, U, 6>(panel, row, output),
                    _ => self.rows_of_panel::<L, U, 3>(panel, row, output),
                }
            }
            row += step;
        }
    }

    #[inline(always)]
    fn rows_of_panel<L: Lanes, U: Unit, const N: usize>(&self, panel: &Panel, row: usize, output: usize) {
        let mut x = [self.part.x.row(row); N];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.part.x.row(row + r);
        }
        let sums =
            if U::LEN == 16 { panel.multiply::<L, U, N, 8>(&x) } else { panel.multiply::<L, U, N, 16>(&x) };
        for (r, sums) in sums.into_iter().enumerate() {
            self.part.store(row + r, output, sums);
        }
    }
}

impl Panel {
    /// `PAIRS` is half of a unit.
    #[inline(always)]
    fn multiply<L: Lanes, U: Unit, const N: usize, const PAIRS: usize>(&self, x: &[Row<'_>; N]) -> [L; N] {
        let mut sums = [L::splat(0.0); N];
        let mut x_pairs: [&[[[i16; 2]; PAIRS]]; N] = [&[]; N];
        for (pairs, x) in x_pairs.iter_mut().zip(x) {
            *pairs = x.codes.as_chunks::<2>().0.as_chunks::<PAIRS>().0;
        }
        let zero = [0.0; LANES];
        for (unit, pairs) in self.pairs.as_chunks::<PAIRS>().0.iter().enumerate() {
            let mut ints = [L::ints_zero(); N];
            let mut x_unit = [&x_pairs[0][unit]; N];
            for (x_unit, x) in x_unit.iter_mut().zip(&x_pairs) {
                *x_unit = &x[unit];
            }
            for k in 0..PAIRS {
                for r in 0..N {
                    ints[r] = L::ints_add_pairs(ints[r], &pairs[k], &x_unit[r][k]);
                }
            }
            let scales = L::load(&self.scales[unit]);
            let minima = L::load(if U::MINIMA { &self.minima[unit] } else { &zero });
            for r in 0..N {
                let scale = x[r].scales[unit * 2 * PAIRS / GROUP];
                sums[r] =
                    add_unit::<L, U>(sums[r], ints[r], scales, minima, scale, code_sum::<U>(&x[r], unit));
            }
        }
        sums
    }
}
