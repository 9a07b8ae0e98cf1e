//! Sixteen outputs' weights, rounded to BF16 tile by tile.

use bytemuck::Zeroable;

use super::super::Weights;
use super::super::rows::SixteenRows;
use super::super::widen::Number;
use super::rows::round;
use crate::blocks::Block;
use crate::lanes::{Bf16Lanes, LANES, RUN};
use crate::tiles::Tile;

/// Sixteen rows of weights, which are read column by column of blocks.
pub(super) trait Panel<'w>: Sized {
    /// What the weights of a column are multiplied with.
    type Scales: Copy + Zeroable;
    /// Tiles in a column.
    const STEPS: usize;

    /// The rows from `output` on. Rows behind the last one are copies of it.
    fn of(weights: &Weights<'w>, output: usize) -> Self;
    fn columns(&self) -> usize;
    fn scales<L: Bf16Lanes>(&self, column: usize, scales: &mut Self::Scales);
    /// Rounds the weights of 32 inputs, zeros behind the last.
    fn tile<L: Bf16Lanes>(&self, column: usize, step: usize, scales: &Self::Scales, to: &mut Tile);
    /// Asks for as many bytes of what is read later as a tile is made of.
    fn prefetch_ahead<L: Bf16Lanes>(&self, column: usize, step: usize);
}

/// Of quantised weights.
pub(super) struct PanelOfBlocks<'w, B: Block>(SixteenRows<'w, B>);

impl<'w, B: Block> Panel<'w> for PanelOfBlocks<'w, B> {
    /// Scales, and minima with their sign turned.
    type Scales = [B::Scales; 2];
    const STEPS: usize = B::LEN / RUN;

    #[inline(always)]
    fn of(weights: &Weights<'w>, output: usize) -> Self {
        PanelOfBlocks(SixteenRows::of(weights, output))
    }

    #[inline(always)]
    fn columns(&self) -> usize {
        self.0.columns()
    }

    #[inline(always)]
    fn scales<L: Bf16Lanes>(&self, column: usize, [scales, minima]: &mut Self::Scales) {
        B::scales::<L>(&self.0.column(column), scales, minima);
        if B::MINIMA {
            let minima: &mut [[f32; LANES]] = bytemuck::cast_slice_mut(std::slice::from_mut(minima));
            for minima in minima {
                L::splat(0.0).sub(L::load(minima)).store(minima);
            }
        }
    }

    #[inline(always)]
    fn tile<L: Bf16Lanes>(&self, column: usize, step: usize, scales: &Self::Scales, to: &mut Tile) {
        let blocks = self.0.column(column);
        let [scales, minima] = scales;
        let scales: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(scales));
        let minima: &[[f32; LANES]] = bytemuck::cast_slice(std::slice::from_ref(minima));
        let first = step * (RUN / B::UNIT);
        let units = [first, first + RUN / B::UNIT - 1];
        if let Some(values) = &B::VALUES {
            for (two, to) in to.0.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let rows = [2 * two, 2 * two + 1];
                let nibbles = rows.map(|row| B::nibbles(blocks[row], step));
                let shifts = if B::MINIMA { Some(rows.map(|row| minima[first][row])) } else { None };
                L::pairs_of_nibbles(values, nibbles, rows.map(|row| scales[first][row]), shifts, to);
            }
            return;
        }
        for row in 0..LANES {
            let mut halves = L::numbers_of(B::codes::<L>(blocks[row], step));
            for i in 0..2 {
                let scale = L::splat(scales[units[i]][row]);
                halves[i] = match B::MINIMA {
                    true => halves[i].mul_add(scale, L::splat(minima[units[i]][row])),
                    false => halves[i].mul(scale),
                };
            }
            L::pairs_placed(halves[0], halves[1], &mut to.0[row]);
        }
    }

    #[inline(always)]
    fn prefetch_ahead<L: Bf16Lanes>(&self, column: usize, step: usize) {
        self.0.prefetch_ahead::<L>(column, step);
    }
}

/// Columns of the same rows that are asked for ahead, and behind their end of the rows after the next panel's. These rows are long, mostly
/// a page or more: each is a stream that the processor sees by itself once lines near the one that is read are asked for.
const COLUMNS_AHEAD: usize = 4;

/// Of weights that are numbers as they lie.
pub(super) struct PanelOfNumbers<'w, N> {
    /// From the first row on.
    numbers: &'w [N],
    inputs: usize,
    /// The last row that there is.
    last: usize,
}

impl<'w, N: Number> Panel<'w> for PanelOfNumbers<'w, N> {
    type Scales = [f32; 0];
    const STEPS: usize = 1;

    #[inline(always)]
    fn of(weights: &Weights<'w>, output: usize) -> Self {
        let numbers = &bytemuck::cast_slice(weights.bytes)[output * weights.inputs..];
        let last = weights.outputs - 1 - output;
        PanelOfNumbers { numbers, inputs: weights.inputs, last }
    }

    #[inline(always)]
    fn columns(&self) -> usize {
        self.inputs.div_ceil(RUN)
    }

    #[inline(always)]
    fn scales<L: Bf16Lanes>(&self, _: usize, _: &mut Self::Scales) {}

    #[inline(always)]
    fn tile<L: Bf16Lanes>(&self, column: usize, _: usize, _: &Self::Scales, to: &mut Tile) {
        let (first, end) = (column * RUN, (column * RUN + RUN).min(self.inputs));
        for row in 0..LANES {
            let begin = row.min(self.last) * self.inputs;
            let numbers = &self.numbers[begin + first..begin + end];
            round::<L, N>(numbers, &mut to.0[row]);
        }
    }

    #[inline(always)]
    fn prefetch_ahead<L: Bf16Lanes>(&self, column: usize, _: usize) {
        let ahead = column + COLUMNS_AHEAD;
        let first = match ahead.checked_sub(self.columns()) {
            None => ahead * RUN,
            Some(behind) => 2 * LANES * self.inputs + behind * RUN,
        };
        for row in 0..LANES {
            if let Some(number) = self.numbers.get(first + row * self.inputs) {
                L::prefetch(&bytemuck::bytes_of(number)[0]);
            }
        }
    }
}
