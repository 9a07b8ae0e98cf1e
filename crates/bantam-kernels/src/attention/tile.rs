//! Several queries that share a head of keys, and one page after another.

use std::ops::Range;

use super::page::Numbers;
use super::{AttendSpec, PAGE, QueryRow};
use crate::lanes::{Kernel, LANES, Lanes, exp, groups, groups_mut, tanh};
use crate::share::Shared;

/// Queries in a tile, at most: their sums for sixteen positions fill the registers.
pub(super) const QUERIES_MAX: usize = 6;

const GROUPS: usize = PAGE / LANES;

/// Scores, then weights, of the positions of a page.
type Scores = [[f32; LANES]; GROUPS];

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
    fn group(&self) -> usize {
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

    fn query(&self, query: usize) -> &'a [f32] {
        &self.queries[self.offset(query)..][..self.spec.kv.head_dim]
    }

    /// The places of a page that a query sees.
    fn seen(&self, query: usize, page: usize) -> Range<usize> {
        let seen = self.spec.seen_by(self.rows[self.place(query).0].position);
        let within = |position: usize| position.clamp(page * PAGE, (page + 1) * PAGE) - page * PAGE;
        within(seen.start)..within(seen.end)
    }

    /// Before any page: nothing, or the sink.
    fn beginning(&self, query: usize) -> Total {
        match self.spec.sinks {
            Some(sinks) => Total { greatest: sinks[self.place(query).1], sum: 1.0 },
            None => Total::EMPTY,
        }
    }

    /// Writes what came of a query.
    fn finish(&self, query: usize, whole: &[f32], total: Total, out: &Shared<'_, f32>) {
        let inverse = 1.0 / total.sum;
        // SAFETY: each query of each tile has its own part of the output.
        let out = unsafe { out.slice_mut(self.offset(query), self.spec.kv.head_dim) };
        for (out, value) in out.iter_mut().zip(whole) {
            *out = value * inverse;
        }
    }
}

/// Runs an expression with the number of a tile's queries as a constant.
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
            _ => {
                const $n: usize = QUERIES_MAX;
                $body
            }
        }
    };
}

/// All pages of a tile, each merged into the ones before.
pub(super) struct MergePages<'a> {
    pub(super) tile: Tile<'a>,
    pub(super) pages: Range<usize>,
    pub(super) out: &'a Shared<'a, f32>,
}

impl Kernel for MergePages<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        with_count!(self.tile.count, N => self.merge::<L, N>())
    }
}

impl MergePages<'_> {
    #[inline(always)]
    fn merge<L: Lanes, const N: usize>(self) {
        let stride = self.tile.spec.kv.value_stride();
        let queries = self.tile.transposed::<N>();
        let mut partial = vec![0.0; N * stride];
        let mut whole = vec![0.0; N * stride];
        let mut totals = [Total::EMPTY; N];
        for (query, total) in totals.iter_mut().enumerate() {
            *total = self.tile.beginning(query);
        }
        for page in self.pages {
            let found = self.tile.page::<L, N>(&queries, page, &mut partial);
            merge::<L, N>(&mut totals, &mut whole, &found, &partial);
        }
        for (query, whole) in whole.chunks_exact(stride).enumerate() {
            self.tile.finish(query, whole, totals[query], self.out);
        }
    }
}

/// One page of a tile.
pub(super) struct OnePage<'a> {
    pub(super) tile: Tile<'a>,
    pub(super) page: usize,
    /// `[QUERIES_MAX][value_stride]`
    pub(super) values: &'a mut [f32],
    pub(super) totals: &'a mut [Total; QUERIES_MAX],
}

impl Kernel for OnePage<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        with_count!(self.tile.count, N => {
            let queries = self.tile.transposed::<N>();
            let found = self.tile.page::<L, N>(&queries, self.page, self.values);
            self.totals[..N].copy_from_slice(&found);
        })
    }
}

/// Merges the partial results of a tile's pages.
pub(super) struct MergeParts<'a> {
    pub(super) tile: Tile<'a>,
    /// `[pages][QUERIES_MAX][value_stride]`
    pub(super) values: &'a [f32],
    pub(super) totals: &'a [[Total; QUERIES_MAX]],
    pub(super) out: &'a Shared<'a, f32>,
}

impl Kernel for MergeParts<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let stride = self.tile.spec.kv.value_stride();
        let mut whole = vec![0.0; stride];
        for query in 0..self.tile.count {
            whole.fill(0.0);
            let mut total = [self.tile.beginning(query)];
            let pages = self.values.chunks_exact(QUERIES_MAX * stride).zip(self.totals);
            for (values, totals) in pages {
                merge::<L, 1>(&mut total, &mut whole, &[totals[query]], &values[query * stride..][..stride]);
            }
            self.tile.finish(query, &whole, total[0], self.out);
        }
    }
}

/// The greatest score so far, and the sum of all `exp(score - greatest)`.
#[derive(Clone, Copy)]
pub(super) struct Total {
    greatest: f32,
    sum: f32,
}

impl Total {
    /// Of no scores.
    pub(super) const EMPTY: Total = Total { greatest: f32::NEG_INFINITY, sum: 0.0 };
}

/// Adds a page's totals and its weighted values, `[N][stride]`, to those of the pages before.
#[inline(always)]
fn merge<L: Lanes, const N: usize>(
    wholes: &mut [Total; N],
    values: &mut [f32],
    pages: &[Total; N],
    partials: &[f32],
) {
    let mut down = [0.0; LANES];
    for i in 0..N {
        down[i] = -(pages[i].greatest - wholes[i].greatest).abs();
    }
    // What the lesser one's sums are multiplied with; the greater one keeps its own.
    exp(L::load(&down)).store(&mut down);
    let stride = values.len() / N;
    let values = values.chunks_exact_mut(stride).zip(partials.chunks_exact(stride));
    for (i, (values, partials)) in values.enumerate() {
        let (whole, page) = (&mut wholes[i], &pages[i]);
        if page.sum == 0.0 {
            continue;
        }
        // A NaN score must stay visible, so the comparison lets it through.
        let (old, new) = if page.greatest < whole.greatest { (1.0, down[i]) } else { (down[i], 1.0) };
        // Before the first page there is nothing, and infinity to compare with.
        let old = if whole.sum == 0.0 { 0.0 } else { old };
        whole.greatest = if page.greatest < whole.greatest { whole.greatest } else { page.greatest };
        whole.sum = whole.sum * old + page.sum * new;
        let (old, new) = (L::splat(old), L::splat(new));
        for (value, partial) in groups_mut(values).0.iter_mut().zip(groups(partials).0) {
            L::load(partial).mul_add(new, L::load(value).mul(old)).store(value);
        }
    }
}

/// A number that keys and values are kept in.
trait Kept: Copy {
    fn load<L: Lanes>(from: &[Self; LANES]) -> L;
}

impl Kept for f32 {
    #[inline(always)]
    fn load<L: Lanes>(from: &[f32; LANES]) -> L {
        L::load(from)
    }
}

impl Kept for u16 {
    #[inline(always)]
    fn load<L: Lanes>(from: &[u16; LANES]) -> L {
        L::load_f16(from)
    }
}

impl Tile<'_> {
    /// The queries, number by number.
    #[inline(always)]
    fn transposed<const N: usize>(&self) -> Vec<[f32; N]> {
        let mut numbers = vec![[0.0; N]; self.spec.kv.head_dim];
        for i in 0..N {
            for (numbers, q) in numbers.iter_mut().zip(self.query(i)) {
                numbers[i] = *q;
            }
        }
        numbers
    }

    /// One page: the totals are the result, the weighted values go to `values`, `[N][value_stride]`.
    #[inline(always)]
    fn page<L: Lanes, const N: usize>(
        &self,
        queries: &[[f32; N]],
        page: usize,
        values: &mut [f32],
    ) -> [Total; N] {
        match &self.rows[self.place(0).0].pages[page].numbers {
            Numbers::F32(numbers) => self.kept_page::<L, f32, N>(queries, page, numbers, values),
            Numbers::F16(numbers) => self.kept_page::<L, u16, N>(queries, page, numbers, values),
        }
    }

    #[inline(always)]
    fn kept_page<L: Lanes, T: Kept, const N: usize>(
        &self,
        queries: &[[f32; N]],
        page: usize,
        numbers: &[T],
        values: &mut [f32],
    ) -> [Total; N] {
        let kv = self.spec.kv;
        let head = &numbers[self.head * kv.head_len()..][..kv.head_len()];
        let (keys, kept_values) = head.split_at(PAGE * kv.head_dim);
        let mut scores = scores::<L, T, N>(self.spec, keys, queries);
        let mut totals = [Total::EMPTY; N];
        // What some query of the tile sees. A weight of zero changes no sum of the others.
        let (mut begin, mut end) = (PAGE, 0);
        for (i, scores) in scores.iter_mut().enumerate() {
            let seen = self.seen(i, page);
            if seen.is_empty() {
                *scores = [[0.0; LANES]; GROUPS];
                continue;
            }
            if seen.len() < PAGE {
                let scores = scores.as_flattened_mut();
                scores[..seen.start].fill(f32::NEG_INFINITY);
                scores[seen.end..].fill(f32::NEG_INFINITY);
            }
            totals[i] = soften::<L>(scores);
            (begin, end) = (begin.min(seen.start), end.max(seen.end));
        }
        weigh::<L, T, N>(&scores, begin..end, kept_values, values, kv.value_stride());
        totals
    }
}

/// The scores of all places of a page, those that hold nothing yet among them.
#[inline(always)]
fn scores<L: Lanes, T: Kept, const N: usize>(
    spec: &AttendSpec<'_>,
    keys: &[T],
    queries: &[[f32; N]],
) -> [Scores; N] {
    let mut scores = [[[0.0; LANES]; GROUPS]; N];
    for group in 0..GROUPS {
        let mut sums = [L::splat(0.0); N];
        for (keys, query) in keys.as_chunks::<LANES>().0.as_chunks::<GROUPS>().0.iter().zip(queries) {
            let keys = T::load::<L>(&keys[group]);
            for i in 0..N {
                sums[i] = keys.mul_add(L::splat(query[i]), sums[i]);
            }
        }
        for i in 0..N {
            let mut score = sums[i].mul(L::splat(spec.scale));
            if let Some(cap) = spec.soft_cap {
                score = tanh(score.mul(L::splat(1.0 / cap))).mul(L::splat(cap));
            }
            score.store(&mut scores[i][group]);
        }
    }
    scores
}

/// Scores become `exp(score - greatest)`.
#[inline(always)]
fn soften<L: Lanes>(scores: &mut Scores) -> Total {
    let mut most = L::load(&scores[0]);
    for group in &scores[1..] {
        most = most.maximum(L::load(group));
    }
    let greatest = most.greatest();
    let mut sums = L::splat(0.0);
    for group in scores.iter_mut() {
        let p = exp(L::load(group).sub(L::splat(greatest)));
        p.store(group);
        sums = sums.add(p);
    }
    Total { greatest, sum: sums.sum() }
}

/// The sums of the values, each times its weight, in the order of the positions.
#[inline(always)]
fn weigh<L: Lanes, T: Kept, const N: usize>(
    weights: &[Scores; N],
    seen: Range<usize>,
    values: &[T],
    out: &mut [f32],
    stride: usize,
) {
    for column in (0..stride).step_by(LANES) {
        let mut sums = [L::splat(0.0); N];
        for slot in seen.clone() {
            let values = T::load::<L>(group_at(values, slot * stride + column));
            for i in 0..N {
                // The remainder changes nothing, and spares a check.
                let weight = weights[i].as_flattened()[slot % PAGE];
                sums[i] = values.mul_add(L::splat(weight), sums[i]);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            if let Some(out) = out[i * stride + column..].first_chunk_mut() {
                sum.store(out);
            }
        }
    }
}

/// Sixteen numbers from a place on.
#[inline(always)]
fn group_at<T>(numbers: &[T], begin: usize) -> &[T; LANES] {
    match numbers[begin..].first_chunk() {
        Some(group) => group,
        None => unreachable!("rows of values are whole groups"),
    }
}
