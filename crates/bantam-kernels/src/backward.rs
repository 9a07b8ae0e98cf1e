//! Derivatives of products with respect to the activations and to the weights.
//!
//! Both add to what is there, in f32: `out[r][c] += a[r][t] * b[t][c]`, one fused multiply-add for each
//! term `t` in ascending order. Each sum is formed by one thread alone, so the bits follow from the shapes,
//! whatever the number of threads.

use std::ops::Range;

use crate::Machine;
use crate::elementwise::add_scaled;
use crate::lanes::{Kernel, LANES, Lanes, dispatch};
use crate::matmul::{Input, Layout, Weights, multiply, widen};
use crate::share::Shared;

/// Terms that are added before a sum goes back to memory.
const TERMS: usize = 64;
/// Rows and columns of sums that are kept in registers together.
const ROWS: usize = 3;
const STRIP: usize = 2 * LANES;
/// Columns whose second factors are laid out together: 136 KiB, so that they stay in the second-level cache.
const COLUMNS: usize = 512;

/// Adds to the derivative by the activations, `dx[m][k] += sum over n of dy[m][n] * w[n][k]`.
///
/// * `weights`: any storage and layout, widened exactly and block by block
/// * `dy`: `[rows][weights.outputs]`
/// * `dx`: `[rows][weights.inputs]`
///
/// Weights of [`Layout::InOut`] lie as dot products want them: there the sum is the one of
/// [`Input::Exact`] and is added to `dx` at the end.
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn multiply_backward_input(machine: &Machine, weights: Weights<'_>, dy: &[f32], dx: &mut [f32]) {
    weights.check();
    let Weights { inputs, outputs, .. } = weights;
    let rows = dx.len() / inputs.max(1);
    assert!(
        dx.len() == rows * inputs && (inputs == 0 || dy.len() == rows * outputs),
        "rows of another width"
    );
    if dx.is_empty() || outputs == 0 {
        return;
    }
    if weights.layout == Layout::InOut {
        let across = Weights { layout: Layout::OutIn, outputs: inputs, inputs: outputs, ..weights };
        let mut sums = vec![0.0; dx.len()];
        multiply(machine, across, Input::Exact(dy), &mut sums);
        return add_scaled(machine, dx, &sums, 1.0);
    }
    let first = First { numbers: dy, row: outputs, term: 1 };
    let sums = Sums { first, second: Second::Weights(weights), terms: outputs, out: &Shared::new(dx) };
    let granule = weights.storage.block_len().max(STRIP);
    machine.split(inputs, granule, |columns| {
        dispatch(machine.isa(), Part { sums, rows: 0..rows, columns });
    });
}

/// Adds to the derivative by the weights, `dw[n][k] += sum over m of dy[m][n] * x[m][k]`.
///
/// * `x`: `[rows][inputs]`
/// * `dy`: `[rows][outputs]`
/// * `dw`: `[outputs][inputs]` for [`Layout::OutIn`], `[inputs][outputs]` for [`Layout::InOut`]
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn multiply_backward_weights(
    machine: &Machine,
    layout: Layout,
    inputs: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    assert_eq!(Some(dw.len()), inputs.checked_mul(outputs), "a derivative for each weight");
    if dw.is_empty() {
        return;
    }
    let terms = x.len() / inputs;
    assert!(x.len() == terms * inputs && dy.len() == terms * outputs, "rows of another width");
    let (a, rows, b, width) = match layout {
        Layout::OutIn => (dy, outputs, x, inputs),
        Layout::InOut => (x, inputs, dy, outputs),
    };
    let first = First { numbers: a, row: 1, term: rows };
    let sums = Sums { first, second: Second::Rows { numbers: b, width }, terms, out: &Shared::new(dw) };
    machine.split(rows, ROWS, |rows| {
        dispatch(machine.isa(), Part { sums, rows, columns: 0..width });
    });
}

/// The first factors: the one of row `r` and term `t` is `numbers[r * row + t * term]`.
#[derive(Clone, Copy)]
struct First<'a> {
    numbers: &'a [f32],
    row: usize,
    term: usize,
}

/// The second factors, one row for each term.
#[derive(Clone, Copy)]
enum Second<'a> {
    /// Widened as they are needed.
    Weights(Weights<'a>),
    Rows {
        numbers: &'a [f32],
        width: usize,
    },
}

/// All sums.
#[derive(Clone, Copy)]
struct Sums<'a> {
    first: First<'a>,
    second: Second<'a>,
    terms: usize,
    out: &'a Shared<'a, f32>,
}

/// The sums that one thread forms.
struct Part<'a> {
    sums: Sums<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Second<'_> {
    fn width(self) -> usize {
        match self {
            Second::Weights(weights) => weights.inputs,
            Second::Rows { width, .. } => width,
        }
    }

    /// Writes the given columns of one term's row.
    #[inline(always)]
    fn row<L: Lanes>(self, term: usize, columns: Range<usize>, out: &mut [f32]) {
        match self {
            Second::Weights(Weights { storage, inputs, bytes, .. }) => {
                let (len, size) = (storage.block_len(), storage.block_bytes());
                let begin = (term * inputs + columns.start) / len * size;
                widen::<L>(storage, &bytes[begin..][..columns.len() / len * size], out);
            }
            Second::Rows { numbers, width } => {
                out.copy_from_slice(&numbers[term * width..][columns]);
            }
        }
    }
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let mut factors = vec![[0.0; ROWS]; self.rows.len().div_ceil(ROWS) * TERMS];
        let mut slab = vec![[0.0; STRIP]; COLUMNS / STRIP * TERMS];
        let mut row = [0.0; COLUMNS];
        for first in (0..self.sums.terms).step_by(TERMS) {
            let terms = first..(first + TERMS).min(self.sums.terms);
            self.gather(terms.clone(), &mut factors);
            for begin in self.columns.clone().step_by(COLUMNS) {
                let columns = begin..(begin + COLUMNS).min(self.columns.end);
                for (place, term) in terms.clone().enumerate() {
                    self.sums.second.row::<L>(term, columns.clone(), &mut row[..columns.len()]);
                    for (strip, numbers) in row[..columns.len()].chunks(STRIP).enumerate() {
                        slab[strip * TERMS + place][..numbers.len()].copy_from_slice(numbers);
                    }
                }
                for (begin, strip) in columns.clone().step_by(STRIP).zip(slab.chunks_exact(TERMS)) {
                    let strip_columns = begin..(begin + STRIP).min(columns.end);
                    self.strip::<L>(&factors, &strip[..terms.len()], strip_columns);
                }
            }
        }
    }
}

impl Part<'_> {
    /// Lays out the first factors of some terms: `[rows / ROWS][TERMS][ROWS]`.
    #[inline(always)]
    fn gather(&self, terms: Range<usize>, factors: &mut [[f32; ROWS]]) {
        let First { numbers, row: per_row, term: per_term } = self.sums.first;
        for (i, row) in self.rows.clone().enumerate() {
            let places = &mut factors[i / ROWS * TERMS..][..TERMS];
            for (place, term) in places.iter_mut().zip(terms.clone()) {
                place[i % ROWS] = numbers[row * per_row + term * per_term];
            }
        }
    }

    /// Adds some terms to all rows of a strip of columns.
    #[inline(always)]
    fn strip<L: Lanes>(&self, factors: &[[f32; ROWS]], strip: &[[f32; STRIP]], columns: Range<usize>) {
        let width = self.sums.second.width();
        for (begin, factors) in self.rows.clone().step_by(ROWS).zip(factors.chunks_exact(TERMS)) {
            let mut sums = [[0.0; STRIP]; ROWS];
            let rows = ROWS.min(self.rows.end - begin);
            for (r, sums) in sums.iter_mut().enumerate().take(rows) {
                let at = (begin + r) * width + columns.start;
                // SAFETY: these sums belong to this thread's part, and no other slice of them is in use.
                let out = unsafe { self.sums.out.slice_mut(at, columns.len()) };
                sums[..out.len()].copy_from_slice(out);
            }
            add_terms::<L>(factors, strip, &mut sums);
            for (r, sums) in sums.iter().enumerate().take(rows) {
                let at = (begin + r) * width + columns.start;
                // SAFETY: as above.
                let out = unsafe { self.sums.out.slice_mut(at, columns.len()) };
                out.copy_from_slice(&sums[..out.len()]);
            }
        }
    }
}

/// `sums[r][c] += factors[t][r] * strip[t][c]` for all terms.
#[inline(always)]
fn add_terms<L: Lanes>(factors: &[[f32; ROWS]], strip: &[[f32; STRIP]], sums: &mut [[f32; STRIP]; ROWS]) {
    let mut lanes = [[L::splat(0.0); STRIP / LANES]; ROWS];
    for (lanes, sums) in lanes.iter_mut().zip(sums.iter()) {
        for (lanes, sums) in lanes.iter_mut().zip(sums.as_chunks::<LANES>().0) {
            *lanes = L::load(sums);
        }
    }
    for (factors, strip) in factors.iter().zip(strip) {
        for (group, numbers) in strip.as_chunks::<LANES>().0.iter().enumerate() {
            let numbers = L::load(numbers);
            for r in 0..ROWS {
                lanes[r][group] = numbers.mul_add(L::splat(factors[r]), lanes[r][group]);
            }
        }
    }
    for (lanes, sums) in lanes.iter().zip(sums.iter_mut()) {
        for (lanes, sums) in lanes.iter().zip(sums.as_chunks_mut::<LANES>().0) {
            lanes.store(sums);
        }
    }
}
