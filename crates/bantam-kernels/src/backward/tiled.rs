//! Sums of products of pairs of BF16 in tiles, up to 32 rows by 32 columns at a time.
//!
//! What is held for lanes is what tiles are loaded from: a strip of second factors line by line, rows of first ones at
//! their distance. Sums stay in tiles for all terms of a block. The instruction takes 32 terms at a time, which follow
//! from the block, and blocks from the number of terms: bits depend on neither threads nor the place among rows and columns.

use std::ops::Range;

use super::sums::{Add, DEPTH, Factors, Pairs, Part};
use crate::lanes::{Bf16Lanes, LANES, Pair};
use crate::tiles::{Bf16Square, Bf16Tiles};

/// By tiles of one thread.
pub(super) struct InTiles<T>(pub(super) T);

impl<L: Bf16Lanes, T: Bf16Tiles> Add<L, Pairs> for InTiles<T> {
    const TOGETHER: usize = LANES;

    #[inline(always)]
    fn add(
        &mut self,
        part: &Part<'_>,
        (firsts, seconds): Factors<'_, Pair>,
        depth: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let steps = depth.div_ceil(LANES);
        // The second factors of two strips, 16 KiB, stay in the first-level cache while all rows pass.
        for (seconds, left) in seconds.chunks(2 * DEPTH).zip(columns.clone().step_by(SIDE)) {
            for top in rows.clone().step_by(SIDE) {
                let factors = Bf16Square { firsts: &firsts[top - rows.start..], seconds, steps };
                let rows = top..(top + SIDE).min(rows.end);
                self.add_square(part, factors, rows, left..(left + SIDE).min(columns.end));
            }
        }
    }
}

impl<T: Bf16Tiles> InTiles<T> {
    /// Adds to up to 32 rows and columns, where they lie if these are whole tiles.
    #[inline(always)]
    fn add_square(
        &mut self,
        part: &Part<'_>,
        factors: Bf16Square<'_, DEPTH>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let (out, width) = (part.sums.out, part.sums.width);
        let tiles = [rows.len().div_ceil(LANES), columns.len().div_ceil(LANES)];
        if rows.len().is_multiple_of(LANES) && columns.len().is_multiple_of(LANES) {
            let sums = out.rows(rows.start * width + columns.start, rows.len(), columns.len(), width);
            // SAFETY: `rows` found these sums there; they belong to this thread's part, and no slice of them is in use.
            return unsafe { self.0.add(factors, tiles, sums, width) };
        }
        let mut square = Square([[0.0; SIDE]; SIDE]);
        // SAFETY: these sums belong to this thread's part, and each slice is out of use before the next one is made.
        let part_of = |row: usize| unsafe { out.slice_mut(row * width + columns.start, columns.len()) };
        for (row, square) in rows.clone().zip(&mut square.0) {
            square[..columns.len()].copy_from_slice(part_of(row));
        }
        // SAFETY: the square has the rows and columns of two by two tiles, and is this function's own.
        unsafe { self.0.add(factors, tiles, square.0.as_mut_ptr().cast(), SIDE) };
        for (row, square) in rows.zip(&square.0) {
            part_of(row).copy_from_slice(&square[..columns.len()]);
        }
    }
}

/// Rows and columns of two tiles.
const SIDE: usize = 2 * LANES;

/// Sums of tiles of which not all are there.
#[repr(align(64))]
struct Square([[f32; SIDE]; SIDE]);

#[cfg(test)]
mod tests {
    use super::super::sums::{Second, Sums, spoil};
    use super::super::{First, Precision};
    use super::*;
    use crate::lanes::Scalar;
    use crate::matmul::{Layout, Weights};
    use crate::share::Shared;
    use crate::tiles::{AmxBf16, Bf16Model};
    use crate::{Isa, Machine, Storage};

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 37 + seed) as f32 * 0.61).sin() * (1.0 + (i % 7) as f32);
        (0..count).map(number).collect()
    }

    fn transposed(x: &[f32], rows: usize) -> Vec<f32> {
        let width = x.len() / rows;
        (0..x.len()).map(|i| x[i % rows * width + i / rows]).collect()
    }

    fn rounded(x: f32) -> f64 {
        half::bf16::from_f32(x).to_f64()
    }

    /// The factors of a product and the sums it is added to.
    struct Product {
        shape: [usize; 3],
        first: Vec<f32>,
        second: Vec<f32>,
        start: Vec<f32>,
    }

    impl Product {
        fn new(shape: [usize; 3]) -> Self {
            let [rows, terms, width] = shape;
            let (first, second) = (numbers(rows * terms, 1), numbers(terms * width, 2));
            Product { shape, first, second, start: numbers(rows * width, 3) }
        }

        /// In f64, of rounded factors, with a bound on the error of each: a product and a sum pass sixteen fused
        /// multiply-adds, one addition, and one for each 32 terms, of which there are at most ten.
        fn truth(&self) -> Vec<(f64, f64)> {
            let [_, terms, width] = self.shape;
            let sum = |i: usize| {
                let product = |t: usize| {
                    rounded(self.first[i / width * terms + t]) * rounded(self.second[t * width + i % width])
                };
                let start = f64::from(self.start[i]);
                let size = start.abs() + (0..terms).map(|t| product(t).abs()).sum::<f64>();
                (start + (0..terms).map(product).sum::<f64>(), 30.0 * size / f64::from(1 << 24))
            };
            (0..self.start.len()).map(sum).collect()
        }

        /// Has sums formed of each layout of the factors.
        fn each(&self, add: impl Fn(&Sums<'_>)) -> Vec<Vec<f32>> {
            let [rows, terms, width] = self.shape;
            let across = transposed(&self.first, rows);
            let bytes = [self.second.clone(), transposed(&self.second, terms)]
                .map(|numbers| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
            let of = |[outputs, inputs]: [usize; 2], bytes| Weights {
                storage: Storage::F32,
                layout: Layout::OutIn,
                outputs,
                inputs,
                bytes,
            };
            let seconds = [
                Second::Rows(&self.second),
                Second::Weights(of([terms, width], &bytes[0])),
                Second::Across(of([width, terms], &bytes[1])),
            ];
            let mut found = Vec::new();
            for first in [First::Rows(&self.first), First::Columns(&across)] {
                for second in seconds {
                    let mut sums = self.start.clone();
                    let (precision, out) = (Precision::Bf16, &Shared::new(&mut sums));
                    add(&Sums { first, second, rows, terms, width, precision, out });
                    found.push(sums);
                }
            }
            found
        }

        fn assert_near(&self, what: &str, found: &[f32]) {
            for (i, (found, (truth, bound))) in found.iter().zip(self.truth()).enumerate() {
                let error = (f64::from(*found) - truth).abs();
                assert!(error <= bound, "{what}, {:?}, number {i}: {found} and not {truth}", self.shape);
            }
        }

        /// Asserts that all layouts give the same bits on one thread and on two, and that they are near.
        fn check(&self, what: &str, add: impl Fn(&Sums<'_>, usize)) {
            spoil();
            let found = [1, 2].map(|threads| self.each(|sums| add(sums, threads))).concat();
            let bits = |found: &[f32]| found.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
            self.assert_near(what, &found[0]);
            for other in &found[1..] {
                assert!(bits(other) == bits(&found[0]), "{what}, {:?}", self.shape);
            }
        }
    }

    fn by_model(sums: &Sums<'_>, threads: usize) {
        let machine = Machine::new(Isa::SCALAR, threads);
        sums.share(&machine, |rows, columns| {
            let part = Part { sums: *sums, isa: Isa::SCALAR, rows, columns };
            part.blocks::<Scalar, Pairs, _>(&mut InTiles(Bf16Model));
        });
    }

    fn check(shape: [usize; 3]) {
        let product = Product::new(shape);
        product.check("the model", by_model);
        let real = |isa: &Isa| AmxBf16::configure(*isa).is_some();
        for isa in Isa::available().into_iter().filter(real) {
            product.check(isa.name(), |sums, threads| sums.add(&Machine::new(isa, threads)));
        }
    }

    #[test]
    fn every_number_of_rows_in_tiles_of_bf16() {
        (1..=40).for_each(|rows| check([rows, 1 + rows * 67 % 300, 1 + rows * 29 % 70]));
    }

    #[test]
    fn every_width_in_tiles_of_bf16() {
        (1..=70).for_each(|width| check([1 + width * 23 % 40, 1 + width * 31 % 100, width]));
    }

    #[test]
    fn every_number_of_terms_in_tiles_of_bf16() {
        (1..=300).for_each(|terms| check([1 + terms * 7 % 33, terms, 1 + terms * 11 % 35]));
    }

    #[test]
    fn blocks_of_rows_columns_and_terms_in_tiles_of_bf16() {
        // More rows and columns than are held at a time, and whole tiles of either.
        for shape in [[200, 40, 17], [3, 257, 530], [64, 256, 64], [48, 32, 48]] {
            check(shape);
        }
    }
}
