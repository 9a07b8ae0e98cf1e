//! Few rows of activations by their digits: codes straight out of their blocks, those of four rows in one register.

use std::marker::PhantomData;
use std::ops::Range;

use super::codes::Row;
use super::few::{Column, Columns};
use super::integer::{Part, add_unit, code_sum, scale_of};
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Digit, DigitKernel, DigitLanes, Kernel, LANES, Lanes, RUN};

/// A part of a product whose rows may be few; gives whether they were, and are done. Each number of rows up to four has code of
/// its own; `COUNTED` are more, for which there is one code. (Together they would not fit the compiler's registers.)
pub(super) struct FewRowsOfDigits<'a, const COUNTED: bool>(pub(super) &'a Part<'a>);

/// Rows that have code for their number, at most.
const FEW: usize = 4;
/// Rows that are counted, at most.
const COUNTED_MAX: usize = 8;

/// Whether codes are of eight bits: as signed and as unsigned bytes they are not the same numbers, and what is multiplied as
/// unsigned is 128 too great.
const fn is_flipped<B: Block>() -> bool {
    B::BITS == 8
}

impl<const COUNTED: bool> Kernel for FewRowsOfDigits<'_, COUNTED> {
    type Output = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        if const { COUNTED && L::DIGIT_ROWS <= FEW } {
            return false;
        }
        let rows = if COUNTED { FEW + 1..=L::DIGIT_ROWS } else { 1..=L::DIGIT_ROWS.min(FEW) };
        let few = self.0.x.has_digits() && rows.contains(&self.0.x.rows());
        few && L::with_digits(self) == Some(true)
    }
}

impl<const COUNTED: bool> DigitKernel for FewRowsOfDigits<'_, COUNTED> {
    type Output = bool;
    #[inline(always)]
    fn run<L: DigitLanes>(self) -> bool {
        struct WithLanes<'a, L, const COUNTED: bool>(&'a Part<'a>, PhantomData<L>);
        impl<L: DigitLanes, const COUNTED: bool> OverBlock for WithLanes<'_, L, COUNTED> {
            type Output = bool;
            #[inline(always)]
            fn run<B: Block>(self) -> bool {
                // Sums of sixteen products are added across lanes twice as often: from five rows on panels take less.
                if const { COUNTED && B::UNIT < RUN } {
                    return false;
                }
                if const { COUNTED } {
                    self.0.few_rows::<L, B, Digits, COUNTED_MAX>();
                } else {
                    self.0.few::<L, B, Digits>();
                }
                true
            }
        }
        let work = WithLanes::<L, COUNTED>(self.0, PhantomData);
        with_block(self.0.weights.storage, work) == Some(true)
    }
}

/// Codes of 16 bits by their digits.
struct Digits;

impl<L: DigitLanes, B: Block> Columns<L, B> for Digits {
    #[inline(always)]
    fn add<const N: usize>(
        column: &Column<'_, B>,
        (x, count): (&[Row<'_>; N], usize),
        mut sums: [L; N],
    ) -> [L; N] {
        let Column { rows, index, scales, minima } = *column;
        for run in 0..B::LEN / RUN {
            rows.prefetch_ahead::<L>(index, run);
            let group = index * (B::LEN / RUN) + run;
            let fours = fours_of_column::<L, B>(&rows.column(index), run);
            // As many as have code for their number are not counted.
            let count = if N > FEW { count.min(N) } else { N };
            for r in 0..count {
                for half in 0..RUN / B::UNIT {
                    let mut ints = unit_products::<L, B>(&fours, (&x[r], group), half);
                    let unit = run * (RUN / B::UNIT) + half;
                    let (scales, minima) = (L::load(&scales[unit]), L::load(&minima[unit]));
                    if B::OFFSET > 0 && !is_flipped::<B>() {
                        let codes = code_sum::<B::Unit>(&x[r], group, half);
                        ints = L::ints_less(ints, f32::from(B::OFFSET) * codes);
                    }
                    let (products, scale) = (L::ints_to_f32(ints), scale_of::<B::Unit>(&x[r], group, half));
                    sums[r] = add_unit::<L, B::Unit>(sums[r], products, scales, minima, scale);
                }
            }
        }
        sums
    }
}

/// The codes of a run of sixteen blocks; those of rows `j`, `4 + j`, `8 + j` and `12 + j` together.
#[inline(always)]
pub(super) fn fours_of_column<L: DigitLanes, B: Block>(
    blocks: &[&B::Bytes; LANES],
    run: usize,
) -> [[L::Fours; 2]; 4] {
    [
        B::fours::<L>([blocks[0], blocks[4], blocks[8], blocks[12]], run),
        B::fours::<L>([blocks[1], blocks[5], blocks[9], blocks[13]], run),
        B::fours::<L>([blocks[2], blocks[6], blocks[10], blocks[14]], run),
        B::fours::<L>([blocks[3], blocks[7], blocks[11], blocks[15]], run),
    ]
}

/// The sums of a unit's products: those of the whole run, or of one half of it.
#[inline(always)]
fn unit_products<L: DigitLanes, B: Block>(
    fours: &[[L::Fours; 2]; 4],
    (x, group): (&Row<'_>, usize),
    half: usize,
) -> L::Ints {
    let parts = if B::UNIT == RUN { 0..2 } else { half..half + 1 };
    let mut sums = [L::ints_zero(); 4];
    sums = add_digits::<L, B>(Digit::High, sums, fours, digits_of(x, 0, group), parts.clone());
    for sums in &mut sums {
        *sums = L::ints_shift(*sums);
    }
    sums = add_digits::<L, B>(Digit::Low, sums, fours, digits_of(x, 1, group), parts);
    L::fours_sum(sums)
}

/// The digits of a group of activations; codes of 8 bits have no lower ones.
#[inline(always)]
fn digits_of<'x>(x: &Row<'x>, digit: usize, group: usize) -> &'x [[u8; LANES]] {
    x.digits[digit].as_chunks().0.get(2 * group..2 * group + 2).unwrap_or_default()
}

/// Adds the products of the codes with either digits.
#[inline(always)]
fn add_digits<L: DigitLanes, B: Block>(
    digit: Digit,
    mut sums: [L::Ints; 4],
    fours: &[[L::Fours; 2]; 4],
    digits: &[[u8; LANES]],
    parts: Range<usize>,
) -> [L::Ints; 4] {
    let is_unsigned = digit == L::UNSIGNED_MEET;
    for part in parts {
        let Some(digits) = digits.get(part) else { break };
        let digits = L::fours_splat(digits);
        for j in 0..4 {
            let mut codes = fours[j][part];
            if is_flipped::<B>() && !is_unsigned {
                codes = L::fours_flip(codes);
            }
            sums[j] = match digit {
                Digit::High => L::fours_add_high(sums[j], codes, digits),
                Digit::Low => L::fours_add_low(sums[j], codes, digits),
            };
            if is_flipped::<B>() && is_unsigned {
                sums[j] = L::fours_less_flip(sums[j], digits);
            }
        }
    }
    sums
}
