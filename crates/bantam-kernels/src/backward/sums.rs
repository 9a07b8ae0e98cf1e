//! Sums of products in f32, added to what is there: `out[r][c] += first[r][t] * second[t][c]` over all terms `t`.
//!
//! One fused multiply-add for each term, in ascending order, or one instruction for each two terms of BF16. Each sum is
//! formed by one thread alone, so the bits follow from the factors, however rows, columns and terms are shared out and laid out.

use std::ops::Range;

use half::bf16;

use super::Precision;
use crate::Machine;
use crate::lanes::{
    Bf16Kernel, Bf16Lanes, Kernel, LANES, Lanes, dispatch, dispatch_bf16, groups, groups_mut,
};
use crate::matmul::{Weights, widen};
use crate::share::Shared;

/// Factors of a row that are multiplied before a sum goes back to memory.
const DEPTH: usize = 128;
/// Columns of a strip: one group of lanes.
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
    pub(super) precision: Precision,
    pub(super) out: &'a Shared<'a, f32>,
}

impl Sums<'_> {
    /// Forms them, shared out by columns where the second factors have to be widened, or by the longer axis.
    pub(super) fn add(self, machine: &Machine) {
        let (all_rows, all_columns) = (0..self.rows, 0..self.width);
        let part = |rows, columns| {
            let part = Part { sums: self, rows, columns };
            match self.precision {
                Precision::Bf16 => dispatch_bf16(machine.isa(), part),
                Precision::Single => dispatch(machine.isa(), part),
            }
        };
        match self.second {
            Second::Weights(weights) => {
                // One part for each thread: the more blocks of a row are widened together, the cheaper each.
                let share = self.width.div_ceil(machine.threads());
                let granule = share.next_multiple_of(weights.storage.block_len().max(STRIP));
                machine.split(self.width, granule, |columns| part(all_rows.clone(), columns));
            }
            // Every part lays out the factors of the other axis anew: few of them, and large.
            Second::Rows(_) if self.rows < self.width => {
                let granule = self.width.div_ceil(4 * machine.threads()).next_multiple_of(2 * STRIP);
                machine.split(self.width, granule, |columns| part(all_rows.clone(), columns));
            }
            Second::Rows(_) => {
                let granule = self.rows.div_ceil(4 * machine.threads()).next_multiple_of(2 * LANES);
                machine.split(self.rows, granule, |rows| part(rows, all_columns.clone()));
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
        // As many sums as hide the wait of each for the one before it and leave registers for the factors. Two strips share what
        // is loaded of a row; in pairs of registers they do not fit.
        if L::WIDE { self.blocks::<L, Single, 8, 2>() } else { self.blocks::<L, Single, 6, 1>() }
    }
}

impl Bf16Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Bf16Lanes>(self) {
        self.blocks::<L, Pairs, 8, 2>();
    }
}

/// How factors are held and multiplied.
trait Form<L: Lanes> {
    /// Those of [`Form::TERMS`] terms.
    type Factors: Copy + Default;
    const TERMS: usize;

    /// Factors of sixteen columns, or rows; what is behind the last term is zero.
    fn hold(terms: [L; 2], to: &mut [Self::Factors; LANES]);
    /// The same of one row.
    fn of(terms: [f32; 2]) -> Self::Factors;
    fn add(sums: L, seconds: &[Self::Factors; STRIP], first: Self::Factors) -> L;
}

/// One term in f32.
struct Single;

impl<L: Lanes> Form<L> for Single {
    type Factors = f32;
    const TERMS: usize = 1;
    #[inline(always)]
    fn hold([term, _]: [L; 2], to: &mut [f32; LANES]) {
        term.store(to);
    }
    #[inline(always)]
    fn of([term, _]: [f32; 2]) -> f32 {
        term
    }
    #[inline(always)]
    fn add(sums: L, seconds: &[f32; STRIP], first: f32) -> L {
        L::load(seconds).mul_add(L::splat(first), sums)
    }
}

/// Two terms in BF16.
struct Pairs;

impl<L: Bf16Lanes> Form<L> for Pairs {
    type Factors = u32;
    const TERMS: usize = 2;
    #[inline(always)]
    fn hold([first, second]: [L; 2], to: &mut [u32; LANES]) {
        L::pairs_of(first, second, to);
    }
    #[inline(always)]
    fn of(terms: [f32; 2]) -> u32 {
        let (first, second) = (bf16::from_f32(terms[0]).to_bits(), bf16::from_f32(terms[1]).to_bits());
        u32::from(first) | u32::from(second) << 16
    }
    #[inline(always)]
    fn add(sums: L, seconds: &[u32; STRIP], first: u32) -> L {
        sums.add_products(seconds, first)
    }
}

impl Part<'_> {
    /// Goes through blocks of terms, columns and rows, `R` rows and `S` strips side by side.
    #[inline(always)]
    fn blocks<L: Lanes, F: Form<L>, const R: usize, const S: usize>(&self) {
        let (mut slab, mut held) = (Slab::<F::Factors>::new(), Vec::new());
        for first in (0..self.sums.terms).step_by(DEPTH * F::TERMS) {
            let terms = first..(first + DEPTH * F::TERMS).min(self.sums.terms);
            let depth = terms.len().div_ceil(F::TERMS);
            self.hold_first::<L, F, R>(terms.clone(), &mut held);
            for begin in self.columns.clone().step_by(COLUMNS) {
                let columns = begin..(begin + COLUMNS).min(self.columns.end);
                slab.fill::<L, F>(&self.sums, terms.clone(), columns.clone());
                for row in self.rows.clone().step_by(ROWS) {
                    let rows = row..(row + ROWS).min(self.rows.end);
                    let held = &held[row - self.rows.start..];
                    let mut strips = slab.strips();
                    let mut begin = columns.start;
                    while begin + S * STRIP <= columns.end {
                        let (these, rest) = strips.split_at(S * DEPTH);
                        self.strips::<L, F, R, S>(held, these, depth, rows.clone(), begin..begin + S * STRIP);
                        (strips, begin) = (rest, begin + S * STRIP);
                    }
                    while begin < columns.end {
                        let (this, rest) = strips.split_at(DEPTH);
                        let end = (begin + STRIP).min(columns.end);
                        self.strips::<L, F, R, 1>(held, this, depth, rows.clone(), begin..end);
                        (strips, begin) = (rest, end);
                    }
                }
            }
        }
    }

    /// The first factors of some terms of this part's rows, and of as many rows of no meaning behind them that `R` at a time
    /// can be taken from any of them.
    #[inline(always)]
    fn hold_first<L: Lanes, F: Form<L>, const R: usize>(
        &self,
        terms: Range<usize>,
        held: &mut Vec<[F::Factors; DEPTH]>,
    ) {
        held.resize(self.rows.len() + R, [F::Factors::default(); DEPTH]);
        match self.sums.first {
            First::Rows(numbers) => {
                for (row, held) in self.rows.clone().zip(held) {
                    let numbers = &numbers[row * self.sums.terms..][terms.clone()];
                    for (numbers, held) in numbers.chunks(F::TERMS).zip(held) {
                        *held = F::of([numbers[0], numbers.get(1).copied().unwrap_or_default()]);
                    }
                }
            }
            First::Columns(numbers) => {
                for (place, term) in terms.clone().step_by(F::TERMS).enumerate() {
                    let column = |term: usize| &numbers[term * self.sums.rows..][self.rows.clone()];
                    let (first, second) = (column(term), column((term + 1).min(terms.end - 1)));
                    let has_second = F::TERMS == 2 && term + 1 < terms.end;
                    for ((first, second), held) in first.iter().zip(second).zip(&mut *held) {
                        held[place] = F::of([*first, if has_second { *second } else { 0.0 }]);
                    }
                }
            }
        }
    }

    /// Adds some terms to some rows of `S` strips of columns, `R` rows at a time.
    #[inline(always)]
    fn strips<L: Lanes, F: Form<L>, const R: usize, const S: usize>(
        &self,
        held: &[[F::Factors; DEPTH]],
        strips: &[[F::Factors; STRIP]],
        depth: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        for begin in rows.clone().step_by(R) {
            let count = R.min(rows.end - begin);
            let Some(first) = held[begin - rows.start..].first_chunk::<R>() else { return };
            let mut sums = [[[0.0; STRIP]; S]; R];
            for (r, sums) in sums.iter_mut().enumerate().take(count) {
                let sums = &mut sums.as_flattened_mut()[..columns.len()];
                let at = (begin + r) * self.sums.width + columns.start;
                // SAFETY: these sums belong to this thread's part, and no other slice of them is in use.
                copy::<L>(unsafe { self.sums.out.slice_mut(at, columns.len()) }, sums);
            }
            add_terms::<L, F, R, S>(first, strips, depth, &mut sums);
            for (r, sums) in sums.iter().enumerate().take(count) {
                let sums = &sums.as_flattened()[..columns.len()];
                let at = (begin + r) * self.sums.width + columns.start;
                // SAFETY: as above.
                copy::<L>(sums, unsafe { self.sums.out.slice_mut(at, columns.len()) });
            }
        }
    }
}

/// Copies columns; whole strips through registers, without a call.
#[inline(always)]
fn copy<L: Lanes>(from: &[f32], to: &mut [f32]) {
    let ((from, from_rest), (to, to_rest)) = (groups(from), groups_mut(to));
    for (from, to) in from.iter().zip(to) {
        L::load(from).store(to);
    }
    if !from_rest.is_empty() {
        to_rest.copy_from_slice(from_rest);
    }
}

/// Second factors of some terms and columns, strip by strip: `[COLUMNS / STRIP][DEPTH][STRIP]`.
struct Slab<N> {
    factors: Vec<[N; STRIP]>,
    rows: [[f32; COLUMNS]; 2],
}

impl<N: Copy + Default> Slab<N> {
    fn new() -> Self {
        Slab { factors: Vec::new(), rows: [[0.0; COLUMNS]; 2] }
    }

    fn strips(&self) -> &[[N; STRIP]] {
        &self.factors
    }

    #[inline(always)]
    fn fill<L: Lanes, F: Form<L, Factors = N>>(
        &mut self,
        sums: &Sums<'_>,
        terms: Range<usize>,
        columns: Range<usize>,
    ) {
        let strips = columns.len().div_ceil(STRIP);
        self.factors.resize(strips * DEPTH, [N::default(); STRIP]);
        let Slab { factors, rows } = self;
        for (place, term) in terms.clone().step_by(F::TERMS).enumerate() {
            let mut both: [&[f32]; 2] = [&[]; 2];
            for ((row, term), both) in
                rows.iter_mut().zip(term..terms.end.min(term + F::TERMS)).zip(&mut both)
            {
                *both = match sums.second {
                    Second::Rows(numbers) => &numbers[term * sums.width..][columns.clone()],
                    Second::Weights(weights) => {
                        let (len, size) = (weights.storage.block_len(), weights.storage.block_bytes());
                        let bytes = &weights.bytes[(term * sums.width + columns.start) / len * size..];
                        let row = &mut row[..columns.len()];
                        widen::<L>(weights.storage, &bytes[..row.len() / len * size], row);
                        row
                    }
                };
            }
            for strip in 0..strips {
                let hold = [part::<L>(both[0], strip), part::<L>(both[1], strip)];
                F::hold(hold, &mut factors[strip * DEPTH + place]);
            }
        }
    }
}

/// A strip of a row; zero behind its end.
#[inline(always)]
fn part<L: Lanes>(row: &[f32], strip: usize) -> L {
    let (whole, rest) = groups(row);
    match whole.get(strip) {
        Some(group) => L::load(group),
        None if strip == whole.len() => L::load_part(rest),
        None => L::splat(0.0),
    }
}

/// `sums[r][s][c] += first[r][t] * strips[s][t][c]` for all terms.
#[inline(always)]
fn add_terms<L: Lanes, F: Form<L>, const R: usize, const S: usize>(
    first: &[[F::Factors; DEPTH]; R],
    strips: &[[F::Factors; STRIP]],
    depth: usize,
    sums: &mut [[[f32; STRIP]; S]; R],
) {
    let mut lanes = [[L::splat(0.0); S]; R];
    for r in 0..R {
        for s in 0..S {
            lanes[r][s] = L::load(&sums[r][s]);
        }
    }
    let strips = &strips[..S * DEPTH];
    for t in 0..depth.min(DEPTH) {
        for r in 0..R {
            for s in 0..S {
                lanes[r][s] = F::add(lanes[r][s], &strips[s * DEPTH + t], first[r][t]);
            }
        }
    }
    for r in 0..R {
        for s in 0..S {
            lanes[r][s].store(&mut sums[r][s]);
        }
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
