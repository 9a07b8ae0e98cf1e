//! Sums of products in f32, added to what is there: `out[r][c] += first[r][t] * second[t][c]` over all terms `t`.
//!
//! One fused multiply-add for each term, in ascending order, or one instruction for each two terms of BF16, or one for
//! each 32 of them ([`super::tiled`]). Each sum is formed by one thread alone, so the bits follow from the factors, however rows, columns and terms are shared out and laid out.

use std::cell::RefCell;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::Precision;
use super::tiled::InTiles;
use crate::lanes::{
    Bf16Kernel, Bf16Lanes, Kernel, LANES, Lanes, dispatch, dispatch_bf16, groups, groups_mut,
};
use crate::matmul::{Weights, widen};
use crate::share::Shared;
use crate::tiles::{AmxBf16, Bf16Tiles};
use crate::{Isa, Machine};

/// Factors of a row that are multiplied before a sum goes back to memory.
pub(super) const DEPTH: usize = 128;
/// Columns of a strip: one group of lanes.
pub(super) const STRIP: usize = LANES;
/// Columns whose second factors are laid out together: 256 KiB, half of a second-level cache.
const COLUMNS: usize = 512;
/// Rows whose first factors are laid out together, and stay in the second-level cache from strip to strip; a multiple of
/// those side by side.
pub(super) const ROWS: usize = 192;

/// The first factors.
#[derive(Clone, Copy)]
pub enum First<'a> {
    /// `[rows][terms]`
    Rows(&'a [f32]),
    /// `[terms][rows]`
    Columns(&'a [f32]),
}

/// The second factors.
#[derive(Clone, Copy)]
pub(super) enum Second<'a> {
    /// One row for each term.
    Rows(&'a [f32]),
    /// The same, widened as they are needed.
    Weights(Weights<'a>),
    /// One row for each column, widened as they are needed.
    Across(Weights<'a>),
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
    /// Forms them.
    pub(super) fn add(self, machine: &Machine) {
        let isa = machine.isa();
        self.share(machine, |rows, columns| {
            let part = Part { sums: self, isa, rows, columns };
            match self.precision {
                Precision::Bf16 => dispatch_bf16(isa, part),
                Precision::Single => dispatch(isa, part),
            }
        });
    }

    /// Shares them out by columns where the second factors have to be widened, or by the longer axis.
    pub(super) fn share(&self, machine: &Machine, part: impl Fn(Range<usize>, Range<usize>) + Sync) {
        let (all_rows, all_columns) = (0..self.rows, 0..self.width);
        match self.second {
            Second::Weights(weights) | Second::Across(weights) => {
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
pub(super) struct Part<'a> {
    pub(super) sums: Sums<'a>,
    pub(super) isa: Isa,
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        // As many sums as hide the wait of each for the one before it and leave registers for the factors. Two strips share what
        // is loaded of a row; in pairs of registers they do not fit.
        match L::WIDE {
            true => self.blocks::<L, Single, _>(&mut InLanes::<8, 2>),
            false => self.blocks::<L, Single, _>(&mut InLanes::<6, 1>),
        }
    }
}

impl Bf16Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Bf16Lanes>(self) {
        // Tiles from one row on. Lanes form eight rows whatever there are: for 32 columns and 32 terms 512 multiply-adds of f32,
        // 256 cycles. A tile forms sixteen: two products, 52 cycles at most, which is what one waits for the one before it.
        match AmxBf16::configure(self.isa) {
            Some(tiles) => self.blocks::<L, Pairs, _>(&mut InTiles(tiles)),
            None => self.blocks::<L, Pairs, _>(&mut InLanes::<8, 2>),
        }
    }
}

/// How factors are held and multiplied.
pub(super) trait Form<L: Lanes> {
    /// Those of [`Form::TERMS`] terms.
    type Factors: Pod;
    const TERMS: usize;

    /// Factors of sixteen columns, or rows; what is behind the last term is zero.
    fn hold(terms: [L; 2], to: &mut [Self::Factors; LANES]);
    /// The same of one row, sixteen of them one behind the other.
    fn hold_along(terms: [L; 2], to: &mut [Self::Factors; LANES]);
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
    fn hold_along([terms, _]: [L; 2], to: &mut [f32; LANES]) {
        terms.store(to);
    }
    #[inline(always)]
    fn add(sums: L, seconds: &[f32; STRIP], first: f32) -> L {
        L::load(seconds).mul_add(L::splat(first), sums)
    }
}

/// Two terms in BF16.
pub(super) struct Pairs;

impl<L: Bf16Lanes> Form<L> for Pairs {
    type Factors = u32;
    const TERMS: usize = 2;
    #[inline(always)]
    fn hold([first, second]: [L; 2], to: &mut [u32; LANES]) {
        L::pairs_of(first, second, to);
    }
    #[inline(always)]
    fn hold_along([lower, upper]: [L; 2], to: &mut [u32; LANES]) {
        L::pairs_along(lower, upper, to);
    }
    #[inline(always)]
    fn add(sums: L, seconds: &[u32; STRIP], first: u32) -> L {
        sums.add_products(seconds, first)
    }
}

/// First factors by rows, and second ones strip by strip.
pub(super) type Factors<'a, N> = (&'a [[N; DEPTH]], &'a [[N; STRIP]]);

/// How products of what is held are added to the sums.
pub(super) trait Add<L: Lanes, F: Form<L>> {
    /// How many factors are multiplied together: the second ones are zero behind the last up to a multiple of these.
    const TOGETHER: usize;

    /// Adds some terms, `depth` factors of these, to the sums of some rows and columns. The factors are held from the first
    /// row and column on; what stands behind the last row is anything.
    fn add(
        &mut self,
        part: &Part<'_>,
        factors: Factors<'_, F::Factors>,
        depth: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    );
}

/// By lanes, sums of `R` rows and `S` strips side by side in registers.
struct InLanes<const R: usize, const S: usize>;

impl<L: Lanes, F: Form<L>, const R: usize, const S: usize> Add<L, F> for InLanes<R, S> {
    const TOGETHER: usize = 1;

    #[inline(always)]
    fn add(
        &mut self,
        part: &Part<'_>,
        (firsts, seconds): Factors<'_, F::Factors>,
        depth: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let (mut strips, mut begin) = (seconds, columns.start);
        while begin + S * STRIP <= columns.end {
            let (these, rest) = strips.split_at(S * DEPTH);
            let end = begin + S * STRIP;
            part.strips::<L, F, R, S>(firsts, these, depth, rows.clone(), begin..end);
            (strips, begin) = (rest, end);
        }
        while begin < columns.end {
            let (this, rest) = strips.split_at(DEPTH);
            let end = (begin + STRIP).min(columns.end);
            part.strips::<L, F, R, 1>(firsts, this, depth, rows.clone(), begin..end);
            (strips, begin) = (rest, end);
        }
    }
}

impl Part<'_> {
    /// Goes through blocks of terms, columns and rows.
    #[inline(always)]
    pub(super) fn blocks<L: Lanes, F: Form<L>, A: Add<L, F>>(&self, products: &mut A) {
        let mut held = Held::take();
        let firsts: &mut [[F::Factors; DEPTH]] = bytemuck::cast_slice_mut(&mut held.firsts);
        let seconds: &mut [[F::Factors; STRIP]] = bytemuck::cast_slice_mut(&mut held.seconds);
        for first in (0..self.sums.terms).step_by(DEPTH * F::TERMS) {
            let terms = first..(first + DEPTH * F::TERMS).min(self.sums.terms);
            let depth = terms.len().div_ceil(F::TERMS);
            for begin in self.columns.clone().step_by(COLUMNS) {
                let columns = begin..(begin + COLUMNS).min(self.columns.end);
                self.hold_seconds::<L, F>(terms.clone(), columns.clone(), &mut held.rows, seconds);
                for strip in seconds.chunks_mut(DEPTH).take(columns.len().div_ceil(STRIP)) {
                    strip[depth..depth.next_multiple_of(A::TOGETHER)].fill(Zeroable::zeroed());
                }
                for row in self.rows.clone().step_by(ROWS) {
                    let rows = row..(row + ROWS).min(self.rows.end);
                    self.hold_firsts::<L, F>(terms.clone(), rows.clone(), firsts);
                    products.add(self, (firsts, seconds), depth, rows, columns.clone());
                }
            }
        }
        held.put_back();
    }

    /// The first factors of some terms and rows; behind the last row stands what was there.
    #[inline(always)]
    fn hold_firsts<L: Lanes, F: Form<L>>(
        &self,
        terms: Range<usize>,
        rows: Range<usize>,
        firsts: &mut [[F::Factors; DEPTH]],
    ) {
        match self.sums.first {
            First::Rows(numbers) => {
                for (row, first) in rows.zip(firsts) {
                    hold_row::<L, F>(&numbers[row * self.sums.terms..][terms.clone()], first);
                }
            }
            First::Columns(numbers) => {
                let column = |term: usize| match term < terms.end {
                    true => &numbers[term * self.sums.rows..][rows.clone()],
                    false => &[],
                };
                for (group, first) in terms.clone().step_by(F::TERMS * LANES).enumerate() {
                    for (strip, firsts) in firsts[..rows.len()].chunks_mut(LANES).enumerate() {
                        let mut across = [[F::Factors::zeroed(); LANES]; LANES];
                        for (place, across) in across.iter_mut().enumerate() {
                            let term = first + place * F::TERMS;
                            let both = [part::<L>(column(term), strip), part::<L>(column(term + 1), strip)];
                            F::hold(both, across);
                        }
                        for (r, first) in firsts.iter_mut().enumerate() {
                            groups_mut(first).0[group] = column_of(&across, r);
                        }
                    }
                }
            }
        }
    }

    /// The second factors of some terms and columns, strip by strip: `[COLUMNS / STRIP][DEPTH][STRIP]`.
    #[inline(always)]
    fn hold_seconds<L: Lanes, F: Form<L>>(
        &self,
        terms: Range<usize>,
        columns: Range<usize>,
        rows: &mut [[f32; COLUMNS]; 2],
        seconds: &mut [[F::Factors; STRIP]],
    ) {
        let (numbers, weights) = match self.sums.second {
            Second::Across(weights) => {
                let [row, _] = rows;
                return hold_across::<L, F>(weights, terms, columns, row, seconds);
            }
            Second::Rows(numbers) => (numbers, None),
            Second::Weights(weights) => (&[][..], Some(weights)),
        };
        for (place, term) in terms.clone().step_by(F::TERMS).enumerate() {
            let mut both: [&[f32]; 2] = [&[]; 2];
            for ((row, term), both) in
                rows.iter_mut().zip(term..terms.end.min(term + F::TERMS)).zip(&mut both)
            {
                let first = term * self.sums.width + columns.start;
                *both = match &weights {
                    None => &numbers[first..][..columns.len()],
                    Some(weights) => {
                        let row = &mut row[..columns.len()];
                        widen_from::<L>(weights, first, row);
                        row
                    }
                };
            }
            for strip in 0..columns.len().div_ceil(STRIP) {
                let hold = [part::<L>(both[0], strip), part::<L>(both[1], strip)];
                F::hold(hold, &mut seconds[strip * DEPTH + place]);
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
            let Some(first) = held[begin - rows.start..].first_chunk::<R>() else { return };
            let mut sums = [[L::splat(0.0); S]; R];
            // Rows behind the last one are formed of whatever is there, and stored nowhere.
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = (begin + r).min(rows.end - 1);
                // SAFETY: these sums belong to this thread's part, and no other slice of them is in use.
                let out =
                    unsafe { self.sums.out.slice_mut(row * self.sums.width + columns.start, columns.len()) };
                for (s, sums) in sums.iter_mut().enumerate() {
                    *sums = part::<L>(out, s);
                }
            }
            add_terms::<L, F, R, S>(first, strips, depth, &mut sums);
            // All rows are gone through, so that the loop has no end that is found out at run time, and sums stay in registers.
            for (r, sums) in sums.iter().enumerate() {
                if begin + r < rows.end {
                    let at = (begin + r) * self.sums.width + columns.start;
                    // SAFETY: as above.
                    let (whole, rest) = groups_mut(unsafe { self.sums.out.slice_mut(at, columns.len()) });
                    for (s, sums) in sums.iter().enumerate() {
                        match whole.get_mut(s) {
                            Some(group) => sums.store(group),
                            None => store_part(*sums, rest),
                        }
                    }
                }
            }
        }
    }
}

/// Stores the first numbers of a group.
#[inline(always)]
fn store_part<L: Lanes>(from: L, to: &mut [f32]) {
    let mut whole = [0.0; LANES];
    from.store(&mut whole);
    to.copy_from_slice(&whole[..to.len()]);
}

/// All factors of a row of terms; the last group is filled up with zeros.
#[inline(always)]
fn hold_row<L: Lanes, F: Form<L>>(numbers: &[f32], to: &mut [F::Factors]) {
    let (whole, rest) = groups(numbers);
    let mut to = groups_mut(to).0.iter_mut();
    let mut together = whole.chunks_exact(F::TERMS);
    for (groups, to) in together.by_ref().zip(to.by_ref()) {
        F::hold_along([L::load(&groups[0]), L::load(&groups[F::TERMS - 1])], to);
    }
    // The last group of all may be alone, or not whole, or both.
    if let (Some(to), false) = (to.next(), together.remainder().is_empty() && rest.is_empty()) {
        let ends = match together.remainder() {
            [last, ..] => [L::load(last), L::load_part(rest)],
            [] => [L::load_part(rest), L::splat(0.0)],
        };
        F::hold_along(ends, to);
    }
}

/// Second factors of weights that lie column by column.
#[inline(always)]
fn hold_across<L: Lanes, F: Form<L>>(
    weights: Weights<'_>,
    terms: Range<usize>,
    columns: Range<usize>,
    row: &mut [f32; COLUMNS],
    seconds: &mut [[F::Factors; STRIP]],
) {
    let row = &mut row[..terms.len()];
    for (strip, begin) in columns.clone().step_by(STRIP).enumerate() {
        let mut along = [[F::Factors::zeroed(); DEPTH]; STRIP];
        for (column, along) in (begin..columns.end).zip(&mut along) {
            widen_from::<L>(&weights, column * weights.inputs + terms.start, row);
            hold_row::<L, F>(row, along);
        }
        for (place, to) in seconds[strip * DEPTH..][..terms.len().div_ceil(F::TERMS)].iter_mut().enumerate() {
            *to = column_of(&along, place);
        }
    }
}

/// Weights from one of them on, which is the first of its block.
#[inline(always)]
fn widen_from<L: Lanes>(weights: &Weights<'_>, first: usize, to: &mut [f32]) {
    let (len, size) = (weights.storage.block_len(), weights.storage.block_bytes());
    let bytes = &weights.bytes[first / len * size..];
    widen::<L>(weights.storage, &bytes[..to.len() / len * size], to);
}

/// One of each of sixteen rows.
#[inline(always)]
fn column_of<N: Copy, const WIDTH: usize>(rows: &[[N; WIDTH]; LANES], column: usize) -> [N; LANES] {
    let mut all = [rows[0][column]; LANES];
    for (row, one) in rows.iter().zip(&mut all) {
        *one = row[column];
    }
    all
}

/// Memory for factors, 360 KiB, which a thread keeps from one call to the next: empty memory is not free. Factors of any form
/// have four bytes.
struct Held {
    firsts: Vec<[Line; DEPTH / STRIP]>,
    seconds: Vec<Line>,
    rows: [[f32; COLUMNS]; 2],
}

/// Where a cache line begins, so that nothing that is loaded lies in two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; STRIP]);

thread_local! {
    static HELD: RefCell<Option<Box<Held>>> = const { RefCell::new(None) };
}

impl Held {
    fn take() -> Box<Self> {
        let kept = HELD.with(|kept| kept.take());
        kept.unwrap_or_else(|| {
            Box::new(Held {
                firsts: vec![Zeroable::zeroed(); ROWS],
                seconds: vec![Zeroable::zeroed(); COLUMNS / STRIP * DEPTH],
                rows: [[0.0; COLUMNS]; 2],
            })
        })
    }

    fn put_back(self: Box<Self>) {
        HELD.with(|kept| kept.replace(Some(self)));
    }
}

/// Leaves no number in what this thread holds, so that a test sees what is read and was not written.
#[cfg(test)]
pub(super) fn spoil() {
    let mut held = Held::take();
    bytemuck::cast_slice_mut::<_, u32>(&mut held.firsts).fill(u32::MAX);
    bytemuck::cast_slice_mut::<_, u32>(&mut held.seconds).fill(u32::MAX);
    held.put_back();
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
    sums: &mut [[L; S]; R],
) {
    let (mut lanes, strips) = (*sums, &strips[..S * DEPTH]);
    for t in 0..depth.min(DEPTH) {
        for r in 0..R {
            for s in 0..S {
                lanes[r][s] = F::add(lanes[r][s], &strips[s * DEPTH + t], first[r][t]);
            }
        }
    }
    *sums = lanes;
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
