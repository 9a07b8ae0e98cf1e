//! One row of activations against codes of eight bits: four rows of weights from end to end.
//!
//! Memory is the limit of these. Sixteen rows at a time are more than the first-level cache holds together with what was asked
//! for ahead of them, and then each line is fetched twice.

use std::marker::PhantomData;

use bytemuck::Zeroable;

use super::codes::Scale;
use super::integer::{Part, each_lane};
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Kernel, LANES, Lanes, RUN, prefetch};

/// Rows of weights, and blocks of each, that go side by side.
const SIDE: usize = 4;

/// A part of a product that may be one row and codes of eight bits; gives whether it was, and is done.
pub(super) struct OneRow<'a>(pub(super) &'a Part<'a>);

impl Kernel for OneRow<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        struct WithLanes<'a, L>(&'a Part<'a>, PhantomData<L>);
        impl<L: Lanes> OverBlock for WithLanes<'_, L> {
            type Output = bool;
            #[inline(always)]
            fn run<B: Block>(self) -> bool {
                if const { B::LEN == RUN && size_of::<B::Bytes>() > RUN && !B::MINIMA } {
                    self.0.one_row::<L, B>();
                    return true;
                }
                false
            }
        }
        if const { !L::WIDE } || self.0.x.rows() != 1 {
            return false;
        }
        with_block(self.0.weights.storage, WithLanes::<L>(self.0, PhantomData)) == Some(true)
    }
}

impl Part<'_> {
    #[inline(always)]
    fn one_row<L: Lanes, B: Block>(&self) {
        let (x, row) = (self.x.row(0), self.weights.inputs / B::LEN);
        let all: &[B::Bytes] = bytemuck::cast_slice(self.weights.bytes);
        let rows_from = |output: usize| all.get(output * row..(output + SIDE) * row).unwrap_or_default();
        for output in [self.outputs.start, self.outputs.start + SIDE] {
            prefetch::<L>(bytemuck::cast_slice(rows_from(output)));
        }
        for output in self.outputs.clone().step_by(SIDE) {
            let ahead = rows_from(output + 2 * SIDE);
            let mut rows = [&all[..0]; SIDE];
            for (r, blocks) in rows.iter_mut().enumerate() {
                // Nobody stores what comes of rows behind the last one.
                *blocks = &all[(output + r).min(self.weights.outputs - 1) * row..][..row];
            }
            let mut sums = [0.0; SIDE];
            let (groups, rest) = x.codes.as_chunks::<{ SIDE * RUN }>();
            for (k, (codes, scales)) in groups.iter().zip(x.scales.chunks_exact(SIDE)).enumerate() {
                let ahead = ahead.get(k * SIDE * SIDE..(k + 1) * SIDE * SIDE).unwrap_or_default();
                prefetch::<L>(bytemuck::cast_slice(ahead));
                let mut blocks = [&rows[0][..0]; SIDE];
                for r in 0..SIDE {
                    blocks[r] = &rows[r][k * SIDE..][..SIDE];
                }
                sums = add_blocks::<L, B>(blocks, codes, scales, 0, sums);
            }
            let done = groups.len() * SIDE;
            if let (1.., Some(codes)) = (rest.len(), x.codes.last_chunk()) {
                // The last four blocks as they lie, of which the first ones are done.
                let first = row - SIDE;
                let blocks = rows.map(|row| &row[first..]);
                sums = add_blocks::<L, B>(blocks, codes, &x.scales[first..], done - first, sums);
            } else if !rest.is_empty() {
                let mut codes = [0; SIDE * RUN];
                codes[..rest.len()].copy_from_slice(rest);
                let mut last = [[B::Bytes::zeroed(); SIDE]; SIDE];
                for (last, row) in last.iter_mut().zip(rows) {
                    last[..row.len()].copy_from_slice(row);
                }
                let blocks = [&last[0], &last[1], &last[2], &last[3]].map(<[_; SIDE]>::as_slice);
                sums = add_blocks::<L, B>(blocks, &codes, x.scales, 0, sums);
            }
            let count = SIDE.min(self.outputs.end - output);
            // SAFETY: these outputs belong to this thread's range, and no other slice of them is in use.
            unsafe { self.y.slice_mut(output, count) }.copy_from_slice(&sums[..count]);
        }
    }
}

/// Adds the products of four blocks of each of four rows to their sums, from one of them on as many as there are scales. Each unit is
/// rounded as [`super::integer::add_unit`] has it.
#[inline(always)]
fn add_blocks<L: Lanes, B: Block>(
    rows: [&[B::Bytes]; SIDE],
    x: &[i16; SIDE * RUN],
    scales: &[Scale],
    first: usize,
    mut sums: [f32; SIDE],
) -> [f32; SIDE] {
    let rows = rows.map(|row| &row[..SIDE]);
    let blocks = each_lane!(|lane| &rows[lane % SIDE][lane / SIDE]);
    let x = x.as_chunks::<RUN>().0;
    let products = each_lane!(|lane| L::products(
        L::codes_of(B::codes::<L>(blocks[lane], 0)),
        L::codes_load(&x[lane / SIDE])
    ));
    let (mut of_weights, mut none) = (B::Scales::zeroed(), B::Scales::zeroed());
    B::scales::<L>(&blocks, &mut of_weights, &mut none);
    let of_weights: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&of_weights));
    let mut units = [0.0; LANES];
    L::ints_to_f32(L::products_sum(&products)).store(&mut units);
    for (unit, scale) in scales.iter().enumerate().take(SIDE).skip(first) {
        for (r, sum) in sums.iter_mut().enumerate() {
            let lane = unit * SIDE + r;
            *sum = units[lane].mul_add(of_weights[0][lane] * scale.code, *sum);
        }
    }
    sums
}
