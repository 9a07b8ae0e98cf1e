//! Weights taken apart for many rows of activations: panels of sixteen outputs, as many as stay in the cache.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Zeroable;

use super::Weights;
use super::few_digits::fours_of_column;
use super::integer::Part;
use super::rows::SixteenRows;
use super::tiled::TiledSums;
use crate::blocks::{Block, OverBlock, unit_of, with_block};
use crate::lanes::{ColumnKernel, ColumnLanes, Kernel, LANES, Lanes, PanelEights, RUN, dispatch};
use crate::tiles::bf16_of;

/// Weights of a row that are taken apart at a time: 16 rows of codes then take 8 KiB.
const CHUNK: usize = 256;
/// Units in a chunk, at most.
const UNITS: usize = CHUNK / 16;
/// Rows up to this many take panels two at a time.
pub(super) const FEW: usize = 16;

/// How codes lie in panels, in groups of four bytes or eight across sixteen rows.
pub(super) trait Form {
    /// Bytes of a code.
    const WIDTH: usize;
    /// What multiplies them.
    const USE: Use;
    /// Bytes of codes in a slab of panels: such a slab stays in the second-level cache.
    const SLAB: usize = 128 << 10;
    /// Inputs that panels hold at a time, a multiple of those in any block.
    const INPUTS_MAX: usize = usize::MAX;

    /// Takes the codes of a run out of a block, to their place among those of the block.
    fn take<L: Lanes, B: Block>(block: &B::Bytes, run: usize, codes: &mut [i16]);

    /// Lays a run of bytes of each of sixteen rows out; row `i` begins at `i * stride`.
    #[inline(always)]
    fn across<L: Lanes>(codes: &[i16], stride: usize, lines: &mut [[i16; 2 * LANES]; LANES / 2]) {
        L::pairs_across(codes, stride, lines);
    }

    /// Lays the unsigned codes of a run of sixteen blocks out, as [`ColumnLanes`] has them.
    fn take_column<L: ColumnLanes, B: Block>(fours: &[[L::Fours; 2]; 4], lines: &mut [Line]);
}

/// What a form is for.
pub(super) enum Use {
    Pairs,
    Tiles,
    Quads,
    Matrices,
}

/// Codes of 16 bits: panels are `[inputs / 2][16][2]`.
pub(super) struct Words;
/// Whole numbers in BF16: panels are `[inputs / 2][16][2]`.
pub(super) struct Halves;
/// Unsigned bytes, `[inputs / 4][16][4]`.
pub(super) struct UnsignedBytes;
/// Signed bytes by eights: `[inputs / 8][16][8]`.
pub(super) struct Eights;

impl Form for Words {
    const WIDTH: usize = 2;
    const USE: Use = Use::Pairs;
    #[inline(always)]
    fn take<L: Lanes, B: Block>(block: &B::Bytes, run: usize, codes: &mut [i16]) {
        L::bytes_to_codes(B::codes::<L>(block, run), &mut codes.as_chunks_mut().0[run]);
    }
    #[inline(always)]
    fn take_column<L: ColumnLanes, B: Block>(fours: &[[L::Fours; 2]; 4], lines: &mut [Line]) {
        if let Some(pairs) = bytemuck::cast_slice_mut(lines).first_chunk_mut() {
            L::pairs_of_column(fours, B::OFFSET, pairs);
        }
    }
}

impl Form for Halves {
    const WIDTH: usize = 2;
    const USE: Use = Use::Tiles;
    /// Every processor with tiles has 2 MiB of that cache.
    const SLAB: usize = 768 << 10;
    /// Many panels for each row that passes: all rows do not stay in any cache.
    const INPUTS_MAX: usize = 2048;
    #[inline(always)]
    fn take<L: Lanes, B: Block>(block: &B::Bytes, run: usize, codes: &mut [i16]) {
        Words::take::<L, B>(block, run, codes);
    }
    #[inline(always)]
    fn across<L: Lanes>(codes: &[i16], stride: usize, lines: &mut [[i16; 2 * LANES]; LANES / 2]) {
        L::pairs_across(codes, stride, lines);
        lines.iter_mut().for_each(halves_of_words);
    }
    #[inline(always)]
    fn take_column<L: ColumnLanes, B: Block>(fours: &[[L::Fours; 2]; 4], lines: &mut [Line]) {
        if let Some(halves) = bytemuck::cast_slice_mut(lines).first_chunk_mut() {
            L::halves_of_column(fours, B::OFFSET, const { bf16_of_codes::<B>() }.as_ref(), halves);
        }
    }
}

/// What codes of up to five bits are in BF16, less their offset.
const fn bf16_of_codes<B: Block>() -> Option<[u16; RUN]> {
    if B::BITS > 5 {
        return None;
    }
    let mut table = [0; RUN];
    let mut code = 0;
    while code < RUN {
        table[code] = ((code as i32 - B::OFFSET as i32) as f32).to_bits().wrapping_shr(16) as u16;
        code += 1;
    }
    Some(table)
}

#[inline(always)]
fn halves_of_words(line: &mut [i16; 2 * LANES]) {
    for code in line {
        *code = bf16_of(f32::from(*code)) as i16;
    }
}

impl Form for UnsignedBytes {
    const WIDTH: usize = 1;
    const USE: Use = Use::Quads;
    #[inline(always)]
    fn take<L: Lanes, B: Block>(block: &B::Bytes, run: usize, codes: &mut [i16]) {
        let codes = bytemuck::cast_slice_mut(codes).as_chunks_mut().0;
        L::bytes_store(B::unsigned_codes::<L>(block, run), &mut codes[run]);
    }
    #[inline(always)]
    fn take_column<L: ColumnLanes, B: Block>(fours: &[[L::Fours; 2]; 4], lines: &mut [Line]) {
        if let Some(quads) = bytemuck::cast_slice_mut(lines).first_chunk_mut() {
            L::quads_of_column(fours, 0, quads);
        }
    }
}

impl Form for Eights {
    const WIDTH: usize = 1;
    const USE: Use = Use::Matrices;
    #[inline(always)]
    fn take<L: Lanes, B: Block>(block: &B::Bytes, run: usize, codes: &mut [i16]) {
        let codes = bytemuck::cast_slice_mut(codes).as_chunks_mut().0;
        L::bytes_store(B::codes::<L>(block, run), &mut codes[run]);
    }
    #[inline(always)]
    fn across<L: Lanes>(codes: &[i16], stride: usize, lines: &mut [[i16; 2 * LANES]; LANES / 2]) {
        let columns: &mut [PanelEights; RUN / 8] = bytemuck::cast_mut(lines);
        let codes = &codes[..(LANES - 1) * stride + RUN / 2];
        for row in 0..LANES {
            let eights: &[[u8; 8]] = bytemuck::cast_slice(&codes[row * stride..][..RUN / 2]);
            for (column, eight) in columns.iter_mut().zip(eights) {
                column[row] = *eight;
            }
        }
    }
    #[inline(always)]
    fn take_column<L: ColumnLanes, B: Block>(_: &[[L::Fours; 2]; 4], _: &mut [Line]) {
        unreachable!("lanes with columns have no small matrices")
    }
}

/// Whether anything multiplies a storage's codes in a form. It is known before code is made, so that none is for the others.
const fn is_used<L: Lanes, B: Block, F: Form>() -> bool {
    match F::USE {
        Use::Pairs => true,
        // Tests have tiles everywhere.
        Use::Tiles => L::TILES || cfg!(test),
        Use::Quads => B::BITS <= L::BYTE_BITS,
        Use::Matrices => L::MATRICES,
    }
}

/// Panels that are used together, at most.
const PANELS_MAX: usize = 32;

/// As many panels as stay in the second-level cache. Few rows use panels so briefly that they had better stay in
/// the first-level cache.
fn panels_together<F: Form>(rows: usize, inputs: usize) -> usize {
    let slab = if rows <= FEW { 0 } else { F::SLAB / (LANES * inputs * F::WIDTH) };
    // They are multiplied two at a time.
    slab.clamp(2, PANELS_MAX) / 2 * 2
}

/// What a thread takes weights apart into. It is kept from one call to the next, since a thread is called for small
/// parts of a product, and empty memory is not free.
pub(super) struct Workspace {
    panels: [Panel; PANELS_MAX],
    chunk: Chunk,
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

/// The weights of some inputs of some outputs, taken apart.
pub(super) struct Filled<'a> {
    /// Sixteen outputs each.
    pub(super) panels: &'a [Panel],
    /// The first one.
    pub(super) output: usize,
    pub(super) inputs: Range<usize>,
}

impl Workspace {
    /// Takes the weights of a part apart, as many panels at a time as stay in the cache, and hands each slab of them to `multiply`. Where a
    /// slab does not hold all inputs, those of the same outputs follow each other.
    pub(super) fn slabs<F: Form>(part: &Part<'_>, mut multiply: impl FnMut(Filled<'_>, &mut TiledSums)) {
        let all = part.weights.inputs;
        let inputs_max = all.clamp(1, F::INPUTS_MAX);
        let panels_max = panels_together::<F>(part.x.rows(), inputs_max);
        let mut workspace = Workspace::take();
        let Workspace { panels, chunk, tiled } = &mut *workspace;
        for output in part.outputs.clone().step_by(panels_max * LANES) {
            let count = (part.outputs.end - output).div_ceil(LANES).min(panels_max);
            let panels = &mut panels[..count];
            for begin in (0..all).step_by(inputs_max) {
                let inputs = begin..(begin + inputs_max).min(all);
                if let Some(units) = unit_of(part.weights.storage) {
                    panels.iter_mut().for_each(|panel| panel.fit::<F>(inputs.len(), units));
                }
                let place = (output, inputs.clone());
                let slab = FillSlab::<F> { weights: &part.weights, panels, place, chunk, form: PhantomData };
                dispatch(part.isa, slab);
                multiply(Filled { panels, output, inputs }, tiled);
            }
        }
        workspace.put_back();
    }
}

/// Takes the weights of panels apart, from an output on, of some inputs.
struct FillSlab<'a, F> {
    weights: &'a Weights<'a>,
    panels: &'a mut [Panel],
    place: (usize, Range<usize>),
    chunk: &'a mut Chunk,
    form: PhantomData<F>,
}

impl<F: Form> Kernel for FillSlab<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        struct WithLanes<'a, L, F>(FillSlab<'a, F>, PhantomData<L>);
        impl<L: Lanes, F: Form> OverBlock for WithLanes<'_, L, F> {
            type Output = ();
            #[inline(always)]
            fn run<B: Block>(self) {
                if const { is_used::<L, B, F>() } {
                    let FillSlab { weights, panels, place: (output, inputs), chunk, .. } = self.0;
                    for (i, panel) in panels.iter_mut().enumerate() {
                        panel.fill::<L, B, F>(weights, (output + i * LANES, inputs.clone()), chunk);
                    }
                }
            }
        }
        with_block(self.weights.storage, WithLanes::<L, F>(self, PhantomData));
    }
}

/// Codes that one load takes, in one line of the cache.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line([i16; 2 * LANES]);

/// Sixteen rows of weights taken apart.
#[derive(Default)]
pub(super) struct Panel {
    /// In one [`Form`] or another.
    lines: Vec<Line>,
    /// `[inputs / UNIT][16]`
    pub(super) scales: Vec<[f32; LANES]>,
    pub(super) minima: Vec<[f32; LANES]>,
}

impl Panel {
    /// In one [`Form`] or another.
    #[inline(always)]
    pub(super) fn pairs(&self) -> &[[i16; 2 * LANES]] {
        bytemuck::cast_slice(&self.lines)
    }

    /// Makes it as long as the inputs; what it holds does not matter.
    fn fit<F: Form>(&mut self, inputs: usize, (unit, minima): (usize, bool)) {
        let units = inputs / unit;
        self.lines.resize(inputs * F::WIDTH / 4, Line([0; 2 * LANES]));
        self.scales.resize(units, [0.0; LANES]);
        self.minima.resize(if minima { units } else { 0 }, [0.0; LANES]);
    }

    #[inline(always)]
    fn fill<L: Lanes, B: Block, F: Form>(
        &mut self,
        weights: &Weights<'_>,
        (output, inputs): (usize, Range<usize>),
        chunk: &mut Chunk,
    ) {
        if const { L::COLUMNS } {
            let first = inputs.start / B::LEN;
            L::with_columns(FillColumns::<B, F> {
                panel: self,
                weights,
                place: (output, first),
                of: PhantomData,
            });
            return;
        }
        for begin in inputs.clone().step_by(CHUNK) {
            let end = (begin + CHUNK).min(inputs.end);
            chunk.fill::<L, B, F>(weights, output, begin..end);
            let (begin, end) = (begin - inputs.start, end - inputs.start);
            let (unit, units) = (begin / B::UNIT, (end - begin) / B::UNIT);
            self.scales[unit..][..units].copy_from_slice(&chunk.scales[..units]);
            if B::MINIMA {
                self.minima[unit..][..units].copy_from_slice(&chunk.minima[..units]);
            }
            let lines = &mut self.lines[begin * F::WIDTH / 4..end * F::WIDTH / 4];
            across::<L, F>(&chunk.codes, bytemuck::cast_slice_mut(lines));
        }
    }
}

/// Takes the weights of a panel apart, from an output and a column of blocks on, column by column; codes do not leave the registers on
/// their way.
struct FillColumns<'a, B, F> {
    panel: &'a mut Panel,
    weights: &'a Weights<'a>,
    place: (usize, usize),
    of: PhantomData<(B, F)>,
}

impl<B: Block, F: Form> ColumnKernel for FillColumns<'_, B, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: ColumnLanes>(self) {
        let FillColumns { panel, weights, place: (output, first), .. } = self;
        let rows = SixteenRows::<B>::of(weights, output);
        let scales: &mut [B::Scales] = bytemuck::cast_slice_mut(&mut panel.scales);
        let minima: &mut [B::Scales] = bytemuck::cast_slice_mut(&mut panel.minima);
        let mut none = B::Scales::zeroed();
        let columns = panel.lines.chunks_exact_mut(B::LEN * F::WIDTH / 4);
        for (i, (lines, scales)) in columns.zip(scales).enumerate() {
            let index = first + i;
            B::scales::<L>(&rows.column(index), scales, minima.get_mut(i).unwrap_or(&mut none));
            for (run, lines) in lines.chunks_exact_mut(RUN * F::WIDTH / 4).enumerate() {
                rows.prefetch_ahead::<L>(index, run);
                F::take_column::<L, B>(&fours_of_column::<L, B>(&rows.column(index), run), lines);
            }
        }
    }
}

/// A chunk of sixteen rows of weights, taken apart.
struct Chunk {
    /// `[16][CHUNK]`, in the width of their [`Form`].
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
    fn fill<L: Lanes, B: Block, F: Form>(
        &mut self,
        weights: &Weights<'_>,
        output: usize,
        columns: Range<usize>,
    ) {
        let (first, count) = (columns.start / B::LEN, columns.len() / B::LEN);
        let rows = SixteenRows::<B>::of(weights, output);
        let codes = self.codes.chunks_exact_mut(CHUNK * F::WIDTH / Words::WIDTH);
        for (row, codes) in codes.enumerate().take(LANES) {
            let blocks = rows.part(row, first, count);
            for (block, codes) in blocks.iter().zip(codes.chunks_exact_mut(B::LEN * F::WIDTH / Words::WIDTH))
            {
                for run in 0..B::LEN / RUN {
                    F::take::<L, B>(block, run, codes);
                }
            }
        }
        let scales: &mut [B::Scales] = bytemuck::cast_slice_mut(&mut self.scales);
        let minima: &mut [B::Scales] = bytemuck::cast_slice_mut(&mut self.minima);
        for (index, (scales, minima)) in scales.iter_mut().zip(minima).enumerate().take(count) {
            let blocks = rows.column(first + index);
            for run in 0..B::LEN / RUN {
                rows.prefetch_ahead::<L>(first + index, run);
            }
            B::scales::<L>(&blocks, scales, minima);
        }
    }
}

/// Lays sixteen rows of codes, `[16][CHUNK]`, out as their [`Form`] says.
#[inline(always)]
fn across<L: Lanes, F: Form>(codes: &[i16], pairs: &mut [[i16; 2 * LANES]]) {
    for (step, pairs) in pairs.as_chunks_mut::<{ LANES / 2 }>().0.iter_mut().enumerate() {
        F::across::<L>(&codes[step * LANES..], CHUNK * F::WIDTH / Words::WIDTH, pairs);
    }
}
