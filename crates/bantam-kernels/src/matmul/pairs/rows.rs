//! Rows of activations in pairs of BF16.

use super::super::widen::{Number, Single};
use crate::Machine;
use crate::lanes::{Bf16Kernel, Bf16Lanes, LANES, Pair, RUN, with_bf16_tiles};
use crate::share::Shared;
use crate::tiles::Tile;

/// Rows of activations, rounded to BF16 and laid out for tiles, `[rows / 16][width / 32][16 pairs][16 rows]`; up to sixteen
/// rows without gaps, `[width / 32][16 pairs][rows]`. What is behind the last activation or row is zero.
#[derive(Default)]
pub struct PairRows {
    rows: usize,
    width: usize,
    tiles: Vec<Tile>,
}

impl PairRows {
    /// No rows yet.
    pub fn new() -> Self {
        PairRows::default()
    }

    /// Takes rows of `width` activations, in place of those before.
    ///
    /// # Panics
    ///
    /// Where rows are not whole, or the machine has no tiles of BF16 ([`crate::Isa::has_bf16_tiles`]).
    pub fn fill(&mut self, machine: &Machine, x: &[f32], width: usize) {
        assert!(x.len().is_multiple_of(width.max(1)), "rows of another width");
        self.fit(x.len() / width.max(1), width);
        let isa = machine.isa();
        if self.rows <= LANES {
            let pairs: &mut [Pair] = bytemuck::cast_slice_mut(&mut self.tiles);
            let filled = with_bf16_tiles(isa, Few { x, width, rows: self.rows, pairs });
            assert!(filled.is_some(), "{isa} has no tiles of BF16");
            return;
        }
        let (steps, count, rows) = (self.steps(), self.tiles.len(), self.rows);
        let tiles = Shared::new(&mut self.tiles);
        machine.split(count, 8, |range| {
            // SAFETY: the ranges of the threads do not overlap.
            let tiles = unsafe { tiles.slice_mut(range.start, range.len()) };
            let filled = with_bf16_tiles(isa, Many { x, width, rows, steps, first: range.start, tiles });
            assert!(filled.is_some(), "{isa} has no tiles of BF16");
        });
    }

    /// Rows in plain Rust, for tests on processors without tiles.
    #[cfg(test)]
    pub(super) fn of_model(x: &[f32], width: usize) -> Self {
        let mut of = PairRows::new();
        of.fit(x.len() / width, width);
        let (rows, steps) = (of.rows, of.steps());
        if rows <= LANES {
            Few { x, width, rows, pairs: bytemuck::cast_slice_mut(&mut of.tiles) }
                .run::<crate::lanes::Scalar>();
        } else {
            Many { x, width, rows, steps, first: 0, tiles: &mut of.tiles }.run::<crate::lanes::Scalar>();
        }
        of
    }

    /// Room for so many rows.
    fn fit(&mut self, rows: usize, width: usize) {
        (self.rows, self.width) = (rows, width);
        let tiles =
            if rows <= LANES { (self.steps() * rows).div_ceil(LANES) } else { self.groups() * self.steps() };
        self.tiles.resize(tiles, Tile::ZERO);
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Activations in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of a tile.
    pub(super) fn columns(&self) -> usize {
        self.rows.clamp(1, LANES)
    }

    /// Tiles that a row passes through.
    pub(super) fn steps(&self) -> usize {
        self.width.div_ceil(RUN)
    }

    /// Sixteens of rows, an even number of them, of many rows.
    pub(super) fn groups(&self) -> usize {
        self.rows.div_ceil(2 * LANES) * 2
    }

    /// A tile of few rows.
    #[inline(always)]
    pub(super) fn step(&self, step: usize) -> &[Pair] {
        let tile = LANES * self.rows;
        let pairs: &[Pair] = bytemuck::cast_slice(&self.tiles);
        &pairs[step * tile..][..tile]
    }

    /// The tiles of sixteen of many rows.
    #[inline(always)]
    pub(super) fn group(&self, group: usize) -> &[Tile] {
        &self.tiles[group * self.steps()..][..self.steps()]
    }
}

/// Up to sixteen rows.
struct Few<'a> {
    x: &'a [f32],
    width: usize,
    rows: usize,
    /// `[width / 32][16][rows]`
    pairs: &'a mut [Pair],
}

impl Bf16Kernel for Few<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Bf16Lanes>(self) {
        for (row, x) in self.x.chunks_exact(self.width.max(1)).enumerate() {
            for (step, x) in x.chunks(RUN).enumerate() {
                let mut pairs = [0; LANES];
                round::<L, Single>(bytemuck::cast_slice(x), &mut pairs);
                let tile = &mut self.pairs[step * LANES * self.rows..][..LANES * self.rows];
                for (line, pair) in tile.chunks_exact_mut(self.rows).zip(pairs) {
                    line[row] = pair;
                }
            }
        }
    }
}

/// Some tiles of more rows.
struct Many<'a> {
    x: &'a [f32],
    width: usize,
    rows: usize,
    steps: usize,
    /// Of the tiles, among all.
    first: usize,
    tiles: &'a mut [Tile],
}

impl Bf16Kernel for Many<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Bf16Lanes>(self) {
        for (index, tile) in self.tiles.iter_mut().enumerate() {
            let (group, step) = ((self.first + index) / self.steps, (self.first + index) % self.steps);
            let (begin, end) = (step * RUN, (step * RUN + RUN).min(self.width));
            for (lane, pairs) in tile.0.iter_mut().enumerate() {
                let row = group * LANES + lane;
                let x = if row < self.rows { &self.x[row * self.width..][begin..end] } else { &[] };
                round::<L, Single>(bytemuck::cast_slice(x), pairs);
            }
            L::turn(&mut tile.0);
        }
    }
}

/// Rounds up to 32 numbers of a row, zeros behind the last.
#[inline(always)]
pub(super) fn round<L: Bf16Lanes, N: Number>(numbers: &[N], pairs: &mut [Pair; LANES]) {
    let (low, high) = match numbers.as_chunks() {
        ([low, high], _) => (N::load::<L>(low), N::load(high)),
        ([low], rest) => (N::load(low), N::load_part(rest)),
        (_, rest) => (N::load_part(rest), L::splat(0.0)),
    };
    L::pairs_placed(low, high, pairs);
}
