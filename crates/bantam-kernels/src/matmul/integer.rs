//! The integer arithmetic: exact sums of products of codes, then one multiply-add for each unit.
//!
//! Sixteen outputs are formed together, one in each lane. Few rows of activations are multiplied with
//! codes straight out of their blocks (`few`, or `few_digits` where digits are multiplied); for more rows the codes are first laid out across the sixteen
//! outputs (`panel`), for pairs, for quads or eights of bytes or for tiles (`tiled`), which needs no sums within a register. The
//! integers are the same either way.

use std::ops::Range;

use super::codes::{GROUP, Row, Scale};
use super::few::{FewRows, FewRowsOfBytes};
use super::few_digits::FewRowsOfDigits;
use super::one::OneRow;
use super::panel::ManyRows;
use super::tiled;
use super::{Codes, Weights};
use crate::blocks::Unit;
use crate::lanes::{LANES, Lanes, dispatch};
use crate::machine::Isa;
use crate::share::Shared;

/// The outputs `outputs` of a product, for all its rows.
pub(super) fn multiply(isa: Isa, of: &super::Part<'_>, x: &Codes, outputs: Range<usize>) {
    let part = Part { isa, weights: of.weights, x, y: &of.y, outputs };
    assert!(part.weights.storage.is_quantized(), "{} has no codes", part.weights.storage);
    let few = dispatch(isa, OneRow(&part))
        || dispatch(isa, FewRowsOfDigits::<false>(&part))
        || dispatch(isa, FewRowsOfDigits::<true>(&part))
        || dispatch(isa, FewRowsOfBytes(&part))
        || dispatch(isa, FewRows(&part));
    if !few && !tiled::multiply(&part) {
        ManyRows(&part).run();
    }
}

/// The part of a product that one thread computes: a range of the outputs, for all rows.
#[derive(Clone)]
pub(super) struct Part<'a> {
    pub(super) isa: Isa,
    pub(super) weights: Weights<'a>,
    pub(super) x: &'a Codes,
    pub(super) y: &'a Shared<'a, f32>,
    pub(super) outputs: Range<usize>,
}

/// Adds a unit's sums of products, whole numbers, to the sums of sixteen outputs. This is the one place that fixes the
/// rounding: the products of the scales, then one fused multiply-add (two where there are minima).
#[inline(always)]
pub(super) fn add_unit<L: Lanes, U: Unit>(sums: L, products: L, scales: L, minima: L, scale: Scale) -> L {
    let sums = products.mul_add(scales.mul(L::splat(scale.code)), sums);
    if U::MINIMA { minima.mul_add(L::splat(scale.minimum), sums) } else { sums }
}

/// The sum of the codes of a unit: a whole group, or a half of it.
#[inline(always)]
pub(super) fn code_sum<U: Unit>(row: &Row<'_>, group: usize, half: usize) -> f32 {
    let sums = row.sums[group];
    if U::LEN == GROUP { sums[0] + sums[1] } else { sums[half] }
}

/// What a unit's sums are multiplied with: as the whole group's, but for minima of half of it.
#[inline(always)]
pub(super) fn scale_of<U: Unit>(row: &Row<'_>, group: usize, half: usize) -> Scale {
    let scale = row.scales[group];
    if U::MINIMA && U::LEN < GROUP { Scale::new(scale.code, row.sums[group][half]) } else { scale }
}

/// A unit's sums of products with codes that are too great by `offset`, made right. All are whole numbers that single precision
/// holds: below 2^24, or 256 times such a one.
#[inline(always)]
pub(super) fn without_offset<L: Lanes>(products: L, offset: f32, code_sum: f32) -> L {
    L::splat(-offset).mul_add(L::splat(code_sum), products)
}

/// An array of what an expression gives for each lane. Written out, since a loop of this length stays one, and what
/// it makes then passes through memory.
macro_rules! each_lane {
    (|$lane:ident| $body:expr) => {
        each_lane!(|$lane| $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (|$lane:ident| $body:expr, $($number:literal)*) => {
        [$({
            let $lane = $number;
            $body
        }),*]
    };
}

pub(super) use each_lane;

impl Part<'_> {
    /// What was stored of up to sixteen outputs, and zeros behind them.
    #[inline(always)]
    pub(super) fn load<L: Lanes>(&self, row: usize, output: usize) -> L {
        let count = LANES.min(self.outputs.end - output);
        // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
        let y = unsafe { self.y.slice_mut(row * self.weights.outputs + output, count) };
        let mut values = [0.0; LANES];
        match y.first_chunk() {
            Some(whole) => L::load(whole),
            None => {
                values[..count].copy_from_slice(y);
                L::load(&values)
            }
        }
    }

    #[inline(always)]
    pub(super) fn store<L: Lanes>(&self, row: usize, output: usize, sums: L) {
        let count = LANES.min(self.outputs.end - output);
        // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
        let y = unsafe { self.y.slice_mut(row * self.weights.outputs + output, count) };
        if let Some(whole) = y.first_chunk_mut() {
            sums.store(whole);
        } else {
            let mut values = [0.0; LANES];
            sums.store(&mut values);
            y.copy_from_slice(&values[..count]);
        }
    }
}
