//! Several queries that share a head of keys, and one page after another.

use std::ops::Range;

use super::coded::{Width, rotate};
use super::head::{CodedNumbers, EightBits, FourBits, Head, Plain};
use super::page::Numbers;
use super::{AttendSpec, PAGE, QueryRow};
use crate::lanes::{Kernel, LANES, Lanes, dispatch, exp, groups, groups_mut, tanh};
use crate::machine::Isa;
use crate::share::Shared;

/// Queries in a tile, at most: their sums for sixteen positions fill the registers, for thirty-two where there are as many.
pub(super) const QUERIES_MAX: usize = 12;

/// Queries in a tile on this processor, at most.
pub(super) fn queries_max(isa: Isa) -> usize {
    struct Found;
    impl Kernel for Found {
        type Output = usize;
        #[inline(always)]
        fn run<L: Lanes>(self) -> usize {
            if L::WIDE { QUERIES_MAX } else { QUERIES_MAX / 2 }
        }
    }
    dispatch(isa, Found)
}

pub(super) const GROUPS: usize = PAGE / LANES;

/// Scores, then weights, of the positions of a page.
pub(super) type Scores = [[f32; LANES]; GROUPS];

/// Queries `first..first + count` of one head of keys, counted over all rows of one sequence.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) spec: &'a AttendSpec<'a>,
    pub(super) rows: &'a [QueryRow<'a>],
    pub(super) queries: &'a [f32],
    pub(super) head: usize,
    pub(super) first: usize,
    pub(super) count: usize,
}

impl<'a> Tile<'a> {
    pub(super) fn group(&self) -> usize {
        self.spec.num_heads / self.spec.kv.num_kv_heads
    }

    /// Row and head of a query of the tile.
    fn place(&self, query: usize) -> (usize, usize) {
        let at = self.first + query;
        (at / self.group(), self.head * self.group() + at % self.group())
    }

    /// Where a query, and what comes of it, begins.
    fn offset(&self, query: usize) -> usize {
        let (row, head) = self.place(query);
        (row * self.spec.num_heads + head) * self.spec.kv.head_dim
    }

    pub(super) fn query(&self, query: usize) -> &'a [f32] {
        &self.queries[self.offset(query)..][..self.spec.kv.head_dim]
    }

    pub(super) fn page_numbers(&self, page: usize) -> &'a Numbers {
        &self.rows[self.place(0).0].pages[page].numbers
    }

    /// Whether keys and values are turned; all pages of a sequence are alike.
    pub(super) fn is_turned(&self) -> bool {
        matches!(self.page_numbers(0), Numbers::Coded(_))
    }

    /// The places of a page that each query sees; those that are filled up may see something, too, of which nothing comes.
    fn seen_by_all<const N: usize>(&self, page: usize) -> [Range<usize>; N] {
        let places = page * PAGE..(page + 1) * PAGE;
        let (mut row, mut head) = (self.first / self.group(), self.first % self.group());
        let mut of_row = self.seen(row, &places);
        std::array::from_fn(|_| {
            if head == self.group() {
                (row, head) = (row + 1, 0);
                of_row = self.seen(row, &places);
            }
            head += 1;
            of_row.clone()
        })
    }

    pub(super) fn seen(&self, row: usize, places: &Range<usize>) -> Range<usize> {
        // Behind the last row are queries that are filled up.
        let Some(row) = self.rows.get(row) else { return 0..0 };
        let seen = self.spec.seen_by(row.position);
        let within = |position: usize| position.clamp(places.start, places.end) - places.start;
        within(seen.start)..within(seen.end)
    }

    /// Before any page: nothing, or the sinks.
    pub(super) fn beginning(&self) -> [Total; QUERIES_MAX] {
        let mut totals = [Total::EMPTY; QUERIES_MAX];
        for (query, total) in totals.iter_mut().enumerate().take(self.count) {
            *total = self.beginning_of(query);
        }
        totals
    }

    pub(super) fn beginning_of(&self, query: usize) -> Total {
        match self.spec.sinks {
            Some(sinks) => Total { greatest: sinks[self.place(query).1], sum: 1.0 },
            None => Total::EMPTY,
        }
    }

    /// Writes what came of all queries; `whole` is `[filled][padded_dim]`.
    pub(super) fn finish(&self, whole: &mut [f32], totals: &[Total; QUERIES_MAX], out: &Shared<'_, f32>) {
        let stride = self.spec.kv.padded_dim();
        for (query, whole) in whole.chunks_exact_mut(stride).take(self.count).enumerate() {
            self.finish_one(query, whole, totals[query], out);
        }
    }

    pub(super) fn finish_one(&self, query: usize, whole: &mut [f32], total: Total, out: &Shared<'_, f32>) {
        if self.is_turned() {
            rotate(whole);
        }
        let inverse = 1.0 / total.sum;
        // SAFETY: each query of each tile has its own part of the output.
        let out = unsafe { out.slice_mut(self.offset(query), self.spec.kv.head_dim) };
        for (out, value) in out.iter_mut().zip(whole.iter()) {
            *out = value * inverse;
        }
    }
}

/// Runs an expression with the number of a tile's queries, filled up, as a constant.
macro_rules! with_count {
    ($count:expr, $n:ident => $body:expr) => {
        match $count {
            1 => {
                const $n: usize = 1;
                $body
            }
            2 => {
                const $n: usize = 2;
                $body
            }
            3 => {
                const $n: usize = 3;
                $body
            }
            4 => {
                const $n: usize = 4;
                $body
            }
            5 => {
                const $n: usize = 5;
                $body
            }
            6 => {
                const $n: usize = 6;
                $body
            }
            _ => {
                const $n: usize = QUERIES_MAX;
                $body
            }
        }
    };
}

/// One page of a tile.
pub(super) struct OnePage<'a> {
    pub(super) tile: Tile<'a>,
    /// Of the tile, number by number: [`Tile::transposed`].
    pub(super) queries: &'a [f32],
    pub(super) page: usize,
    /// The page that comes next, which is asked for meanwhile.
    pub(super) next: usize,
    /// `[filled][padded_dim]`
    pub(super) values: &'a mut [f32],
    pub(super) totals: &'a mut [Total; QUERIES_MAX],
}

impl Kernel for OnePage<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        with_count!(self.tile.filled(), N => {
            // Half of it is never asked for where registers hold no more, so that it need not be made.
            if L::WIDE || N < QUERIES_MAX {
                let queries = self.queries.as_chunks::<N>().0;
                let found = self.tile.page::<L, N>(queries, (self.page, self.next), self.values);
                self.totals[..N].copy_from_slice(&found);
            }
        })
    }
}

/// Adds a page's partial results to those of the pages before.
pub(super) struct MergePage<'a> {
    pub(super) count: usize,
    pub(super) stride: usize,
    /// `[count][stride]`
    pub(super) whole: &'a mut [f32],
    pub(super) wholes: &'a mut [Total; QUERIES_MAX],
    /// `[count][stride]`
    pub(super) values: &'a [f32],
    pub(super) totals: &'a [Total; QUERIES_MAX],
}

impl Kernel for MergePage<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        merge::<L>((self.count, self.stride), self.wholes, self.whole, self.totals, self.values);
    }
}

/// The greatest score so far, and the sum of all `exp(score - greatest)`.
#[derive(Clone, Copy)]
pub(super) struct Total {
    pub(super) greatest: f32,
    pub(super) sum: f32,
}

impl Total {
    /// Of no scores.
    pub(super) const EMPTY: Total = Total { greatest: f32::NEG_INFINITY, sum: 0.0 };
}

/// Adds a page's totals and its weighted values, `[count][stride]`, to those of the pages before.
#[inline(always)]
fn merge<L: Lanes>(
    (count, stride): (usize, usize),
    wholes: &mut [Total; QUERIES_MAX],
    values: &mut [f32],
    pages: &[Total; QUERIES_MAX],
    partials: &[f32],
) {
    let factors = merge_totals::<L>(&mut wholes[..count], &pages[..count]);
    let values = values.chunks_exact_mut(stride).zip(partials.chunks_exact(stride));
    for (i, (values, partials)) in values.take(count).enumerate() {
        if pages[i].sum == 0.0 {
            continue;
        }
        let (old, new) = (L::splat(factors[0][i]), L::splat(factors[1][i]));
        for (value, partial) in groups_mut(values).0.iter_mut().zip(groups(partials).0) {
            L::load(partial).mul_add(new, L::load(value).mul(old)).store(value);
        }
    }
}

/// Adds a page's totals, of up to sixteen queries, to those of the pages before. Gives what their values are multiplied with, and what the
/// page's are.
#[inline(always)]
pub(super) fn merge_totals<L: Lanes>(wholes: &mut [Total], pages: &[Total]) -> [[f32; LANES]; 2] {
    let mut down = [0.0; LANES];
    for ((down, whole), page) in down.iter_mut().zip(&*wholes).zip(pages) {
        *down = -(page.greatest - whole.greatest).abs();
    }
    // What the lesser one's sums are multiplied with; the greater one keeps its own.
    exp(L::load(&down)).store(&mut down);
    let mut factors = [[1.0; LANES], [0.0; LANES]];
    for (i, (whole, page)) in wholes.iter_mut().zip(pages).enumerate() {
        if page.sum == 0.0 {
            continue;
        }
        // A NaN score must stay visible, so the comparison lets it through.
        let (old, new) = if page.greatest < whole.greatest { (1.0, down[i]) } else { (down[i], 1.0) };
        // Before the first page there is nothing, and infinity to compare with.
        let old = if whole.sum == 0.0 { 0.0 } else { old };
        whole.greatest = if page.greatest < whole.greatest { whole.greatest } else { page.greatest };
        whole.sum = whole.sum * old + page.sum * new;
        (factors[0][i], factors[1][i]) = (old, new);
    }
    factors
}

impl Tile<'_> {
    /// The queries that are computed for: with some of zeros where there is no code for just as many.
    pub(super) fn filled(&self) -> usize {
        if self.count > QUERIES_MAX / 2 { QUERIES_MAX } else { self.count }
    }

    /// The queries, number by number, `[padded_dim][filled]`, filled up with zeros to whole groups; turned if the keys
    /// are.
    pub(super) fn transposed(&self) -> Vec<f32> {
        let (dim, padded, filled) = (self.spec.kv.head_dim, self.spec.kv.padded_dim(), self.filled());
        let mut numbers = vec![0.0; padded * filled];
        let mut query = vec![0.0; padded];
        for i in 0..self.count {
            query[..dim].copy_from_slice(self.query(i));
            query[dim..].fill(0.0);
            if self.is_turned() {
                rotate(&mut query);
            }
            for (numbers, q) in numbers.chunks_exact_mut(filled).zip(&query) {
                numbers[i] = *q;
            }
        }
        numbers
    }

    /// One page: the totals are the result, the weighted values go to `values`, `[N][padded_dim]`.
    #[inline(always)]
    fn page<L: Lanes, const N: usize>(
        &self,
        queries: &[[f32; N]],
        (page, next): (usize, usize),
        values: &mut [f32],
    ) -> [Total; N] {
        let (kv, head) = (self.spec.kv, self.head);
        match (self.page_numbers(page), self.page_numbers(next)) {
            (Numbers::F32(now), Numbers::F32(next)) => {
                let kept = [now, next].map(|numbers| Plain::new(kv, numbers, head));
                self.page_of::<L, _, N>(queries, page, kept, values)
            }
            (Numbers::F16(now), Numbers::F16(next)) => {
                let kept = [now, next].map(|numbers| Plain::new(kv, numbers, head));
                self.page_of::<L, _, N>(queries, page, kept, values)
            }
            (Numbers::BF16(now), Numbers::BF16(next)) => {
                let kept = [now, next].map(|numbers| Plain::new(kv, numbers, head));
                self.page_of::<L, _, N>(queries, page, kept, values)
            }
            (Numbers::Coded(now), Numbers::Coded(next)) => {
                let of = [now, next].map(|coded| coded.head(kv, head));
                match now.width {
                    Width::Eight => {
                        let kept = of.map(CodedNumbers::<EightBits>::new);
                        self.page_of::<L, _, N>(queries, page, kept, values)
                    }
                    Width::Four => {
                        let kept = of.map(CodedNumbers::<FourBits>::new);
                        self.page_of::<L, _, N>(queries, page, kept, values)
                    }
                }
            }
            _ => unreachable!("all pages of a sequence are alike"),
        }
    }

    #[inline(always)]
    fn page_of<'k, L: Lanes, H: Head<'k>, const N: usize>(
        &self,
        queries: &[[f32; N]],
        page: usize,
        [kept, next]: [H; 2],
        values: &mut [f32],
    ) -> [Total; N] {
        let seen = self.seen_by_all::<N>(page);
        let end = seen.iter().map(|seen| seen.end).max().unwrap_or(0);
        let ahead = next.bytes();
        let mut scores = scores::<L, H, N>(self.spec, kept, queries, end, ahead[0]);
        if seen.iter().any(|seen| seen.len() < PAGE) {
            for (scores, seen) in scores.iter_mut().zip(&seen) {
                let scores = scores.as_flattened_mut();
                scores[..seen.start].fill(f32::NEG_INFINITY);
                scores[seen.end..].fill(f32::NEG_INFINITY);
            }
        }
        let mut totals = soften::<L, N>(&mut scores);
        // What some query of the tile sees. A weight of zero changes no sum of the others.
        let mut begin = end;
        for (i, seen) in seen.iter().enumerate() {
            if seen.is_empty() {
                (scores[i], totals[i]) = ([[0.0; LANES]; GROUPS], Total::EMPTY);
            } else {
                begin = begin.min(seen.start);
            }
        }
        kept.weigh::<L, N>(&scores, begin..end, (values, self.spec.kv.padded_dim()), ahead[1]);
        totals
    }
}

/// The scores of the places of a page up to `end`, and some more, those that hold nothing yet among them.
#[inline(always)]
fn scores<'k, L: Lanes, H: Head<'k>, const N: usize>(
    spec: &AttendSpec<'_>,
    kept: H,
    queries: &[[f32; N]],
    end: usize,
    ahead: &[u8],
) -> [Scores; N] {
    let mut scores = [[[0.0; LANES]; GROUPS]; N];
    let mut ahead = ahead;
    // Twelve sums side by side at least, where the registers hold them.
    if const { L::WIDE && N <= 3 } {
        put(spec, kept.products::<L, N, GROUPS>(0, queries, ahead), 0, &mut scores);
    } else if const { L::WIDE } {
        for group in (0..end.div_ceil(LANES)).step_by(2) {
            let ahead = std::mem::take(&mut ahead);
            put(spec, kept.products::<L, N, 2>(group, queries, ahead), group, &mut scores);
        }
    } else {
        for group in 0..end.div_ceil(LANES) {
            let ahead = std::mem::take(&mut ahead);
            put(spec, kept.products::<L, N, 1>(group, queries, ahead), group, &mut scores);
        }
    }
    if let Some(cap) = spec.soft_cap {
        for score in scores.as_flattened_mut() {
            let capped = tanh(L::load(score).mul(L::splat(1.0 / cap))).mul(L::splat(cap));
            capped.store(score);
        }
    }
    scores
}

/// Scales the products of some groups of positions.
#[inline(always)]
fn put<L: Lanes, const N: usize, const G: usize>(
    spec: &AttendSpec<'_>,
    products: [[L; N]; G],
    group: usize,
    scores: &mut [Scores; N],
) {
    for g in 0..G {
        for i in 0..N {
            products[g][i].mul(L::splat(spec.scale)).store(&mut scores[i][group + g]);
        }
    }
}

/// Scores become `exp(score - greatest)`. Each step is taken for all queries, since each waits for the one before it.
#[inline(always)]
fn soften<L: Lanes, const N: usize>(scores: &mut [Scores; N]) -> [Total; N] {
    let mut totals = [Total::EMPTY; N];
    for (scores, total) in scores.iter().zip(&mut totals) {
        let mut most = L::load(&scores[0]);
        for group in &scores[1..] {
            most = most.maximum(L::load(group));
        }
        total.greatest = most.greatest();
    }
    let mut sums = [L::splat(0.0); N];
    for ((scores, total), sums) in scores.iter_mut().zip(&totals).zip(&mut sums) {
        for group in scores {
            let p = exp(L::load(group).sub(L::splat(total.greatest)));
            p.store(group);
            *sums = sums.add(p);
        }
    }
    for (total, sum) in totals.iter_mut().zip(L::sums(&sums)) {
        total.sum = sum;
    }
    totals
}
