//! Causal attention over keys and values in pages.
//!
//! A page holds [`PAGE`] positions of one layer of one sequence. Keys lie transposed, so that sixteen
//! scores are formed together without sums within a register; values lie as they come. Each page
//! gives a partial result (greatest score, sum, weighted values), and the partial results are merged
//! in the order of the pages (Milakov and Gimelshein, 2018): the order of all sums follows from the
//! positions alone, however the work is divided. It is divided in two ways, which may come together:
//!
//! * Queries that share keys are taken in tiles, so that a page is read and widened once for several.
//! * Where there are fewer tiles than threads could share, each page of a tile is an item of its own,
//!   and the partial results are merged in a second phase (as "flash decoding" does).

mod coded;
mod head;
mod page;
mod tile;
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "other processors and systems have no tiles of BF16")
)]
mod tiled;

use std::cell::RefCell;
use std::ops::Range;

pub use page::{KvShape, KvStorage, PAGE, Page, append};

use crate::Machine;
use crate::lanes::{LANES, dispatch};
use crate::machine::Isa;
use crate::share::Shared;
use tile::{MergePage, OnePage, QUERIES_MAX, Tile, Total, queries_max};

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
    /// Whether products of many queries may be rounded to BF16, as they are where there are tiles of it ([`Isa::has_bf16_tiles`]); else they
    /// are in f32.
    pub rounded: bool,
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
    let plan = Plan::new(spec, rows, queries_max(machine.isa()));
    let shared = Shared::new(out);
    if spec.rounded && machine.isa().has_bf16_tiles() {
        let plan = Plan::new(spec, rows, LANES);
        // Fewer queries do not pay for the rounding of pages.
        if plan.tiles.iter().map(|tile| tile.count).sum::<usize>() >= plan.tiles.len() * LANES / 2 {
            let work = Work { spec, rows, queries, plan: &plan, out: &shared };
            return work.tiles_together(machine);
        }
    }
    let work = Work { spec, rows, queries, plan: &plan, out: &shared };
    if plan.tiles.len() * kv_heads >= 2 * machine.threads() || plan.pages_max == 1 {
        work.whole_tiles(machine);
    } else {
        work.page_by_page(machine);
    }
}

/// How the queries of one head of keys are cut into tiles; the same for all heads.
struct Plan {
    tiles: Vec<TileRange>,
    /// Pages that a tile sees, at most.
    pages_max: usize,
}

/// Queries `first..first + count` of one head of keys, counted over all rows, and the pages that one of them sees.
#[derive(Clone)]
struct TileRange {
    first: usize,
    count: usize,
    pages: Range<usize>,
}

impl Plan {
    fn new(spec: &AttendSpec<'_>, rows: &[QueryRow<'_>], queries_max: usize) -> Self {
        let group = spec.num_heads / spec.kv.num_kv_heads;
        let mut tiles: Vec<TileRange> = Vec::new();
        for query in 0..rows.len() * group {
            let row = &rows[query / group];
            let seen = spec.seen_by(row.position);
            let pages = seen.start / PAGE..(seen.end - 1) / PAGE + 1;
            match tiles.last_mut() {
                Some(tile)
                    if tile.count < queries_max
                        && std::ptr::eq(rows[tile.first / group].pages, row.pages)
                        && pages.start < tile.pages.end =>
                {
                    tile.count += 1;
                    tile.pages = tile.pages.start.min(pages.start)..tile.pages.end.max(pages.end);
                }
                _ => tiles.push(TileRange { first: query, count: 1, pages }),
            }
        }
        let pages_max = tiles.iter().map(|tile| tile.pages.len()).max().unwrap_or(0);
        Plan { tiles, pages_max }
    }

    /// Ranges of up to `together` tiles of one sequence.
    fn bundles(&self, together: usize, rows: &[QueryRow<'_>], group: usize) -> Vec<Range<usize>> {
        let pages = |tile: usize| rows[self.tiles[tile].first / group].pages;
        let mut bundles: Vec<Range<usize>> = Vec::new();
        for tile in 0..self.tiles.len() {
            match bundles.last_mut() {
                Some(last) if last.len() < together && std::ptr::eq(pages(last.start), pages(tile)) => {
                    last.end += 1
                }
                _ => bundles.push(tile..tile + 1),
            }
        }
        bundles
    }
}

impl AttendSpec<'_> {
    /// The positions that a query sees.
    fn seen_by(&self, position: usize) -> Range<usize> {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))..position + 1
    }
}

/// One call of [`attend`].
struct Work<'a> {
    spec: &'a AttendSpec<'a>,
    rows: &'a [QueryRow<'a>],
    queries: &'a [f32],
    plan: &'a Plan,
    out: &'a Shared<'a, f32>,
}

impl Work<'_> {
    fn tile(&self, range: &TileRange, head: usize) -> Tile<'_> {
        Tile {
            spec: self.spec,
            rows: self.rows,
            queries: self.queries,
            head,
            first: range.first,
            count: range.count,
        }
    }

    /// Each thread takes whole tiles and merges their pages as they come.
    fn whole_tiles(&self, machine: &Machine) {
        let (heads, count) = (self.spec.kv.num_kv_heads, self.plan.tiles.len());
        machine.split(count * heads, 1, |items| {
            for item in items {
                // Late tiles see more pages: first ones and last ones in turn give all threads the same.
                let place = item / heads;
                let place = if place % 2 == 0 { place / 2 } else { count - 1 - place / 2 };
                let range = &self.plan.tiles[place];
                self.whole_tile(machine.isa(), self.tile(range, item % heads), range.pages.clone());
            }
        });
    }

    fn whole_tile(&self, isa: Isa, tile: Tile<'_>, pages: Range<usize>) {
        let queries = &tile.transposed();
        let mut values = vec![0.0; tile.filled() * self.spec.kv.padded_dim()];
        let mut totals = [Total::EMPTY; QUERIES_MAX];
        let mut merged = Merged::new(&tile);
        for page in pages.clone() {
            let next = (page + 1).min(pages.end - 1);
            dispatch(isa, OnePage { tile, queries, page, next, values: &mut values, totals: &mut totals });
            merged.add(isa, &values, &totals);
        }
        merged.finish(self.out);
    }

    /// Each page of a tile on its own; then the partial results are merged.
    fn page_by_page(&self, machine: &Machine) {
        let parts: Vec<Part> = self.parts();
        let tiles: Vec<Prepared<'_>> = self.prepared();
        let filled = tiles.iter().map(|of| of.tile.filled()).max().unwrap_or(0);
        let stride = filled * self.spec.kv.padded_dim();
        let mut partials = Partials::take(parts.len(), stride);
        let (of_values, of_totals) = (Shared::new(&mut partials.values), Shared::new(&mut partials.totals));
        machine.split(parts.len(), 1, |items| {
            for item in items {
                let (part, next) = (&parts[item], parts.get(item + 1));
                // SAFETY: each item has its own place.
                let (values, totals) =
                    unsafe { (of_values.slice_mut(item * stride, stride), of_totals.slice_mut(item, 1)) };
                let (Prepared { tile, queries }, page) = (&tiles[part.place], part.page);
                let next = next.filter(|next| next.place == part.place).map_or(page, |next| next.page);
                let totals = &mut totals[0];
                dispatch(machine.isa(), OnePage { tile: *tile, queries, page, next, values, totals });
            }
        });
        machine.split(tiles.len(), 1, |items| {
            for place in items {
                let first = parts.partition_point(|part| part.place < place);
                let count = parts[first..].partition_point(|part| part.place == place);
                let values = &partials.values[first * stride..][..count * stride];
                let mut merged = Merged::new(&tiles[place].tile);
                for (values, totals) in values.chunks_exact(stride).zip(&partials.totals[first..]) {
                    merged.add(machine.isa(), values, totals);
                }
                merged.finish(self.out);
            }
        });
        partials.put_back();
    }

    /// Tiles of BF16: each thread takes some tiles of queries of a head, for which a page is rounded once.
    fn tiles_together(&self, machine: &Machine) {
        let (heads, count) = (self.spec.kv.num_kv_heads, self.plan.tiles.len());
        let together = (count * heads).div_ceil(4 * machine.threads()).clamp(1, tiled::TOGETHER);
        let bundles = self.plan.bundles(together, self.rows, self.spec.num_heads / heads);
        machine.split(bundles.len() * heads, 1, |items| {
            for item in items {
                // As in `whole_tiles`.
                let place = item / heads;
                let place = if place % 2 == 0 { place / 2 } else { bundles.len() - 1 - place / 2 };
                let ranges = &self.plan.tiles[bundles[place].clone()];
                let tiles: Vec<_> = ranges
                    .iter()
                    .map(|range| (self.tile(range, item % heads), range.pages.clone()))
                    .collect();
                let together = tiled::Together { tiles: &tiles, out: self.out };
                tiled::run(machine.isa(), &together);
            }
        });
    }

    /// The tiles of each head, in this order of tiles and heads.
    fn prepared(&self) -> Vec<Prepared<'_>> {
        let heads = 0..self.spec.kv.num_kv_heads;
        let of_range = |range| heads.clone().map(move |head| self.tile(range, head));
        let tiles = self.plan.tiles.iter().flat_map(of_range);
        tiles.map(|tile| Prepared { queries: tile.transposed(), tile }).collect()
    }

    /// One for each page of each tile of each head, in this order of tiles, heads and pages.
    fn parts(&self) -> Vec<Part> {
        let heads = self.spec.kv.num_kv_heads;
        let of_tile = |(tile, range): (usize, &TileRange)| {
            let places = tile * heads..(tile + 1) * heads;
            let pages = range.pages.clone();
            places.flat_map(move |place| pages.clone().map(move |page| Part { place, page }))
        };
        self.plan.tiles.iter().enumerate().flat_map(of_tile).collect()
    }
}

/// A tile of a head, and its queries as [`Tile::transposed`] has them.
struct Prepared<'a> {
    tile: Tile<'a>,
    queries: Vec<f32>,
}

/// What comes of single pages. A thread keeps the memory from one call to the next, since there is one for each layer of each token.
#[derive(Default)]
struct Partials {
    /// `[parts][filled][padded_dim]`
    values: Vec<f32>,
    /// `[parts]`
    totals: Vec<[Total; QUERIES_MAX]>,
}

thread_local! {
    static PARTIALS: RefCell<Partials> = RefCell::default();
}

impl Partials {
    /// Room for so many parts; what is in it is anything.
    fn take(parts: usize, stride: usize) -> Self {
        let mut partials = PARTIALS.with(RefCell::take);
        partials.values.resize(partials.values.len().max(parts * stride), 0.0);
        partials.totals.resize(partials.totals.len().max(parts), [Total::EMPTY; QUERIES_MAX]);
        partials
    }

    fn put_back(self) {
        PARTIALS.with(|kept| kept.replace(self));
    }
}

/// The pages of a tile so far.
struct Merged<'a> {
    tile: Tile<'a>,
    /// `[count][padded_dim]`
    values: Vec<f32>,
    totals: [Total; QUERIES_MAX],
}

impl<'a> Merged<'a> {
    fn new(tile: &Tile<'a>) -> Self {
        let values = vec![0.0; tile.count * tile.spec.kv.padded_dim()];
        Merged { tile: *tile, values, totals: tile.beginning() }
    }

    fn add(&mut self, isa: Isa, values: &[f32], totals: &[Total; QUERIES_MAX]) {
        let (count, stride) = (self.tile.count, self.tile.spec.kv.padded_dim());
        let (whole, wholes) = (&mut self.values[..], &mut self.totals);
        dispatch(isa, MergePage { count, stride, whole, wholes, values, totals });
    }

    fn finish(mut self, out: &Shared<'_, f32>) {
        self.tile.finish(&mut self.values, &self.totals, out);
    }
}

/// A page of a tile of a head.
struct Part {
    /// Of the tile of the head, among the prepared ones.
    place: usize,
    page: usize,
}
