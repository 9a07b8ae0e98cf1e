//! Causal attention over keys and values in pages.
//!
//! A page holds [`PAGE`] positions of one layer of one sequence. Keys lie transposed, so that sixteen
//! scores are formed together without sums within a register; values lie as they come. Each page
//! gives a partial result (greatest score, sum, weighted values), and the partial results are merged
//! in the order of the pages (Milakov and Gimelshein, 2018): the order of all sums follows from the
//! positions alone, however the work is divided.

use half::f16;

use crate::Machine;
use crate::lanes::{Kernel, LANES, Lanes, dispatch, exp, groups, groups_mut, tanh};
use crate::share::Shared;

/// Positions in a page.
pub const PAGE: usize = 64;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvStorage {
    /// As computed.
    F32,
    /// Rounded to half precision.
    F16,
}

/// The shape of the keys and values of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Heads of keys and of values.
    pub num_kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Values of one position of one head are filled up to whole groups of sixteen.
    fn value_stride(self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    fn head_len(self) -> usize {
        PAGE * (self.head_dim + self.value_stride())
    }

    /// Numbers in a page.
    pub fn page_len(self) -> usize {
        self.num_kv_heads * self.head_len()
    }
}

/// Keys and values of [`PAGE`] positions of one layer:
/// for each head the keys, `[head_dim][PAGE]`, then the values, `[PAGE][head_dim filled up to 16]`.
#[derive(Clone)]
pub struct Page {
    shape: KvShape,
    numbers: Numbers,
}

#[derive(Clone)]
enum Numbers {
    F32(Vec<f32>),
    F16(Vec<u16>),
}

impl Page {
    /// A page of zeros.
    pub fn new(shape: KvShape, storage: KvStorage) -> Self {
        let numbers = match storage {
            KvStorage::F32 => Numbers::F32(vec![0.0; shape.page_len()]),
            KvStorage::F16 => Numbers::F16(vec![0; shape.page_len()]),
        };
        Page { shape, numbers }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::F32(numbers) => numbers.len() * 4,
            Numbers::F16(numbers) => numbers.len() * 2,
        }
    }

    /// Puts the keys and values of one position, `[num_kv_heads][head_dim]` each, into place `slot`.
    pub fn put(&mut self, slot: usize, keys: &[f32], values: &[f32]) {
        let KvShape { num_kv_heads, head_dim } = self.shape;
        assert!(slot < PAGE && keys.len() == num_kv_heads * head_dim && values.len() == keys.len());
        match &mut self.numbers {
            Numbers::F32(numbers) => put(self.shape, numbers, slot, keys, values, |x| x),
            Numbers::F16(numbers) => {
                put(self.shape, numbers, slot, keys, values, |x| f16::from_f32(x).to_bits())
            }
        }
    }
}

fn put<T: Copy>(
    shape: KvShape,
    numbers: &mut [T],
    slot: usize,
    keys: &[f32],
    values: &[f32],
    round: impl Fn(f32) -> T,
) {
    let (dim, stride) = (shape.head_dim, shape.value_stride());
    let heads = numbers.chunks_exact_mut(shape.head_len());
    for ((head, keys), values) in heads.zip(keys.chunks_exact(dim)).zip(values.chunks_exact(dim)) {
        let (key_part, value_part) = head.split_at_mut(PAGE * dim);
        for (place, key) in key_part[slot..].iter_mut().step_by(PAGE).zip(keys) {
            *place = round(*key);
        }
        for (place, value) in value_part[slot * stride..].iter_mut().zip(values) {
            *place = round(*value);
        }
    }
}

/// What the queries of a layer look at, and how.
#[derive(Clone, Copy, Debug)]
pub struct AttendSpec<'a> {
    /// The shape of keys and values.
    pub kv: KvShape,
    /// Heads of queries, a multiple of the heads of keys.
    pub num_heads: usize,
    /// Scores are multiplied with this.
    pub scale: f32,
    /// A query sees this many positions, its own among them; all earlier ones if `None`.
    pub window: Option<usize>,
    /// Scores become `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
    /// One more logit for each query head that takes part in the softmax and carries no value.
    pub sinks: Option<&'a [f32]>,
}

/// One row of queries: the pages of its sequence and its own position, which lies within them.
#[derive(Clone, Copy)]
pub struct QueryRow<'a> {
    /// Pages in order of position; those before the window may be anything.
    pub pages: &'a [Page],
    /// Counted from zero.
    pub position: usize,
}

/// Attends with each row of `queries`, `[rows][num_heads][head_dim]`, and writes the same shape to `out`.
pub fn attend(
    machine: &Machine,
    spec: &AttendSpec<'_>,
    rows: &[QueryRow<'_>],
    queries: &[f32],
    out: &mut [f32],
) {
    let (kv_heads, dim) = (spec.kv.num_kv_heads, spec.kv.head_dim);
    assert!(kv_heads > 0 && spec.num_heads.is_multiple_of(kv_heads), "whole groups of query heads");
    let width = spec.num_heads * dim;
    assert!(queries.len() == rows.len() * width && out.len() == queries.len(), "one row of each");
    assert!(spec.sinks.is_none_or(|sinks| sinks.len() == spec.num_heads), "a sink for each head");
    for row in rows {
        assert!(row.position < row.pages.len() * PAGE, "a page for each position");
        assert!(row.pages.iter().all(|page| page.shape == spec.kv), "pages of this layer");
    }
    let group = spec.num_heads / kv_heads * dim;
    let shared = Shared::new(out);
    machine.split(rows.len() * kv_heads, 1, |items| {
        for item in items {
            let (row, head) = (item / kv_heads, item % kv_heads);
            let begin = row * width + head * group;
            // SAFETY: each item has its own part of the output.
            let out = unsafe { shared.slice_mut(begin, group) };
            let queries = &queries[begin..][..group];
            dispatch(machine.isa(), AttendHead { spec, row: rows[row], head, queries, out });
        }
    });
}

/// All query heads of one row that share a head of keys.
struct AttendHead<'a> {
    spec: &'a AttendSpec<'a>,
    row: QueryRow<'a>,
    head: usize,
    queries: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AttendHead<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (dim, stride) = (self.spec.kv.head_dim, self.spec.kv.value_stride());
        let first = self.spec.window.map_or(0, |window| (self.row.position + 1).saturating_sub(window));
        let per_group = self.spec.num_heads / self.spec.kv.num_kv_heads;
        let mut partial = vec![0.0; stride];
        let mut whole = vec![0.0; stride];
        let at = HeadPages { spec: self.spec, head: self.head };
        for (i, (query, out)) in
            self.queries.chunks_exact(dim).zip(self.out.chunks_exact_mut(dim)).enumerate()
        {
            let mut total = match self.spec.sinks {
                Some(sinks) => Total { greatest: sinks[self.head * per_group + i], sum: 1.0 },
                None => Total { greatest: f32::NEG_INFINITY, sum: 0.0 },
            };
            whole.fill(0.0);
            for page in first / PAGE..=self.row.position / PAGE {
                let begin = first.saturating_sub(page * PAGE);
                let end = (self.row.position + 1 - page * PAGE).min(PAGE);
                let one = match &self.row.pages[page].numbers {
                    Numbers::F32(n) => at.page::<L, f32>(n, query, begin..end, &mut partial),
                    Numbers::F16(n) => at.page::<L, u16>(n, query, begin..end, &mut partial),
                };
                total.merge::<L>(&mut whole, one, &partial);
            }
            let inverse = 1.0 / total.sum;
            for (out, value) in out.iter_mut().zip(&whole) {
                *out = value * inverse;
            }
        }
    }
}

/// The greatest score so far, and the sum of all `exp(score - greatest)`.
#[derive(Clone, Copy)]
struct Total {
    greatest: f32,
    sum: f32,
}

impl Total {
    /// What its sums are multiplied with when the greatest score becomes this.
    #[inline(always)]
    fn factor<L: Lanes>(self, greatest: f32) -> f32 {
        if self.sum == 0.0 { 0.0 } else { lane0(exp(L::splat(self.greatest - greatest))) }
    }

    /// Adds a page's total and its weighted values.
    #[inline(always)]
    fn merge<L: Lanes>(&mut self, whole: &mut [f32], page: Total, partial: &[f32]) {
        // A NaN score must stay visible, so the comparison lets it through.
        let greatest = if page.greatest < self.greatest { self.greatest } else { page.greatest };
        let (old, new) = (self.factor::<L>(greatest), page.factor::<L>(greatest));
        self.sum = self.sum * old + page.sum * new;
        self.greatest = greatest;
        let (old, new) = (L::splat(old), L::splat(new));
        for (whole, partial) in groups_mut(whole).0.iter_mut().zip(groups(partial).0) {
            L::load(partial).mul_add(new, L::load(whole).mul(old)).store(whole);
        }
    }
}

#[inline(always)]
fn lane0<L: Lanes>(x: L) -> f32 {
    let mut lanes = [0.0; LANES];
    x.store(&mut lanes);
    lanes[0]
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

const GROUPS: usize = PAGE / LANES;

/// One head of keys of every page.
#[derive(Clone, Copy)]
struct HeadPages<'a> {
    spec: &'a AttendSpec<'a>,
    head: usize,
}

impl HeadPages<'_> {
    /// One page: its total is the result, its weighted values go to `partial`.
    #[inline(always)]
    fn page<L: Lanes, T: Kept>(
        self,
        numbers: &[T],
        query: &[f32],
        seen: std::ops::Range<usize>,
        partial: &mut [f32],
    ) -> Total {
        let (dim, len) = (self.spec.kv.head_dim, self.spec.kv.head_len());
        let (keys, values) = numbers[self.head * len..][..len].split_at(PAGE * dim);
        let mut scores = self.scores::<L, T>(keys, query);
        for (slot, score) in scores.as_flattened_mut().iter_mut().enumerate() {
            if !seen.contains(&slot) {
                *score = f32::NEG_INFINITY;
            }
        }
        let total = soften::<L>(&mut scores);
        weigh::<L, T>(&scores.as_flattened()[seen.clone()], &values[seen.start * partial.len()..], partial);
        total
    }

    /// The scores of all places of a page, those that hold nothing yet among them.
    #[inline(always)]
    fn scores<L: Lanes, T: Kept>(self, keys: &[T], query: &[f32]) -> [[f32; LANES]; GROUPS] {
        let mut sums = [L::splat(0.0); GROUPS];
        for (keys, q) in keys.as_chunks::<PAGE>().0.iter().zip(query) {
            let q = L::splat(*q);
            for (sum, keys) in sums.iter_mut().zip(groups(keys).0) {
                *sum = T::load::<L>(keys).mul_add(q, *sum);
            }
        }
        let scale = L::splat(self.spec.scale);
        let mut scores = [[0.0; LANES]; GROUPS];
        for (sum, scores) in sums.into_iter().zip(&mut scores) {
            let mut score = sum.mul(scale);
            if let Some(cap) = self.spec.soft_cap {
                score = tanh(score.mul(L::splat(1.0 / cap))).mul(L::splat(cap));
            }
            score.store(scores);
        }
        scores
    }
}

/// Scores become `exp(score - greatest)`.
#[inline(always)]
fn soften<L: Lanes>(scores: &mut [[f32; LANES]; GROUPS]) -> Total {
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

/// The sum of the values, each times its weight, in the order of the positions.
#[inline(always)]
fn weigh<L: Lanes, T: Kept>(weights: &[f32], values: &[T], out: &mut [f32]) {
    const TOGETHER: usize = 4;
    let stride = out.len();
    for (block, out) in out.chunks_mut(TOGETHER * LANES).enumerate() {
        let mut sums = [L::splat(0.0); TOGETHER];
        for (weight, values) in weights.iter().zip(values.chunks_exact(stride)) {
            let weight = L::splat(*weight);
            let values = &values[block * TOGETHER * LANES..][..out.len()];
            for (sum, values) in sums.iter_mut().zip(groups(values).0) {
                *sum = T::load::<L>(values).mul_add(weight, *sum);
            }
        }
        for (out, sum) in groups_mut(out).0.iter_mut().zip(sums) {
            sum.store(out);
        }
    }
}
