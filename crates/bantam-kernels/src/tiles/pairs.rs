//! Products of weights with activations in tiles of BF16: sixteen outputs times up to sixteen rows.
//!
//! A tile of weights is sixteen outputs with sixteen pairs of inputs each, as they come out of their blocks; one of
//! activations is sixteen pairs of inputs with up to sixteen rows each. So few rows take tiles of few columns, and what
//! an instruction adds to a sum is the same for one row and for many (see [`super::bf16`]).

use bytemuck::{Pod, Zeroable};

use crate::Isa;
use crate::width::{LANES, Pair};

/// Sixteen lines of the cache: a tile of weights, `[outputs][pairs]`, or of activations, `[pairs][rows]`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[Pair; LANES]; LANES]);

impl Tile {
    pub(crate) const ZERO: Tile = Tile([[0; LANES]; LANES]);
}

/// Sums of sixteen outputs, each of sixteen rows.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct TileSums(pub(crate) [[f32; LANES]; LANES]);

impl TileSums {
    pub(crate) const ZERO: TileSums = TileSums([[0.0; LANES]; LANES]);
}

impl Default for TileSums {
    fn default() -> Self {
        TileSums::ZERO
    }
}

/// What multiplies them for one thread, from [`PairTiles::configure`] until it is dropped.
pub(crate) trait PairTiles: Sized {
    /// Makes ready for tiles of activations of so many rows, 1 to 16; `None` where `isa` has no such tiles.
    fn configure(isa: Isa, rows: usize) -> Option<Self>;

    /// Begins the sums of two tiles of weights with one of activations.
    fn begin(&mut self);

    /// Adds the products of 32 inputs to them; `pairs` is a tile of activations without gaps, `[16][rows]`.
    fn add(&mut self, weights: [&Tile; 2], pairs: &[Pair]);

    /// Gives them.
    fn end(&mut self, sums: &mut [TileSums; 2]);

    /// Forms all products of a row of tiles with two of activations, of sixteen rows each.
    fn strip(&mut self, first: &[Tile], activations: [&[Tile]; 2], sums: &mut [TileSums; 2]);

    /// Adds all products of two rows of tiles of weights with two of activations, of sixteen rows each, to `sums[weights][activations]`, or
    /// to zeros. The processor is at it still while it works on what follows.
    fn square(&mut self, weights: [&[Tile]; 2], activations: [&[Tile]; 2], sums: Option<&[[TileSums; 2]; 2]>);

    /// Waits for the sums of a square, and gives them.
    fn end_square(&mut self, sums: &mut [[TileSums; 2]; 2]);
}

/// Stands in for the tiles of other processors and systems.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) enum AmxPairs {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
impl PairTiles for AmxPairs {
    fn configure(_: Isa, _: usize) -> Option<Self> {
        None
    }
    fn begin(&mut self) {
        match *self {}
    }
    fn add(&mut self, _: [&Tile; 2], _: &[Pair]) {
        match *self {}
    }
    fn end(&mut self, _: &mut [TileSums; 2]) {
        match *self {}
    }
    fn strip(&mut self, _: &[Tile], _: [&[Tile]; 2], _: &mut [TileSums; 2]) {
        match *self {}
    }
    fn square(&mut self, _: [&[Tile]; 2], _: [&[Tile]; 2], _: Option<&[[TileSums; 2]; 2]>) {
        match *self {}
    }
    fn end_square(&mut self, _: &mut [[TileSums; 2]; 2]) {
        match *self {}
    }
}

/// What the instructions do, in plain Rust, for tests on processors without them.
#[cfg(test)]
pub(crate) struct PairsModel {
    rows: usize,
    sums: [TileSums; 2],
    square: [[TileSums; 2]; 2],
}

#[cfg(test)]
impl PairTiles for PairsModel {
    fn configure(_: Isa, rows: usize) -> Option<Self> {
        Some(PairsModel { rows, sums: [TileSums::ZERO; 2], square: [[TileSums::ZERO; 2]; 2] })
    }

    fn begin(&mut self) {
        self.sums = [TileSums::ZERO; 2];
    }

    fn add(&mut self, weights: [&Tile; 2], pairs: &[Pair]) {
        for (weights, sums) in weights.into_iter().zip(&mut self.sums) {
            for (weights, sums) in weights.0.iter().zip(&mut sums.0) {
                for (row, sum) in sums[..self.rows].iter_mut().enumerate() {
                    let column = pairs[row..].iter().step_by(self.rows).copied();
                    *sum = super::bf16::added(*sum, weights, column);
                }
            }
        }
    }

    fn end(&mut self, sums: &mut [TileSums; 2]) {
        *sums = self.sums;
    }

    fn strip(&mut self, first: &[Tile], activations: [&[Tile]; 2], sums: &mut [TileSums; 2]) {
        let mut all = [[TileSums::ZERO; 2]; 2];
        self.square([first, first], activations, None);
        self.end_square(&mut all);
        *sums = all[0];
    }

    fn square(
        &mut self,
        weights: [&[Tile]; 2],
        activations: [&[Tile]; 2],
        sums: Option<&[[TileSums; 2]; 2]>,
    ) {
        assert_eq!(self.rows, LANES);
        for (j, activations) in activations.into_iter().enumerate() {
            self.sums = [0, 1].map(|i| sums.map_or(TileSums::ZERO, |sums| sums[i][j]));
            for (step, tile) in activations.iter().enumerate() {
                self.add(weights.map(|weights| &weights[step]), tile.0.as_flattened());
            }
            for (square, whole) in self.square.iter_mut().zip(&self.sums) {
                square[j] = *whole;
            }
        }
    }

    fn end_square(&mut self, sums: &mut [[TileSums; 2]; 2]) {
        *sums = self.square;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::AmxPairs;

    fn tile(seed: usize) -> Tile {
        let number = |i: usize| half::bf16::from_f32(((i * 37 + seed) as f32 * 0.61).sin()).to_bits();
        let pair = |i: usize| Pair::from(number(2 * i)) | Pair::from(number(2 * i + 1)) << 16;
        Tile(std::array::from_fn(|line| std::array::from_fn(|i| pair(line * LANES + i))))
    }

    fn bits(sums: &[TileSums; 2]) -> Vec<u32> {
        sums.iter().flat_map(|sums| sums.0).flatten().map(f32::to_bits).collect()
    }

    /// Sums of three steps of some rows; those behind the last row are anything.
    fn few<T: PairTiles>(mut tiles: T, rows: usize, all: &[Tile]) -> [TileSums; 2] {
        let mut sums = [TileSums::ZERO; 2];
        tiles.begin();
        for tile in all {
            let pairs: Vec<Pair> = tile.0.iter().flat_map(|line| &line[..rows]).copied().collect();
            tiles.add([tile, &all[0]], &pairs);
        }
        tiles.end(&mut sums);
        for sums in sums.iter_mut().flat_map(|sums| &mut sums.0) {
            sums[rows..].fill(0.0);
        }
        sums
    }

    #[test]
    fn pairs_in_tiles_and_their_model_have_the_same_bits() {
        let all: Vec<Tile> = (0..3).map(tile).collect();
        for isa in Isa::available() {
            for rows in 1..=LANES {
                let (Some(real), Some(model)) =
                    (AmxPairs::configure(isa, rows), PairsModel::configure(isa, rows))
                else {
                    continue;
                };
                let model = few(model, rows, &all);
                assert!(bits(&few(real, rows, &all)) == bits(&model), "{isa}, {rows} rows");
            }
            let (Some(mut real), Some(mut model)) =
                (AmxPairs::configure(isa, LANES), PairsModel::configure(isa, LANES))
            else {
                continue;
            };
            let (mut found, mut truth) = ([[TileSums::ZERO; 2]; 2], [[TileSums::ZERO; 2]; 2]);
            real.strip(&all[..2], [&all[1..], &all[..2]], &mut found[0]);
            model.strip(&all[..2], [&all[1..], &all[..2]], &mut truth[0]);
            assert!(bits(&found[0]) == bits(&truth[0]), "{isa}");
            for begins in [true, false] {
                let factors = ([&all[..2], &all[1..]], [&all[1..], &all[..2]]);
                real.square(factors.0, factors.1, (!begins).then_some(&found));
                real.end_square(&mut found);
                model.square(factors.0, factors.1, (!begins).then_some(&truth));
                model.end_square(&mut truth);
            }
            assert!(found.iter().map(bits).eq(truth.iter().map(bits)), "{isa}");
        }
    }
}
