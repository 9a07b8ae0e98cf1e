//! Attention in tiles of BF16: sixteen queries of a head of keys with one page after another.
//!
//! Queries, keys, weights and values are rounded to BF16; scores, their softmax and all sums are in f32. A page is rounded once
//! for all tiles of queries that a thread takes together. What comes of a query depends on neither.

use std::cell::RefCell;
use std::f32::consts::LOG2_E;
use std::marker::PhantomData;
use std::ops::Range;

use super::coded::Width;
use super::head::{CodedNumbers, EightBits, FourBits, Head, Plain};
use super::page::Numbers;
use super::tile::{GROUPS, Tile as Queries, Total, merge_totals};
use super::{AttendSpec, PAGE};
use crate::lanes::{Bf16Kernel, Bf16Lanes, LANES, RUN, tanh, with_bf16_tiles};
use crate::machine::Isa;
use crate::share::Shared;
use crate::tiles::{AmxPairs, PairTiles, Tile, TileSums};

/// Tiles of queries that share rounded pages, at most: what has come of them stays in the second-level cache.
pub(super) const TOGETHER: usize = 8;

/// Some tiles of queries of one head of one sequence, and the pages that each of them sees.
pub(super) struct Together<'a> {
    pub(super) tiles: &'a [(Queries<'a>, Range<usize>)],
    pub(super) out: &'a Shared<'a, f32>,
}

/// Tiles of sums that come of sixteen queries.
fn columns(spec: &AttendSpec<'_>) -> usize {
    spec.kv.padded_dim() / LANES
}

/// Attends with the processor's instructions.
pub(super) fn run(isa: Isa, work: &Together<'_>) {
    let kernel = With { isa, work, tiles: PhantomData::<AmxPairs> };
    assert!(with_bf16_tiles(isa, kernel).is_some(), "{isa} has no tiles of BF16");
}

/// The same with instructions of one kind or another: tests have a model of them.
struct With<'a, T> {
    isa: Isa,
    work: &'a Together<'a>,
    tiles: PhantomData<T>,
}

impl<T: PairTiles> Bf16Kernel for With<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<L: Bf16Lanes>(self) {
        let (isa, Together { tiles, out }) = (self.isa, self.work);
        let (Some(mut instructions), Some((first, _))) = (T::configure(isa, LANES), tiles.first()) else {
            return;
        };
        let (columns, steps) = (columns(first.spec), first.spec.kv.padded_dim() / RUN);
        let mut held = Held::take();
        held.fit(first.spec, tiles.len());
        for (i, (tile, _)) in tiles.iter().enumerate() {
            tile.rounded::<L>(&mut held.queries[i * steps..][..steps]);
        }
        let mut totals = [[Total::EMPTY; LANES]; TOGETHER];
        for ((tile, _), totals) in tiles.iter().zip(&mut totals) {
            for (query, total) in totals.iter_mut().enumerate().take(tile.count) {
                *total = tile.beginning_of(query);
            }
        }
        let begin = tiles.iter().map(|(_, pages)| pages.start).min().unwrap_or(0);
        let end = tiles.iter().map(|(_, pages)| pages.end).max().unwrap_or(0);
        for page in begin..end {
            let seen = seen_by(tiles, page);
            first.page_in_tiles::<L>(page, &seen, &mut held.page);
            for (i, (tile, pages)) in tiles.iter().enumerate() {
                if !pages.contains(&page) {
                    continue;
                }
                let queries = &held.queries[i * steps..][..steps];
                let mut of_page = [Total::EMPTY; LANES];
                tile.page_of_tiles::<L, T>(
                    &mut instructions,
                    queries,
                    page,
                    &held.page,
                    &mut held.partial,
                    &mut of_page,
                );
                let whole = &mut held.whole[i * columns..][..columns];
                merge::<L>(&mut totals[i][..tile.count], whole, &of_page[..tile.count], &held.partial);
            }
        }
        for (i, (tile, _)) in tiles.iter().enumerate() {
            finish(tile, &held.whole[i * columns..][..columns], &totals[i], out);
        }
        held.put_back();
    }
}

/// The places of a page that some query sees.
#[inline(always)]
fn seen_by(tiles: &[(Queries<'_>, Range<usize>)], page: usize) -> Range<usize> {
    let (mut start, mut end) = (PAGE, 0);
    for (tile, pages) in tiles {
        if pages.contains(&page) {
            let seen = tile.seen_in(page);
            (start, end) = (start.min(seen.start), end.max(seen.end));
        }
    }
    start..end.max(start)
}

impl Queries<'_> {
    /// The places of a page that some query sees: later ones see what is later.
    #[inline(always)]
    fn seen_in(&self, page: usize) -> Range<usize> {
        let places = page * PAGE..(page + 1) * PAGE;
        let first = self.seen(self.first / self.group(), &places);
        let last = self.seen((self.first + self.count - 1) / self.group(), &places);
        first.start.min(last.start)..first.end.max(last.end)
    }

    /// Tiles of the queries, a row each, in pairs as keys are; rows behind the last are zero.
    #[inline(always)]
    fn rounded<L: Bf16Lanes>(&self, to: &mut [Tile]) {
        to.fill(Tile::ZERO);
        let (dim, padded) = (self.spec.kv.head_dim, self.spec.kv.padded_dim());
        let mut numbers = vec![0.0; padded];
        for i in 0..self.count {
            numbers[..dim].copy_from_slice(self.query(i));
            if self.is_turned() {
                numbers[dim..].fill(0.0);
                super::coded::rotate(&mut numbers);
            }
            for (tile, numbers) in to.iter_mut().zip(numbers.as_chunks::<LANES>().0.as_chunks::<2>().0) {
                L::pairs_of(L::load(&numbers[0]), L::load(&numbers[1]), &mut tile.0[i]);
            }
        }
    }

    /// Rounds the keys of a page, `[positions / 16][numbers / 32]`, then its values, `[numbers / 16][positions / 32]`.
    #[inline(always)]
    fn page_in_tiles<L: Bf16Lanes>(&self, page: usize, seen: &Range<usize>, to: &mut [Tile]) {
        let (kv, head) = (self.spec.kv, self.head);
        match self.page_numbers(page) {
            Numbers::F32(numbers) => head_in_tiles::<L, _>(Plain::new(kv, numbers, head), seen, to),
            Numbers::F16(numbers) => head_in_tiles::<L, _>(Plain::new(kv, numbers, head), seen, to),
            Numbers::BF16(numbers) => head_in_tiles::<L, _>(Plain::new(kv, numbers, head), seen, to),
            Numbers::Coded(coded) => {
                let of = coded.head(kv, head);
                match coded.width {
                    Width::Eight => head_in_tiles::<L, _>(CodedNumbers::<EightBits>::new(of), seen, to),
                    Width::Four => head_in_tiles::<L, _>(CodedNumbers::<FourBits>::new(of), seen, to),
                }
            }
        }
    }

    /// The totals of a page, and its values, each times its weight.
    #[inline(always)]
    fn page_of_tiles<L: Bf16Lanes, T: PairTiles>(
        &self,
        instructions: &mut T,
        queries: &[Tile],
        page: usize,
        kept: &[Tile],
        values: &mut [TileSums],
        totals: &mut [Total; LANES],
    ) {
        let (keys, kept_values) = kept.split_at(GROUPS * queries.len());
        let mut scores = [TileSums::ZERO; GROUPS];
        for (keys, scores) in keys.chunks_exact(2 * queries.len()).zip(scores.as_chunks_mut::<2>().0) {
            let (left, right) = keys.split_at(queries.len());
            instructions.strip(queries, [left, right], scores);
        }
        let mut weights = [Tile::ZERO; PAGE / RUN];
        let places = page * PAGE..(page + 1) * PAGE;
        for (i, total) in totals.iter_mut().enumerate().take(self.count) {
            let seen = self.seen((self.first + i) / self.group(), &places);
            *total = self.soften_row::<L>(&scores, i, &seen, &mut weights);
        }
        for (kept, values) in
            kept_values.as_chunks::<{ 2 * PAGE / RUN }>().0.iter().zip(values.as_chunks_mut::<2>().0)
        {
            let (left, right) = kept.split_at(PAGE / RUN);
            instructions.strip(&weights, [left, right], values);
        }
    }

    /// Weights of the positions that a query sees, in BF16, and their sum before that.
    #[inline(always)]
    fn soften_row<L: Bf16Lanes>(
        &self,
        scores: &[TileSums; GROUPS],
        query: usize,
        seen: &Range<usize>,
        weights: &mut [Tile; PAGE / RUN],
    ) -> Total {
        if seen.is_empty() {
            return Total::EMPTY;
        }
        let mut row = [L::splat(0.0); GROUPS];
        for g in 0..GROUPS {
            row[g] = L::load(&scores[g].0[query]).mul(L::splat(self.spec.scale));
            if let Some(cap) = self.spec.soft_cap {
                row[g] = tanh(row[g].mul(L::splat(1.0 / cap))).mul(L::splat(cap));
            }
        }
        if seen.len() < PAGE {
            let mut all = [[0.0; LANES]; GROUPS];
            for g in 0..GROUPS {
                row[g].store(&mut all[g]);
            }
            all.as_flattened_mut()[..seen.start].fill(f32::NEG_INFINITY);
            all.as_flattened_mut()[seen.end..].fill(f32::NEG_INFINITY);
            for g in 0..GROUPS {
                row[g] = L::load(&all[g]);
            }
        }
        let most = row[0].maximum(row[1]).maximum(row[2].maximum(row[3]));
        let greatest = most.greatest();
        let shift = L::splat(-greatest * LOG2_E);
        for scores in &mut row {
            *scores = scores.mul_add(L::splat(LOG2_E), shift).exp2();
        }
        L::pairs_along(row[0], row[1], &mut weights[0].0[query]);
        L::pairs_along(row[2], row[3], &mut weights[1].0[query]);
        Total { greatest, sum: row[0].add(row[1]).add(row[2].add(row[3])).sum() }
    }
}

#[inline(always)]
fn head_in_tiles<'a, L: Bf16Lanes, H: Head<'a>>(head: H, seen: &Range<usize>, to: &mut [Tile]) {
    // As many tiles of keys as of values.
    let (keys, values) = to.split_at_mut(to.len() / 2);
    let steps = keys.len() / GROUPS;
    for (group, keys) in keys.chunks_exact_mut(steps).enumerate() {
        for (step, tile) in keys.iter_mut().enumerate() {
            head.key_tile::<L>(group, step, tile);
        }
    }
    for (column, values) in values.chunks_exact_mut(PAGE / RUN).enumerate() {
        for (step, tile) in values.iter_mut().enumerate() {
            head.value_tile::<L>(column, step, seen, tile);
        }
    }
}

/// Adds a page's partial results to those of the pages before.
#[inline(always)]
fn merge<L: Bf16Lanes>(
    wholes: &mut [Total],
    values: &mut [TileSums],
    pages: &[Total],
    partials: &[TileSums],
) {
    let [old, new] = merge_totals::<L>(wholes, pages);
    for (values, partials) in values.iter_mut().zip(partials) {
        for i in 0..wholes.len() {
            // What stands behind the last query that saw something is anything.
            if pages[i].sum == 0.0 {
                continue;
            }
            let scaled = L::load(&values.0[i]).mul(L::splat(old[i]));
            L::load(&partials.0[i]).mul_add(L::splat(new[i]), scaled).store(&mut values.0[i]);
        }
    }
}

fn finish(tile: &Queries<'_>, values: &[TileSums], totals: &[Total; LANES], out: &Shared<'_, f32>) {
    let mut whole = vec![0.0; values.len() * LANES];
    for (query, total) in totals.iter().enumerate().take(tile.count) {
        for (whole, values) in whole.as_chunks_mut().0.iter_mut().zip(values) {
            *whole = values.0[query];
        }
        tile.finish_one(query, &mut whole, *total, out);
    }
}

/// What a thread keeps from one call to the next.
#[derive(Default)]
struct Held {
    /// Of all tiles, `[padded_dim / 32]` each.
    queries: Vec<Tile>,
    page: Vec<Tile>,
    /// `[padded_dim / 16]`
    partial: Vec<TileSums>,
    /// The same of all tiles.
    whole: Vec<TileSums>,
}

thread_local! {
    static HELD: RefCell<Held> = RefCell::new(Held::default());
}

impl Held {
    fn take() -> Self {
        HELD.with(|held| held.take())
    }

    fn put_back(self) {
        HELD.with(|held| held.replace(self));
    }

    /// Room for so many tiles of queries; nothing has come of them yet.
    fn fit(&mut self, spec: &AttendSpec<'_>, tiles: usize) {
        let (columns, steps) = (columns(spec), spec.kv.padded_dim() / RUN);
        self.queries.resize(tiles * steps, Tile::ZERO);
        self.page.resize(2 * GROUPS * steps, Tile::ZERO);
        self.partial.resize(columns, TileSums::ZERO);
        self.whole.clear();
        self.whole.resize(tiles * columns, TileSums::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KvShape, KvStorage, Page, Plan, QueryRow, Work, attend};
    use super::*;
    use crate::Machine;
    use crate::lanes::Scalar;
    use crate::tiles::PairsModel;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let bits = |i: usize| (i + 1 + seed * 65_537).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (0..count).map(|i| bits(i) as f32 / (1 << 22) as f32 - 2.0).collect()
    }

    fn pages(kv: KvShape, storage: KvStorage, positions: usize) -> Vec<Page> {
        let width = kv.num_kv_heads * kv.head_dim;
        let mut pages = vec![Page::new(kv, storage); positions.div_ceil(PAGE)];
        for position in 0..positions {
            let (keys, values) = (numbers(width, 3 * position), numbers(width, 5 * position + 1));
            pages[position / PAGE].put(position % PAGE, &keys, &values);
        }
        // Places that nothing was put into yet must not matter.
        for slot in positions % PAGE..PAGE {
            if let Some(last) = pages.last_mut().filter(|_| !positions.is_multiple_of(PAGE)) {
                last.put(slot, &vec![f32::NAN; width], &vec![f32::NAN; width]);
            }
        }
        pages
    }

    /// All bundles, one after the other.
    fn by_model(spec: &AttendSpec<'_>, rows: &[QueryRow<'_>], queries: &[f32], together: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; queries.len()];
        let (plan, shared) = (Plan::new(spec, rows, LANES), Shared::new(&mut out));
        let work = Work { spec, rows, queries, plan: &plan, out: &shared };
        for bundle in plan.bundles(together, rows, spec.num_heads / spec.kv.num_kv_heads) {
            for head in 0..spec.kv.num_kv_heads {
                let ranges = plan.tiles[bundle.clone()].iter();
                let tiles: Vec<_> =
                    ranges.map(|range| (work.tile(range, head), range.pages.clone())).collect();
                let work = &Together { tiles: &tiles, out: &shared };
                With { isa: Isa::SCALAR, work, tiles: PhantomData::<PairsModel> }.run::<Scalar>();
            }
        }
        out
    }

    fn apart(truth: &[f32], found: &[f32]) -> f64 {
        let square = |x: f32| f64::from(x) * f64::from(x);
        let error: f64 = truth.iter().zip(found).map(|(truth, found)| square(truth - found)).sum();
        error / truth.iter().map(|x| square(*x)).sum::<f64>()
    }

    fn check(
        kv: KvShape,
        group: usize,
        storage: KvStorage,
        rows: std::ops::Range<usize>,
        change: fn(&mut AttendSpec<'_>),
    ) {
        let pages = pages(kv, storage, rows.end);
        let num_heads = kv.num_kv_heads * group;
        let scale = 1.0 / (kv.head_dim as f32).sqrt();
        let mut spec =
            AttendSpec { kv, num_heads, scale, window: None, soft_cap: None, sinks: None, rounded: false };
        change(&mut spec);
        let what = format!("{kv:?}, {group} in a group, {storage}, {rows:?}");
        let rows: Vec<_> = rows.map(|position| QueryRow { pages: &pages, position }).collect();
        let queries = numbers(rows.len() * num_heads * kv.head_dim, 2);
        let mut truth = vec![0.0; queries.len()];
        attend(&Machine::new(Isa::SCALAR, 1), &spec, &rows, &queries, &mut truth);
        let model = by_model(&spec, &rows, &queries, TOGETHER);
        let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
        assert_eq!(
            bits(&model),
            bits(&by_model(&spec, &rows, &queries, 1)),
            "{what}: tiles of queries one by one"
        );
        assert!(apart(&truth, &model) < 1e-4, "{what}: {:e}", apart(&truth, &model));
        spec.rounded = true;
        for isa in Isa::available().into_iter().filter(|isa| isa.has_bf16_tiles()) {
            let found = [1, 2, 3].map(|threads| {
                let mut found = vec![f32::NAN; queries.len()];
                attend(&Machine::new(isa, threads), &spec, &rows, &queries, &mut found);
                found
            });
            // Powers of two are not those of the model.
            assert!(apart(&truth, &found[0]) < 1e-4, "{what} on {isa}: {:e}", apart(&truth, &found[0]));
            for other in &found[1..] {
                assert_eq!(bits(other), bits(&found[0]), "{what} on {isa}");
            }
        }
    }

    #[test]
    fn every_storage_and_head_in_tiles() {
        for storage in KvStorage::ALL {
            for head_dim in [24, 64, 80] {
                check(KvShape { num_kv_heads: 2, head_dim }, 3, storage, 58..75, |_| ());
            }
        }
        check(KvShape { num_kv_heads: 1, head_dim: 256 }, 4, KvStorage::F16, 0..20, |_| ());
    }

    #[test]
    fn windows_caps_and_sinks_in_tiles() {
        let kv = KvShape { num_kv_heads: 1, head_dim: 32 };
        check(kv, 2, KvStorage::F16, 100..200, |spec| spec.window = Some(70));
        check(kv, 2, KvStorage::F16, 60..140, |spec| spec.soft_cap = Some(0.5));
        check(kv, 2, KvStorage::F32, 0..80, |spec| spec.sinks = Some(&[-1.0, 2.0]));
    }
}
