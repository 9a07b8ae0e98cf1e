//! Products of tiles of BF16: sixteen rows times sixteen columns of up to 32 terms in one instruction.
//!
//! A tile of first factors is sixteen rows of sixteen pairs of terms; one of second factors sixteen pairs of terms of sixteen
//! columns. AMX-BF16 adds up the even terms and the odd ones apart, each by fused multiply-adds from zero on, and then
//! the sum of both to the sum that was there; nothing is rounded to other than the nearest, and small numbers below
//! the normal ones are zeros.

use crate::Isa;
use crate::width::{LANES, Pair};

/// Factors of up to two tiles of rows and two of columns.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Square<'a, const DEPTH: usize> {
    /// Pairs of terms, row by row.
    pub(crate) firsts: &'a [[Pair; DEPTH]],
    /// Those of each of sixteen columns, `[columns / 16][DEPTH][16]`.
    pub(crate) seconds: &'a [[Pair; LANES]],
    /// How many sixteens of pairs there are, in which zeros stand behind the last one, on both sides.
    pub(crate) steps: usize,
}

/// What multiplies tiles of BF16 for one thread, from [`Bf16Tiles::configure`] until it is dropped.
pub(crate) trait Bf16Tiles: Sized {
    /// Makes ready; `None` where `isa` has no such tiles.
    fn configure(isa: Isa) -> Option<Self>;

    /// Adds all products to `[rows * 16][columns * 16]` sums, one or two tiles either way, whose rows begin `width` numbers
    /// behind each other.
    ///
    /// # Safety
    ///
    /// These sums are there to be read and written, and nobody else does either meanwhile.
    unsafe fn add<const DEPTH: usize>(
        &mut self,
        factors: Bf16Square<'_, DEPTH>,
        tiles: [usize; 2],
        sums: *mut f32,
        width: usize,
    );
}

impl<const DEPTH: usize> Bf16Square<'_, DEPTH> {
    /// Asserts that there are as many as some tiles are made of.
    #[inline(always)]
    pub(super) fn check(&self, [rows, columns]: [usize; 2]) {
        assert!((1..=2).contains(&rows) && (1..=2).contains(&columns), "one or two tiles");
        assert!(self.firsts.len() >= rows * LANES && self.seconds.len() >= columns * DEPTH, "few factors");
        assert!((1..=DEPTH / LANES).contains(&self.steps), "some sixteens of pairs");
    }
}

/// Stands in for the tiles of other processors and systems.
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) enum AmxBf16 {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
impl Bf16Tiles for AmxBf16 {
    fn configure(_: Isa) -> Option<Self> {
        None
    }
    unsafe fn add<const DEPTH: usize>(
        &mut self,
        _: Bf16Square<'_, DEPTH>,
        _: [usize; 2],
        _: *mut f32,
        _: usize,
    ) {
        match *self {}
    }
}

/// What the instruction does, in plain Rust, for tests on processors without it.
#[cfg(test)]
pub(crate) struct Bf16Model;

#[cfg(test)]
impl Bf16Tiles for Bf16Model {
    fn configure(_: Isa) -> Option<Self> {
        Some(Bf16Model)
    }

    unsafe fn add<const DEPTH: usize>(
        &mut self,
        factors: Bf16Square<'_, DEPTH>,
        tiles: [usize; 2],
        sums: *mut f32,
        width: usize,
    ) {
        factors.check(tiles);
        let [rows, columns] = tiles.map(|tiles| tiles * LANES);
        for (row, column) in (0..rows * columns).map(|i| (i / columns, i % columns)) {
            // SAFETY: by the caller's promise.
            let sum = unsafe { &mut *sums.add(row * width + column) };
            let strip = &factors.seconds[column / LANES * DEPTH..];
            for step in 0..factors.steps {
                let pairs = step * LANES..(step + 1) * LANES;
                let firsts = &factors.firsts[row][pairs.clone()];
                *sum = added(*sum, firsts, strip[pairs].iter().map(|pairs| pairs[column % LANES]));
            }
        }
    }
}

/// Intel's manual, volume 2, TDPBF16PS.
#[cfg(test)]
pub(super) fn added(sum: f32, firsts: &[Pair], seconds: impl Iterator<Item = Pair>) -> f32 {
    let flushed = |x: f32| if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
    let wide = |pair: Pair| [pair << 16, pair & 0xffff_0000].map(|bits| flushed(f32::from_bits(bits)));
    let mut apart = [0.0_f32; 2];
    for (first, second) in firsts.iter().zip(seconds) {
        for (sum, (x, y)) in apart.iter_mut().zip(wide(*first).into_iter().zip(wide(second))) {
            *sum = flushed(x.mul_add(y, *sum));
        }
    }
    flushed(flushed(sum) + flushed(apart[0] + apart[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::AmxBf16;

    const DEPTH: usize = 48;
    const WIDTH: usize = 37;

    /// Whole numbers in pairs, whose sums are exact.
    fn pairs<const N: usize>(rows: usize, seed: usize) -> Vec<[Pair; N]> {
        let number = |i: usize| f32::from(i.wrapping_mul(2_654_435_761) as u8 as i8).to_bits() >> 16;
        let pair = |i: usize| number(2 * i + seed) | number(2 * i + seed + 1) << 16;
        (0..rows).map(|row| std::array::from_fn(|i| pair(row * N + i))).collect()
    }

    /// The second factors of a column, or the first ones of a row.
    fn halves(pair: Pair) -> [f32; 2] {
        [f32::from_bits(pair << 16), f32::from_bits(pair & 0xffff_0000)]
    }

    fn check<T: Bf16Tiles>(tiles: &mut T, [rows, columns]: [usize; 2], steps: usize) {
        let (firsts, seconds) = (pairs::<DEPTH>(rows * LANES, 1), pairs::<LANES>(columns * DEPTH, 2));
        let start: Vec<f32> = (0..2 * LANES * WIDTH).map(|i| i as f32).collect();
        let mut found = start.clone();
        let factors = Bf16Square { firsts: &firsts, seconds: &seconds, steps };
        // SAFETY: 32 rows of `WIDTH` numbers are there, more than 32, and borrowed by this test alone.
        unsafe { tiles.add(factors, [rows, columns], found.as_mut_ptr(), WIDTH) };
        for (i, found) in found.iter().enumerate() {
            let (row, column) = (i / WIDTH, i % WIDTH);
            let mut truth = start[i];
            if row < rows * LANES && column < columns * LANES {
                for t in 0..steps * LANES {
                    let (x, y) = (firsts[row][t], seconds[column / LANES * DEPTH + t][column % LANES]);
                    truth += halves(x).into_iter().zip(halves(y)).map(|(x, y)| x * y).sum::<f32>();
                }
            }
            assert_eq!(truth, *found, "{rows} by {columns} tiles, {steps} steps: {row}, {column}");
        }
    }

    #[test]
    fn tiles_of_bf16_and_their_model_add_what_plain_loops_add() {
        for isa in Isa::available() {
            for steps in 1..=DEPTH / LANES {
                for tiles in [[1, 1], [1, 2], [2, 1], [2, 2]] {
                    check(&mut Bf16Model, tiles, steps);
                    if let Some(mut real) = AmxBf16::configure(isa) {
                        check(&mut real, tiles, steps);
                    }
                }
            }
        }
    }
}
