//! The two sums over the keys and the values of one head of a page, for each way of keeping them.

use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;
use half::{bf16, f16};

use super::PAGE;
use super::coded::{CodedHead, GROUP, PAIRS};
use super::page::KvShape;
use super::tile::{GROUPS, Scores};
use crate::lanes::{Bf16Lanes, LANES, Lanes, prefetch};
use crate::tiles::Tile;

/// Keys and values of one head of a page.
pub(super) trait Head<'a>: Copy {
    /// The bytes of the keys, and of the values.
    fn bytes(self) -> [&'a [u8]; 2];

    /// Products of queries, number by number, with the keys of `G` times sixteen positions. `ahead` are keys of another page, for which
    /// is asked meanwhile.
    fn products<L: Lanes, const N: usize, const G: usize>(
        self,
        group: usize,
        queries: &[[f32; N]],
        ahead: &[u8],
    ) -> [[L; N]; G];

    /// A tile of the keys of sixteen positions: pairs of numbers `32 * step + i` and `32 * step + 16 + i`, zeros behind the last.
    fn key_tile<L: Bf16Lanes>(self, group: usize, step: usize, to: &mut Tile);

    /// A tile of the values of 32 positions, in pairs of neighbours: numbers `16 * column ..`; zeros at positions that nobody sees.
    fn value_tile<L: Bf16Lanes>(self, column: usize, step: usize, seen: &Range<usize>, to: &mut Tile);

    /// The sums of the values, each times its weight, in the order of the positions; `[N][stride]`. `ahead` are values of another page, for
    /// which is asked meanwhile.
    fn weigh<L: Lanes, const N: usize>(
        self,
        weights: &[Scores; N],
        seen: Range<usize>,
        out: (&mut [f32], usize),
        ahead: &[u8],
    );
}

/// The weight of a position. The remainder changes nothing, and spares a check.
#[inline(always)]
fn weight_at(weights: &Scores, slot: usize) -> f32 {
    weights.as_flattened()[slot % PAGE]
}

/// Sixteen numbers from a place on.
#[inline(always)]
fn group_at<T>(numbers: &[T], begin: usize) -> &[T; LANES] {
    match numbers[begin..].first_chunk() {
        Some(group) => group,
        None => unreachable!("rows are whole groups"),
    }
}

/// Adds some columns of a position's values, times its weights.
#[inline(always)]
fn add_values<L: Lanes, const N: usize, const C: usize>(
    sums: &mut [[L; N]; C],
    values: &[L; C],
    weights: &[Scores; N],
    slot: usize,
) {
    for i in 0..N {
        let weight = L::splat(weight_at(&weights[i], slot));
        for c in 0..C {
            sums[c][i] = values[c].mul_add(weight, sums[c][i]);
        }
    }
}

#[inline(always)]
fn store<L: Lanes, const N: usize>(sums: [L; N], out: &mut [f32], stride: usize, column: usize) {
    for (i, sum) in sums.into_iter().enumerate() {
        if let Some(out) = out[i * stride + column..].first_chunk_mut() {
            sum.store(out);
        }
    }
}

/// Adds the products of queries with one number of some positions' keys.
#[inline(always)]
fn add_keys<L: Lanes, const N: usize, const G: usize>(
    sums: &mut [[L; N]; G],
    keys: &[L; G],
    query: &[f32; N],
) {
    for i in 0..N {
        let query = L::splat(query[i]);
        for g in 0..G {
            sums[g][i] = keys[g].mul_add(query, sums[g][i]);
        }
    }
}

/// A number that keys and values are kept in.
pub(super) trait Kept: Copy {
    fn load<L: Lanes>(from: &[Self; LANES]) -> L;
}

impl Kept for f32 {
    #[inline(always)]
    fn load<L: Lanes>(from: &[f32; LANES]) -> L {
        L::load(from)
    }
}

impl Kept for f16 {
    #[inline(always)]
    fn load<L: Lanes>(from: &[f16; LANES]) -> L {
        L::load_f16(bytemuck::cast_ref(from))
    }
}

impl Kept for bf16 {
    #[inline(always)]
    fn load<L: Lanes>(from: &[bf16; LANES]) -> L {
        L::load_bf16(bytemuck::cast_ref(from))
    }
}

/// A head whose numbers are kept one by one.
#[derive(Clone, Copy)]
pub(super) struct Plain<'a, T> {
    /// `[head_dim][PAGE]`
    keys: &'a [T],
    /// `[PAGE][stride]`
    values: &'a [T],
    stride: usize,
}

impl<'a, T> Plain<'a, T> {
    #[inline(always)]
    pub(super) fn new(kv: KvShape, page: &'a [T], head: usize) -> Self {
        let head = &page[head * kv.head_len()..][..kv.head_len()];
        let (keys, values) = head.split_at(PAGE * kv.head_dim);
        Plain { keys, values, stride: kv.value_stride() }
    }
}

impl<'a, T: Kept + Pod> Head<'a> for Plain<'a, T> {
    #[inline(always)]
    fn bytes(self) -> [&'a [u8]; 2] {
        [bytemuck::cast_slice(self.keys), bytemuck::cast_slice(self.values)]
    }

    #[inline(always)]
    fn key_tile<L: Bf16Lanes>(self, group: usize, step: usize, to: &mut Tile) {
        let rows = self.keys.as_chunks::<LANES>().0.as_chunks::<GROUPS>().0.as_chunks::<{ 2 * LANES }>().0;
        if let Some(rows) = rows.get(step) {
            for i in 0..LANES {
                L::pairs_of(T::load(&rows[i][group]), T::load(&rows[LANES + i][group]), &mut to.0[i]);
            }
            return;
        }
        for (i, line) in to.0.iter_mut().enumerate() {
            let first = 2 * LANES * step + i;
            L::pairs_of(self.keys_at(first, group), self.keys_at(first + LANES, group), line);
        }
    }

    #[inline(always)]
    fn value_tile<L: Bf16Lanes>(self, column: usize, step: usize, seen: &Range<usize>, to: &mut Tile) {
        let positions = 2 * LANES * step..2 * LANES * (step + 1);
        if seen.start <= positions.start && positions.end <= seen.end && (column + 1) * LANES <= self.stride {
            let rows = self.values[positions.start * self.stride..positions.end * self.stride]
                .chunks_exact(2 * self.stride);
            for (row, line) in rows.zip(&mut to.0) {
                let (first, second) = row.split_at(self.stride);
                L::pairs_of(
                    T::load(group_at(first, column * LANES)),
                    T::load(group_at(second, column * LANES)),
                    line,
                );
            }
            return;
        }
        for (i, line) in to.0.iter_mut().enumerate() {
            let slot = 2 * (LANES * step + i);
            L::pairs_of(self.values_at(slot, column, seen), self.values_at(slot + 1, column, seen), line);
        }
    }

    #[inline(always)]
    fn products<L: Lanes, const N: usize, const G: usize>(
        self,
        group: usize,
        queries: &[[f32; N]],
        ahead: &[u8],
    ) -> [[L; N]; G] {
        let mut sums = [[L::splat(0.0); N]; G];
        let mut ahead = ahead.chunks(PAGE * size_of::<T>());
        for (row, query) in self.keys.as_chunks::<LANES>().0.as_chunks::<GROUPS>().0.iter().zip(queries) {
            prefetch::<L>(ahead.next().unwrap_or_default());
            let mut keys = [L::splat(0.0); G];
            for g in 0..G {
                keys[g] = T::load::<L>(&row[group + g]);
            }
            add_keys(&mut sums, &keys, query);
        }
        sums
    }

    #[inline(always)]
    fn weigh<L: Lanes, const N: usize>(
        self,
        weights: &[Scores; N],
        seen: Range<usize>,
        (out, stride): (&mut [f32], usize),
        ahead: &[u8],
    ) {
        let (mut column, mut ahead) = (0, ahead);
        // As many sums as the registers hold.
        if const { L::WIDE && N <= 6 } {
            while column + 4 * LANES <= self.stride {
                let ahead = std::mem::take(&mut ahead);
                self.weigh_columns::<L, N, 4>(weights, seen.clone(), (out, stride), column, ahead);
                column += 4 * LANES;
            }
        } else if const { L::WIDE } {
            while column + 2 * LANES <= self.stride {
                let ahead = std::mem::take(&mut ahead);
                self.weigh_columns::<L, N, 2>(weights, seen.clone(), (out, stride), column, ahead);
                column += 2 * LANES;
            }
        }
        while column < self.stride {
            let ahead = std::mem::take(&mut ahead);
            self.weigh_columns::<L, N, 1>(weights, seen.clone(), (out, stride), column, ahead);
            column += LANES;
        }
    }
}

impl<T: Kept> Plain<'_, T> {
    /// A number of the keys of sixteen positions, zeros behind the last.
    #[inline(always)]
    fn keys_at<L: Lanes>(self, number: usize, group: usize) -> L {
        match self.keys.get(number * PAGE + group * LANES..).and_then(|keys| keys.first_chunk()) {
            Some(keys) => T::load(keys),
            None => L::splat(0.0),
        }
    }

    /// Sixteen numbers of a position's values, if somebody sees it.
    #[inline(always)]
    fn values_at<L: Lanes>(self, slot: usize, column: usize, seen: &Range<usize>) -> L {
        let begin = slot * self.stride + column * LANES;
        match self.values.get(begin..).and_then(|values| values.first_chunk()) {
            Some(values) if seen.contains(&slot) && (column + 1) * LANES <= self.stride => T::load(values),
            _ => L::splat(0.0),
        }
    }

    /// Weighs `C` times sixteen columns.
    #[inline(always)]
    fn weigh_columns<L: Lanes, const N: usize, const C: usize>(
        self,
        weights: &[Scores; N],
        seen: Range<usize>,
        (out, stride): (&mut [f32], usize),
        column: usize,
        ahead: &[u8],
    ) {
        let mut ahead = ahead.chunks(self.stride * size_of::<T>());
        let rows = self.values[seen.start * self.stride..seen.end * self.stride].chunks_exact(self.stride);
        let mut sums = [[L::splat(0.0); N]; C];
        for (slot, row) in seen.zip(rows) {
            let Some(groups) = row[column..].as_chunks().0.first_chunk::<C>() else { break };
            prefetch::<L>(ahead.next().unwrap_or_default());
            let mut values = [L::splat(0.0); C];
            for (values, group) in values.iter_mut().zip(groups) {
                *values = T::load::<L>(group);
            }
            add_values(&mut sums, &values, weights, slot);
        }
        for (c, sums) in sums.into_iter().enumerate() {
            store(sums, out, stride, column + c * LANES);
        }
    }
}

/// How pairs of codes lie.
pub(super) trait Bits: Copy {
    /// Bytes of a pair.
    const PAIR: usize;
    /// The first ones of sixteen pairs that begin at the byte `at`.
    fn first<L: Lanes>(codes: &[u8], at: usize) -> L;
    /// The second ones, which begin `apart` bytes later where they have bytes of their own.
    fn second<L: Lanes>(codes: &[u8], at: usize, apart: usize) -> L;
}

#[derive(Clone, Copy)]
pub(super) struct EightBits;

impl Bits for EightBits {
    const PAIR: usize = 2;
    #[inline(always)]
    fn first<L: Lanes>(codes: &[u8], at: usize) -> L {
        L::load_i8(group_at(codes, at))
    }
    #[inline(always)]
    fn second<L: Lanes>(codes: &[u8], at: usize, apart: usize) -> L {
        L::load_i8(group_at(codes, at + apart))
    }
}

#[derive(Clone, Copy)]
pub(super) struct FourBits;

impl Bits for FourBits {
    const PAIR: usize = 1;
    #[inline(always)]
    fn first<L: Lanes>(codes: &[u8], at: usize) -> L {
        L::load_i4_low(group_at(codes, at))
    }
    #[inline(always)]
    fn second<L: Lanes>(codes: &[u8], at: usize, _: usize) -> L {
        L::load_i4_high(group_at(codes, at))
    }
}

/// A head of codes.
#[derive(Clone, Copy)]
pub(super) struct CodedNumbers<'a, B> {
    of: CodedHead<'a>,
    bits: PhantomData<B>,
}

impl<'a, B> CodedNumbers<'a, B> {
    #[inline(always)]
    pub(super) fn new(of: CodedHead<'a>) -> Self {
        CodedNumbers { of, bits: PhantomData }
    }
}

impl<'a, B: Bits> Head<'a> for CodedNumbers<'a, B> {
    #[inline(always)]
    fn bytes(self) -> [&'a [u8]; 2] {
        [self.of.keys, self.of.values]
    }

    #[inline(always)]
    fn key_tile<L: Bf16Lanes>(self, group: usize, step: usize, to: &mut Tile) {
        let row = PAGE * B::PAIR;
        let rows = self.of.keys[step * PAIRS * row..][..PAIRS * row].chunks_exact(row);
        let scales: L = f16::load(group_at(self.of.key_scales, step * PAGE + group * LANES));
        for (row, line) in rows.zip(&mut to.0) {
            let first = B::first::<L>(row, group * LANES).mul(scales);
            L::pairs_of(first, B::second::<L>(row, group * LANES, PAGE).mul(scales), line);
        }
    }

    #[inline(always)]
    fn value_tile<L: Bf16Lanes>(self, column: usize, step: usize, seen: &Range<usize>, to: &mut Tile) {
        let (group, half) = (column / 2, column % 2);
        let row = self.of.values.len() / PAGE;
        let mut scales = [0.0; LANES];
        for (i, line) in to.0.iter_mut().enumerate() {
            let slot = 2 * (LANES * step + i);
            if i % (LANES / 2) == 0 {
                f16::load::<L>(group_at(self.of.value_scales, group * PAGE + slot)).store(&mut scales);
            }
            let mut both = [L::splat(0.0); 2];
            for (k, values) in both.iter_mut().enumerate() {
                if seen.contains(&(slot + k)) {
                    let at = (slot + k) * row + group * PAIRS * B::PAIR;
                    let codes = match half {
                        0 => B::first::<L>(self.of.values, at),
                        _ => B::second::<L>(self.of.values, at, PAIRS),
                    };
                    *values = codes.mul(L::splat(scales[(slot + k) % LANES]));
                }
            }
            L::pairs_of(both[0], both[1], line);
        }
    }

    #[inline(always)]
    fn products<L: Lanes, const N: usize, const G: usize>(
        self,
        group: usize,
        queries: &[[f32; N]],
        ahead: &[u8],
    ) -> [[L; N]; G] {
        let mut sums = [[L::splat(0.0); N]; G];
        let mut ahead = ahead.chunks(PAGE * B::PAIR);
        let rows = self.of.keys.chunks_exact(PAIRS * PAGE * B::PAIR);
        let queries = queries.as_chunks::<GROUP>().0;
        let scales = self.of.key_scales.as_chunks::<PAGE>().0;
        for ((rows, queries), scales) in rows.zip(queries).zip(scales) {
            let mut of_group = [[L::splat(0.0); N]; G];
            let (firsts, seconds) = queries.split_at(PAIRS);
            let rows = rows.chunks_exact(PAGE * B::PAIR);
            for ((row, first), second) in rows.zip(firsts).zip(seconds) {
                prefetch::<L>(ahead.next().unwrap_or_default());
                // One after the other: both at once would not leave enough registers for the sums.
                let mut keys = [L::splat(0.0); G];
                for (g, keys) in keys.iter_mut().enumerate() {
                    *keys = B::first::<L>(row, (group + g) * LANES);
                }
                add_keys(&mut of_group, &keys, first);
                for (g, keys) in keys.iter_mut().enumerate() {
                    *keys = B::second::<L>(row, (group + g) * LANES, PAGE);
                }
                add_keys(&mut of_group, &keys, second);
            }
            for g in 0..G {
                let scales = f16::load::<L>(group_at(scales, (group + g) * LANES));
                for i in 0..N {
                    sums[g][i] = of_group[g][i].mul_add(scales, sums[g][i]);
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn weigh<L: Lanes, const N: usize>(
        self,
        weights: &[Scores; N],
        seen: Range<usize>,
        (out, stride): (&mut [f32], usize),
        ahead: &[u8],
    ) {
        let row = stride / 2 * B::PAIR;
        let mut ahead = ahead.chunks(PAIRS * B::PAIR);
        for (group, scales) in self.of.value_scales.as_chunks::<PAGE>().0.iter().enumerate() {
            let mut scaled = *weights;
            for weights in &mut scaled {
                for (j, weights) in weights.iter_mut().enumerate() {
                    L::load(weights).mul(f16::load(group_at(scales, j * LANES))).store(weights);
                }
            }
            let first = group * PAIRS * B::PAIR;
            if L::WIDE {
                let mut sums = [[L::splat(0.0); N]; 2];
                for slot in seen.clone() {
                    let at = slot * row + first;
                    prefetch::<L>(ahead.next().unwrap_or_default());
                    let values = [B::first(self.of.values, at), B::second(self.of.values, at, PAIRS)];
                    add_values(&mut sums, &values, &scaled, slot);
                }
                let [firsts, seconds] = sums;
                store(firsts, out, stride, group * GROUP);
                store(seconds, out, stride, group * GROUP + PAIRS);
                continue;
            }
            let mut sums = [[L::splat(0.0); N]];
            for slot in seen.clone() {
                prefetch::<L>(ahead.next().unwrap_or_default());
                add_values(&mut sums, &[B::first(self.of.values, slot * row + first)], &scaled, slot);
            }
            store(sums[0], out, stride, group * GROUP);
            let mut sums = [[L::splat(0.0); N]];
            for slot in seen.clone() {
                add_values(&mut sums, &[B::second(self.of.values, slot * row + first, PAIRS)], &scaled, slot);
            }
            store(sums[0], out, stride, group * GROUP + PAIRS);
        }
    }
}
