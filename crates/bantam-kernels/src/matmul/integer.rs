//! The integer arithmetic: exact sums of products of codes, then one multiply-add for each unit.
//!
//! Sixteen outputs are formed together, one in each lane. Few rows of activations are multiplied with
//! codes straight out of their blocks; for more rows the codes are first laid out in pairs across the
//! sixteen outputs, which needs no sums within a register. The integers are the same either way.

use std::cell::RefCell;
use std::ops::Range;

use bytemuck::Zeroable;

use super::codes::{GROUP, Row};
use super::tiled::TiledSums;
use super::{Codes, Weights};
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{Kernel, LANES, Lanes, RUN, dispatch};
use crate::machine::Isa;
use crate::share::Shared;
use crate::tiles::Amx;

/// Weights of a row that are taken apart at a time: 16 rows of codes then take 8 KiB.
const CHUNK: usize = 256;
/// Bytes that a processor fetches together.
const CACHE_LINE: usize = 64;
/// Units in a chunk, at most.
const UNITS: usize = CHUNK / 16;
/// Rows up to this many take panels one at a time.
const FEW: usize = 16;
/// Bytes of codes in a slab of panels: such a slab stays in the second-level cache.
const SLAB: usize = 128 * 1024;
/// Bytes of a code in panels for products of 16-bit pairs.
const WORD: usize = 2;
/// Bytes of a code in panels for tiles.
pub(super) const BYTE: usize = 1;

/// The outputs `outputs` of a product, for all its rows.
pub(super) fn multiply(isa: Isa, of: &super::Part<'_>, x: &Codes, outputs: Range<usize>) {
    dispatch(isa, Part { isa, weights: of.weights, x, y: &of.y, outputs });
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

impl Kernel for Part<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        struct WithLanes<'a, L>(Part<'a>, std::marker::PhantomData<L>);
        impl<L: Lanes> OverBlock for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<B: Block>(self) {
                match self.0.x.rows() {
                    1 => self.0.few_rows::<L, B, 1>(),
                    2 => self.0.few_rows::<L, B, 2>(),
                    3 => self.0.few_rows::<L, B, 3>(),
                    4 => self.0.few_rows::<L, B, 4>(),
                    _ if L::TILES && self.0.tiled_rows::<L, B, Amx>() => {}
                    _ => self.0.many_rows::<L, B>(),
                }
            }
        }
        let storage = self.weights.storage;
        let done = with_block(storage, WithLanes::<L>(self, std::marker::PhantomData));
        assert!(done.is_some(), "{storage} has no codes");
    }
}

/// A chunk of sixteen rows of weights, taken apart.
pub(super) struct Chunk {
    /// `[16][CHUNK]`, in [`WORD`]s or in [`BYTE`]s.
    codes: Vec<i16>,
    /// `[UNITS][16]`
    scales: [[f32; LANES]; UNITS],
    minima: [[f32; LANES]; UNITS],
}

impl Chunk {
    fn new() -> Self {
        let empty = [[0.0; LANES]; UNITS];
        Chunk { codes: vec![0; LANES * CHUNK], scales: empty, minima: empty }
    }

    /// Takes apart the weights of columns `columns` of the sixteen rows from `output` on.
    #[inline(always)]
    fn fill<L: Lanes, B: Block, const WIDTH: usize>(
        &mut self,
        weights: &Weights<'_>,
        output: usize,
        columns: Range<usize>,
    ) {
        let (first, count) = (columns.start / B::LEN, columns.len() / B::LEN);
        let rows = rows_of::<B>(weights, output);
        for (row, codes) in rows.iter().zip(self.codes.chunks_exact_mut(CHUNK * WIDTH / WORD)) {
            let blocks = &row[first..first + count];
            for (block, codes) in blocks.iter().zip(codes.chunks_exact_mut(B::LEN * WIDTH / WORD)) {
                if WIDTH == WORD {
                    for (run, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
                        L::bytes_to_codes(B::codes::<L>(block, run), codes);
                    }
                } else {
                    let codes: &mut [u8] = bytemuck::cast_slice_mut(codes);
                    for (run, codes) in codes.as_chunks_mut().0.iter_mut().enumerate() {
                        L::bytes_store(B::codes::<L>(block, run), codes);
                    }
                }
            }
        }
        let scales: &mut [B::Scales] = bytemuck::cast_slice_mut(&mut self.scales);
        let minima: &mut [B::Scales] = bytemuck::cast_slice_mut(&mut self.minima);
        for (index, (scales, minima)) in scales.iter_mut().zip(minima).enumerate().take(count) {
            let blocks = column_of::<B>(&rows, first + index);
            for run in 0..B::LEN / RUN {
                prefetch_ahead::<L, B>(weights, output, first + index, run);
            }
            B::scales::<L>(&blocks, scales, minima);
        }
    }
}

/// The blocks of the sixteen rows from `output` on. Rows behind the last one are copies of it; nobody stores what
/// comes of them.
#[inline(always)]
fn rows_of<'a, B: Block>(weights: &Weights<'a>, output: usize) -> [&'a [B::Bytes]; LANES] {
    let row_blocks = weights.inputs / B::LEN;
    let all: &[B::Bytes] = bytemuck::cast_slice(weights.bytes);
    let mut rows: [&[B::Bytes]; LANES] = [&[]; LANES];
    for (row, blocks) in rows.iter_mut().enumerate() {
        *blocks = &all[(output + row).min(weights.outputs - 1) * row_blocks..][..row_blocks];
    }
    rows
}

/// Block `index` of each row.
#[inline(always)]
fn column_of<'a, B: Block>(rows: &[&'a [B::Bytes]; LANES], index: usize) -> [&'a B::Bytes; LANES] {
    let mut blocks = [&rows[0][index]; LANES];
    for (block, row) in blocks.iter_mut().zip(rows) {
        *block = &row[index];
    }
    blocks
}

/// Asks for a share of the sixteen rows behind the next sixteen, as many bytes as a run of a column of blocks has:
/// rows are too short for the processor to see a pattern, and a whole column of large blocks is more than it can wait
/// for at a time.
#[inline(always)]
fn prefetch_ahead<L: Lanes, B: Block>(weights: &Weights<'_>, output: usize, index: usize, run: usize) {
    let (row_blocks, runs) = (weights.inputs / B::LEN, B::LEN / RUN);
    let column = LANES * size_of::<B::Bytes>();
    let begin = (output + 2 * LANES) * row_blocks * size_of::<B::Bytes>() + index * column;
    let (from, to) = (begin + column * run / runs, begin + column * (run + 1) / runs);
    if let Some(bytes) = weights.bytes.get(from..to) {
        for line in bytes.chunks(CACHE_LINE) {
            L::prefetch(&line[0]);
        }
    }
}

/// Adds a unit's products to the sums of sixteen outputs. This is the one place that fixes the
/// rounding: the product of the scales, then one fused multiply-add (two where there are minima).
#[inline(always)]
pub(super) fn add_unit<L: Lanes, B: Block>(
    sums: L,
    ints: L::Ints,
    scales: L,
    minima: L,
    scale: f32,
    codes: f32,
) -> L {
    let scale = L::splat(scale);
    let sums = L::ints_to_f32(ints).mul_add(scales.mul(scale), sums);
    if B::MINIMA { minima.mul(scale).mul_add(L::splat(-codes), sums) } else { sums }
}

/// The sum of a unit's codes of activations.
#[inline(always)]
fn code_sum<B: Block>(row: &Row<'_>, unit: usize) -> f32 {
    match (B::MINIMA, B::UNIT) {
        (false, _) => 0.0,
        (true, 16) => row.sums[unit],
        (true, _) => row.sums[2 * unit] + row.sums[2 * unit + 1],
    }
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
    /// `N` rows of activations, each block taken apart once for all of them.
    #[inline(always)]
    fn few_rows<L: Lanes, B: Block, const N: usize>(&self) {
        let mut x = [self.x.row(0); N];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.x.row(r);
        }
        let mut output = self.outputs.start;
        while output < self.outputs.end {
            let rows = rows_of::<B>(&self.weights, output);
            let mut sums = [L::splat(0.0); N];
            for index in 0..self.weights.inputs / B::LEN {
                sums = self.add_column::<L, B, N>(&column_of::<B>(&rows, index), (output, index), &x, sums);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                self.store(r, output, sums);
            }
            output += LANES;
        }
    }

    /// Several rows of activations: panels of codes, as many as stay in the cache, for all rows.
    #[inline(always)]
    fn many_rows<L: Lanes, B: Block>(&self) {
        let inputs = self.weights.inputs;
        let panels_max = panels_together::<WORD>(self.x.rows(), inputs);
        let mut workspace = Workspace::take();
        let Workspace { panels, chunk, .. } = &mut *workspace;
        panels.iter_mut().take(panels_max).for_each(|panel| panel.fit::<B, WORD>(inputs));
        let mut output = self.outputs.start;
        while output < self.outputs.end {
            let count = (self.outputs.end - output).div_ceil(LANES).min(panels_max);
            for (i, panel) in panels[..count].iter_mut().enumerate() {
                panel.fill::<L, B, WORD>(&self.weights, output + i * LANES, chunk);
            }
            let mut row = 0;
            while row < self.x.rows() {
                // Two and two cost less than three and one, which loads as much for its one.
                let step = match self.x.rows() - row {
                    4 => 2,
                    left if left < L::ROWS => left.min(3),
                    _ => L::ROWS,
                };
                for (i, panel) in panels[..count].iter().enumerate() {
                    match step {
                        1 => self.rows_of_panel::<L, B, 1>(panel, row, output + i * LANES),
                        2 => self.rows_of_panel::<L, B, 2>(panel, row, output + i * LANES),
                        // The condition is known while compiling, so that others need not have the code.
                        6 if L::ROWS == 6 => self.rows_of_panel::<L, B, 6>(panel, row, output + i * LANES),
                        _ => self.rows_of_panel::<L, B, 3>(panel, row, output + i * LANES),
                    }
                }
                row += step;
            }
            output += count * LANES;
        }
        workspace.put_back();
    }

    #[inline(always)]
    fn rows_of_panel<L: Lanes, B: Block, const N: usize>(&self, panel: &Panel, row: usize, output: usize) {
        let mut x = [self.x.row(row); N];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.x.row(row + r);
        }
        let sums =
            if B::UNIT == 16 { panel.multiply::<L, B, N, 8>(&x) } else { panel.multiply::<L, B, N, 16>(&x) };
        for (r, sums) in sums.into_iter().enumerate() {
            self.store(row + r, output, sums);
        }
    }

    /// Adds the products with block `index` of the sixteen rows from `output` on to the sums of `N` rows of activations.
    #[inline(always)]
    fn add_column<L: Lanes, B: Block, const N: usize>(
        &self,
        blocks: &[&B::Bytes; LANES],
        (output, index): (usize, usize),
        x: &[Row<'_>; N],
        mut sums: [L; N],
    ) -> [L; N] {
        let (mut scales, mut minima) = (B::Scales::zeroed(), B::Scales::zeroed());
        B::scales::<L>(blocks, &mut scales, &mut minima);
        let scales: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&scales));
        let minima: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(&minima));
        for run in 0..B::LEN / RUN {
            prefetch_ahead::<L, B>(&self.weights, output, index, run);
            let group = index * (B::LEN / RUN) + run;
            // For one row of activations codes need not leave the registers.
            let codes = if N > 1 {
                each_lane!(|lane| L::codes_of(B::codes::<L>(blocks[lane], run)))
            } else {
                [L::codes_of(B::codes::<L>(blocks[0], run)); LANES]
            };
            for r in 0..N {
                let of_x = L::codes_load(&x[r].codes.as_chunks().0[group]);
                let products = if N > 1 {
                    each_lane!(|lane| L::products(codes[lane], of_x))
                } else {
                    each_lane!(|lane| L::products(L::codes_of(B::codes::<L>(blocks[lane], run)), of_x))
                };
                let ints = if B::UNIT == RUN {
                    [L::products_sum(&products); 2]
                } else {
                    L::products_sum_halves(&products)
                };
                for (half, ints) in ints.into_iter().take(RUN / B::UNIT).enumerate() {
                    let unit = run * (RUN / B::UNIT) + half;
                    let (scales, minima) = (L::load(&scales[unit]), L::load(&minima[unit]));
                    let code_sum = code_sum::<B>(&x[r], group * (RUN / B::UNIT) + half);
                    sums[r] = add_unit::<L, B>(sums[r], ints, scales, minima, x[r].scales[group], code_sum);
                }
            }
        }
        sums
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

/// Panels that are used together, at most.
const PANELS_MAX: usize = 8;

/// As many panels as stay in the second-level cache. Few rows use a panel so briefly that one had better stay in
/// the first-level cache.
pub(super) fn panels_together<const WIDTH: usize>(rows: usize, inputs: usize) -> usize {
    let slab = if rows <= FEW { 0 } else { SLAB / (LANES * inputs * WIDTH) };
    slab.clamp(1, PANELS_MAX)
}

/// What a thread takes weights apart into. It is kept from one call to the next, since a thread is called for small
/// parts of a product, and empty memory is not free.
pub(super) struct Workspace {
    pub(super) panels: [Panel; PANELS_MAX],
    pub(super) chunk: Chunk,
    pub(super) tiled: TiledSums,
}

thread_local! {
    static WORKSPACE: RefCell<Option<Box<Workspace>>> = const { RefCell::new(None) };
}

impl Workspace {
    pub(super) fn take() -> Box<Self> {
        let kept = WORKSPACE.with(|kept| kept.take());
        kept.unwrap_or_else(|| {
            Box::new(Workspace {
                panels: Default::default(),
                chunk: Chunk::new(),
                tiled: TiledSums::default(),
            })
        })
    }

    pub(super) fn put_back(self: Box<Self>) {
        WORKSPACE.with(|kept| kept.replace(Some(self)));
    }
}

/// Sixteen rows of weights taken apart, codes in groups of four bytes across the rows.
#[derive(Default)]
pub(super) struct Panel {
    /// `[inputs / 2][16][2]` of [`WORD`]s, or `[inputs / 4][16][4]` of [`BYTE`]s.
    pub(super) pairs: Vec<[i16; 2 * LANES]>,
    /// `[inputs / UNIT][16]`
    pub(super) scales: Vec<[f32; LANES]>,
    pub(super) minima: Vec<[f32; LANES]>,
}

impl Panel {
    /// Makes it as long as the inputs; what it holds does not matter.
    pub(super) fn fit<B: Block, const WIDTH: usize>(&mut self, inputs: usize) {
        let units = inputs / B::UNIT;
        self.pairs.resize(inputs * WIDTH / 4, [0; 2 * LANES]);
        self.scales.resize(units, [0.0; LANES]);
        self.minima.resize(if B::MINIMA { units } else { 0 }, [0.0; LANES]);
    }

    #[inline(always)]
    pub(super) fn fill<L: Lanes, B: Block, const WIDTH: usize>(
        &mut self,
        weights: &Weights<'_>,
        output: usize,
        chunk: &mut Chunk,
    ) {
        let mut begin = 0;
        while begin < weights.inputs {
            let end = (begin + CHUNK).min(weights.inputs);
            chunk.fill::<L, B, WIDTH>(weights, output, begin..end);
            let (unit, units) = (begin / B::UNIT, (end - begin) / B::UNIT);
            self.scales[unit..][..units].copy_from_slice(&chunk.scales[..units]);
            if B::MINIMA {
                self.minima[unit..][..units].copy_from_slice(&chunk.minima[..units]);
            }
            across::<L, WIDTH>(&chunk.codes, &mut self.pairs[begin * WIDTH / 4..end * WIDTH / 4]);
            begin = end;
        }
    }

    /// `PAIRS` is half of the storage's unit.
    #[inline(always)]
    fn multiply<L: Lanes, B: Block, const N: usize, const PAIRS: usize>(&self, x: &[Row<'_>; N]) -> [L; N] {
        let mut sums = [L::splat(0.0); N];
        let mut x_pairs: [&[[[i16; 2]; PAIRS]]; N] = [&[]; N];
        for (pairs, x) in x_pairs.iter_mut().zip(x) {
            *pairs = x.codes.as_chunks::<2>().0.as_chunks::<PAIRS>().0;
        }
        let zero = [0.0; LANES];
        for (unit, pairs) in self.pairs.as_chunks::<PAIRS>().0.iter().enumerate() {
            let mut ints = [L::ints_zero(); N];
            let mut x_unit = [&x_pairs[0][unit]; N];
            for (x_unit, x) in x_unit.iter_mut().zip(&x_pairs) {
                *x_unit = &x[unit];
            }
            for k in 0..PAIRS {
                for r in 0..N {
                    ints[r] = L::ints_add_pairs(ints[r], &pairs[k], &x_unit[r][k]);
                }
            }
            let scales = L::load(&self.scales[unit]);
            let minima = L::load(if B::MINIMA { &self.minima[unit] } else { &zero });
            for r in 0..N {
                let scale = x[r].scales[unit * 2 * PAIRS / GROUP];
                sums[r] =
                    add_unit::<L, B>(sums[r], ints[r], scales, minima, scale, code_sum::<B>(&x[r], unit));
            }
        }
        sums
    }
}

/// Lays sixteen rows of codes out by four bytes: `[16][CHUNK]` to `[CHUNK / 2][16][2]` of [`WORD`]s or `[CHUNK / 4][16][4]`
/// of [`BYTE`]s.
#[inline(always)]
fn across<L: Lanes, const WIDTH: usize>(codes: &[i16], pairs: &mut [[i16; 2 * LANES]]) {
    for (step, pairs) in pairs.as_chunks_mut::<{ LANES / 2 }>().0.iter_mut().enumerate() {
        L::pairs_across(&codes[step * LANES..], CHUNK * WIDTH / WORD, pairs);
    }
}
