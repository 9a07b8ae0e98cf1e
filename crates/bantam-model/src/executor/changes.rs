//! What adapters add to the projections of a pass.
//!
//! `y += scale * B (A x)` in two steps: the first halves, `A x`, go with the products of the model's own matrices, which have
//! the same input; the second are added where those were written. So the threads wait for each other once more, and not
//! twice for each adapter.

use std::ops::Range;

use bantam_tensor::kernels::matmul::{Input, Product, multiply_all};

use super::{Executor, Rows};
use crate::Adapter;
use crate::adapter::LowRank;
use crate::names::Site;

/// The low-rank products of some projections of the same rows.
pub(super) struct Changes<'a> {
    /// Those that begin adapters before those that were learnt, within them one projection after the other, and within
    /// that in the order of rows.
    thin: Vec<Thin<'a>>,
    /// `A x` of one after the other, `[rows][rank]` each.
    between: Vec<f32>,
}

/// A low-rank product for some rows of a projection.
struct Thin<'a> {
    of: &'a LowRank,
    /// Whether it was learnt: those come last.
    is_learnt: bool,
    projection: usize,
    rows: Range<usize>,
}

impl Thin<'_> {
    fn between_len(&self) -> usize {
        self.rows.len() * self.of.rank()
    }
}

impl Changes<'_> {
    pub(super) fn none() -> Self {
        Changes { thin: Vec::new(), between: Vec::new() }
    }

    /// `A x` of all.
    pub(super) fn first_halves<'b>(&'b mut self, x: &'b Rows) -> impl Iterator<Item = Product<'b>> {
        let mut between = &mut self.between[..];
        self.thin.iter().map(move |thin| {
            let y = between.split_off_mut(..thin.between_len()).unwrap_or_default();
            let x = &x.data[thin.rows.start * x.width..thin.rows.end * x.width];
            Product { weights: thin.of.a.for_kernels(), input: Input::Exact(x), y, added: None }
        })
    }
}

impl<'a> Executor<'a> {
    /// What adapters change at the projections of `x`. Neighbouring spans of one adapter go together.
    pub(super) fn changes<const N: usize>(&mut self, x: &Rows, sites: [Site; N]) -> Changes<'a> {
        if self.batch.adapters.is_empty() {
            return Changes::none();
        }
        let runs = self.adapted_runs(x.data.len() / x.width);
        let mut thin = Vec::with_capacity(2 * N * runs.len());
        for is_learnt in [false, true] {
            for (projection, site) in sites.iter().enumerate() {
                thin.extend(runs.iter().filter_map(|(rows, adapter)| {
                    let of = if is_learnt { &adapter.sites } else { &adapter.start }.get(site)?;
                    Some(Thin { of, is_learnt, projection, rows: rows.clone() })
                }));
            }
        }
        let between = self.scratch.take(thin.iter().map(Thin::between_len).sum());
        Changes { thin, between }
    }

    /// Rows, of so many, that have an adapter.
    fn adapted_runs(&self, count: usize) -> Vec<(Range<usize>, &'a Adapter)> {
        let batch = self.batch;
        let runs = batch.spans.chunk_by(|one, next| one.adapter == next.adapter).filter_map(|run| {
            let adapter = &*batch.adapters[run[0].adapter?];
            let rows = run[0].rows.start..run[run.len() - 1].rows.end;
            // Behind the layers only the wanted rows are left.
            let wanted = batch.wanted_before(rows.start)..batch.wanted_before(rows.end);
            Some((if count == batch.tokens.len() { rows } else { wanted }, adapter))
        });
        runs.collect()
    }

    /// Adds `scale * B (A x)` to the projections, and gives the rows of adapters with lengths those.
    pub(super) fn add_changes<const N: usize>(&mut self, changes: Changes<'_>, all: &mut [Rows; N]) {
        let mut between = &changes.between[..];
        for alike in changes.thin.chunk_by(|one, next| one.is_learnt == next.is_learnt) {
            let mut left =
                all.each_mut().map(|y| RowsLeft { width: y.width, first: 0, numbers: &mut y.data });
            let products = alike.iter().map(|thin| {
                let x = between.split_off(..thin.between_len()).unwrap_or_default();
                let y = left[thin.projection].take(&thin.rows);
                Product {
                    weights: thin.of.b.for_kernels(),
                    input: Input::Exact(x),
                    y,
                    added: Some(thin.of.scale),
                }
            });
            let products: Vec<_> = products.collect();
            let work: usize = alike.iter().map(|thin| thin.between_len() * thin.of.b.outputs).sum();
            multiply_all(if work < SMALL_WORK { &self.alone } else { self.machine }, products);
            for Thin { of, projection, rows, .. } in alike {
                if let Some(magnitude) = &of.magnitude {
                    let y = &mut all[*projection];
                    magnitude.apply(&mut y.data[rows.start * y.width..rows.end * y.width]);
                }
            }
        }
        if !changes.thin.is_empty() {
            self.scratch.free.push(changes.between);
        }
    }
}

/// Rows from some row on.
struct RowsLeft<'a> {
    width: usize,
    first: usize,
    numbers: &'a mut [f32],
}

impl<'a> RowsLeft<'a> {
    /// Some of them; those before are left out.
    fn take(&mut self, rows: &Range<usize>) -> &'a mut [f32] {
        let before = (rows.start - self.first) * self.width;
        let count = rows.len() * self.width;
        self.first = rows.end;
        let from = self.numbers.split_off_mut(before..).unwrap_or_default();
        let (taken, rest) = from.split_at_mut(count);
        self.numbers = rest;
        taken
    }
}

/// Multiplications that one thread does in about the time that another takes to come.
const SMALL_WORK: usize = 1 << 15;
