//! Sums of products in f32, added to what is there: `out[r][c] += first[r][t] * second[t][c]` over all terms `t`.
//!
//! One fused multiply-add for each term, in ascending order. Each sum is formed by one thread alone, so the bits
//! follow from the factors, however rows, columns and terms are shared out and laid out.

use std::ops::Range;

use crate::Machine;
use crate::lanes::{Kernel, LANES, Lanes, dispatch, groups};
use crate::matmul::{Weights, widen};
use crate::share::Shared;

/// Terms that are added before a sum goes back to memory.
const TERMS: usize = 128;
/// Columns of sums that are kept in registers together. One group of lanes and many rows: with two groups, their
/// second factors do not fit into sixteen registers beside twelve sums, and two sums are spilled at each term.
const STRIP: usize = LANES;
/// Columns whose second factors are laid out together: 256 KiB, half of a second-level cache.
const COLUMNS: usize = 512;
/// Rows whose first factors stay in the second-level cache from strip to strip.
const ROWS: usize = 192;

/// The first factors.
#[derive(Clone, Copy)]
pub enum First<'a> {
    /// `[rows][terms]`
    Rows(&'a [f32]),
    /// `[terms][rows]`
    Columns(&'a [f32]),
}

/// The second factors, one row for each term.
#[derive(Clone, Copy)]
pub(super) enum Second<'a> {
    /// Widened as they are needed.
    Weights(Weights<'a>),
    Rows(&'a [f32]),
}

/// All sums, `[rows][width]`.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    pub(super) first: First<'a>,
    pub(super) second: Second<'a>,
    pub(super) rows: usize,
    pub(super) terms: usize,
    pub(super) width: usize,
    pub(super) out: &'a Shared<'a, f32>,
}

impl Sums<'_> {
    /// Forms them, shared out by columns where the second factors have to be widened, or by the longer axis.
    pub(super) fn add(self, machine: &Machine) {
        let (all_rows, all_columns) = (0..self.rows, 0..self.width);
        let part = |rows, columns| dispatch(machine.isa(), Part { sums: self, rows, columns });
        match self.second {
            Second::Weights(weights) => {
                // One part for each thread: the more blocks of a row are widened together, the cheaper each.
                let share = self.width.div_ceil(machine.threads());
                let granule = share.next_multiple_of(weights.storage.block_len().max(STRIP));
                machine.split(self.width, granule, |columns| part(all_rows.clone(), columns));
            }
            Second::Rows(_) if self.rows < self.width => {
                machine.split(self.width, STRIP, |columns| part(all_rows.clone(), columns));
            }
            Second::Rows(_) => {
                machine.split(self.rows, 2 * LANES, |rows| part(rows, all_columns.clone()));
            }
        }
    }
}

/// The sums that one thread forms.
struct Part<'a> {
    sums: Sums<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        // As many sums as hide the wait of each for the one before it.
        if L::ROWS == 3 { self.blocks::<L, 6>() } else { self.blocks::<L, 12>() }
    }
}

impl<'a> Part<'a> {
    /// Goes through blocks of terms, columns and rows, `R` rows side by side.
    #[inline(always)]
    fn blocks<L: Lanes, const R: usize>(&self) {
        let mut slab = Slab::new();
        let mut gathered = Vec::new();
        for first in (0..self.sums.terms).step_by(TERMS) {
            let terms = first..(first + TERMS).min(self.sums.terms);
            let factors = self.factors(terms.clone(), &mut gathered);
            for begin in self.columns.clone().step_by(COLUMNS) {
                let columns = begin..(begin + COLUMNS).min(self.columns.end);
                slab.fill::<L>(&self.sums, terms.clone(), columns.clone());
                for row in self.rows.clone().step_by(ROWS) {
                    let rows = row..(row + ROWS).min(self.rows.end);
                    for (begin, strip) in columns.clone().step_by(STRIP).zip(slab.strips()) {
                        let strip = &strip[..terms.len()];
                        let columns = begin..(begin + STRIP).min(columns.end);
                        self.strip::<L, R>(&factors, strip, rows.clone(), columns);
                    }
                }
            }
        }
    }

    /// The first factors of some terms, turned if they lie in columns.
    #[inline(always)]
    fn factors<'f>(&self, terms: Range<usize>, gathered: &'f mut Vec<f32>) -> Factors<'f>
    where
        'a: 'f,
    {
        match self.sums.first {
            First::Rows(numbers) => {
                Factors { numbers, begin: terms.start, stride: self.sums.terms, first_row: 0 }
            }
            First::Columns(numbers) => {
                gathered.resize(self.rows.len() * TERMS, 0.0);
                for (place, term) in terms.enumerate() {
                    let column = &numbers[term * self.sums.rows..][self.rows.clone()];
                    for (row, number) in column.iter().enumerate() {
                        gathered[row * TERMS + place] = *number;
                    }
                }
                Factors { numbers: gathered, begin: 0, stride: TERMS, first_row: self.rows.start }
            }
        }
    }

    /// Adds some terms to some rows of a strip of columns, `R` rows at a time.
    #[inline(always)]
    fn strip<L: Lanes, const R: usize>(
        &self,
        factors: &Factors<'_>,
        strip: &[[f32; STRIP]],
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        for begin in rows.clone().step_by(R) {
            let count = R.min(rows.end - begin);
            let mut first: [&[f32]; R] = [&[]; R];
            for (r, first) in first.iter_mut().enumerate() {
                // Behind the last row it stands in again; nobody stores what comes of it.
                *first = factors.row(begin + r.min(count - 1), strip.len());
            }
            let mut sums = [[0.0; STRIP]; R];
            for (r, sums) in sums.iter_mut().enumerate().take(count) {
                let at = (begin + r) * self.sums.width + columns.start;
                // SAFETY: these sums belong to this thread's part, and no other slice of them is in use.
                copy::<L>(unsafe { self.sums.out.slice_mut(at, columns.len()) }, &mut sums[..columns.len()]);
            }
            add_terms::<L, R>(&first, strip, &mut sums);
            for (r, sums) in sums.iter().enumerate().take(count) {
                let at = (begin + r) * self.sums.width + columns.start;
                // SAFETY: as above.
                copy::<L>(&sums[..columns.len()], unsafe { self.sums.out.slice_mut(at, columns.len()) });
            }
        }
    }
}

/// Copies a strip; a whole one through registers, without a call.
#[inline(always)]
fn copy<L: Lanes>(from: &[f32], to: &mut [f32]) {
    match (<&[f32; STRIP]>::try_from(from), <&mut [f32; STRIP]>::try_from(&mut *to)) {
        (Ok(from), Ok(to)) => L::load(from).store(to),
        _ => to.copy_from_slice(from),
    }
}

/// Some terms of the first factors, row by row.
struct Factors<'a> {
    numbers: &'a [f32],
    begin: usize,
    stride: usize,
    first_row: usize,
}

impl Factors<'_> {
    #[inline(always)]
    fn row(&self, row: usize, terms: usize) -> &[f32] {
        &self.numbers[(row - self.first_row) * self.stride + self.begin..][..terms]
    }
}

/// Second factors of some terms and columns, strip by strip: `[COLUMNS / STRIP][TERMS][STRIP]`.
struct Slab {
    numbers: Vec<[f32; STRIP]>,
    row: [f32; COLUMNS],
}

impl Slab {
    fn new() -> Self {
        Slab { numbers: Vec::new(), row: [0.0; COLUMNS] }
    }

    fn strips(&self) -> impl Iterator<Item = &[[f32; STRIP]]> {
        self.numbers.chunks_exact(TERMS)
    }

    #[inline(always)]
    fn fill<L: Lanes>(&mut self, sums: &Sums<'_>, terms: Range<usize>, columns: Range<usize>) {
        self.numbers.resize(columns.len().div_ceil(STRIP) * TERMS, [0.0; STRIP]);
        for (place, term) in terms.enumerate() {
            let row = match sums.second {
                Second::Weights(weights) => {
                    let (len, size) = (weights.storage.block_len(), weights.storage.block_bytes());
                    let begin = (term * sums.width + columns.start) / len * size;
                    let row = &mut self.row[..columns.len()];
                    widen::<L>(weights.storage, &weights.bytes[begin..][..row.len() / len * size], row);
                    &*row
                }
                Second::Rows(numbers) => &numbers[term * sums.width..][columns.clone()],
            };
            for (strip, numbers) in row.chunks(STRIP).enumerate() {
                copy::<L>(numbers, &mut self.numbers[strip * TERMS + place][..numbers.len()]);
            }
        }
    }
}

/// `sums[r][c] += first[r][t] * strip[t][c]` for all terms.
#[inline(always)]
fn add_terms<L: Lanes, const R: usize>(
    first: &[&[f32]; R],
    strip: &[[f32; STRIP]],
    sums: &mut [[f32; STRIP]; R],
) {
    let mut lanes = [L::splat(0.0); R];
    for r in 0..R {
        lanes[r] = L::load(&sums[r]);
    }
    let mut rows = *first;
    for row in &mut rows {
        *row = &row[..strip.len()];
    }
    for (t, strip) in strip.iter().enumerate() {
        let numbers = L::load(strip);
        for r in 0..R {
            lanes[r] = numbers.mul_add(L::splat(rows[r][t]), lanes[r]);
        }
    }
    for r in 0..R {
        lanes[r].store(&mut sums[r]);
    }
}

/// The sum of products: lane `i` takes every sixteenth from `i` on.
#[inline(always)]
pub(super) fn dot<L: Lanes>(x: &[f32], y: &[f32]) -> f32 {
    let ((x, x_rest), (y, y_rest)) = (groups(x), groups(y));
    let mut sums = L::load_part(x_rest).mul(L::load_part(y_rest));
    for (x, y) in x.iter().zip(y) {
        sums = L::load(x).mul_add(L::load(y), sums);
    }
    sums.sum()
}
