//! Sixteen rows of blocks of weights, which are read column by column.

use std::borrow::Cow;

use super::Weights;
use crate::blocks::Block;
use crate::lanes::{LANES, Lanes, RUN, prefetch};

/// Sixteen rows, one behind the other.
pub(super) struct SixteenRows<'a, B: Block> {
    /// `[16][blocks in a row]`
    blocks: Cow<'a, [B::Bytes]>,
    /// The sixteen rows behind the next sixteen, if there are so many.
    ahead: &'a [u8],
}

impl<'a, B: Block> SixteenRows<'a, B> {
    /// The rows from `output` on. Rows behind the last one are copies of it; nobody stores what comes of them.
    #[inline(always)]
    pub(super) fn of(weights: &Weights<'a>, output: usize) -> Self {
        let row = weights.inputs / B::LEN;
        let all: &[B::Bytes] = bytemuck::cast_slice(weights.bytes);
        let begin = output * row;
        let whole = all.get(begin..begin + LANES * row).map(Cow::Borrowed);
        let blocks = whole.unwrap_or_else(|| Cow::Owned(filled_up(&all[begin..], row)));
        let ahead = (output + 2 * LANES) * row * size_of::<B::Bytes>();
        SixteenRows { blocks, ahead: weights.bytes.get(ahead..).unwrap_or_default() }
    }

    /// Blocks in a row.
    #[inline(always)]
    pub(super) fn columns(&self) -> usize {
        self.blocks.len() / LANES
    }

    /// Block `index` of each row.
    #[inline(always)]
    pub(super) fn column(&self, index: usize) -> [&B::Bytes; LANES] {
        let row = self.columns();
        assert!(index < row, "a row has {row} blocks");
        let s = row * size_of::<B::Bytes>();
        // Sixteen pointers would not fit the registers; from these six numbers each is one address.
        let [s, s3, s5, s7] = at_each_use([s, 3 * s, 5 * s, 7 * s]);
        let first = &raw const self.blocks[index];
        // SAFETY: there are sixteen rows, `s` is what one takes in bytes, and `first` lies in the first of them.
        unsafe {
            let ninth = first.byte_add(8 * s);
            [
                &*first,
                &*first.byte_add(s),
                &*first.byte_add(2 * s),
                &*first.byte_add(s3),
                &*first.byte_add(4 * s),
                &*first.byte_add(s5),
                &*first.byte_add(2 * s3),
                &*first.byte_add(s7),
                &*ninth,
                &*ninth.byte_add(s),
                &*ninth.byte_add(2 * s),
                &*ninth.byte_add(s3),
                &*ninth.byte_add(4 * s),
                &*ninth.byte_add(s5),
                &*ninth.byte_add(2 * s3),
                &*ninth.byte_add(s7),
            ]
        }
    }

    /// Blocks `first ..` of a row, so many of them.
    #[inline(always)]
    pub(super) fn part(&self, row: usize, first: usize, count: usize) -> &[B::Bytes] {
        &self.blocks[row * self.columns() + first..][..count]
    }

    /// Asks for a share of the sixteen rows behind the next sixteen, as many bytes as a run of a column of blocks has:
    /// rows are too short for the processor to see a pattern, and a whole column of large blocks is more than it can wait
    /// for at a time.
    #[inline(always)]
    pub(super) fn prefetch_ahead<L: Lanes>(&self, index: usize, run: usize) {
        let (runs, column) = (B::LEN / RUN, LANES * size_of::<B::Bytes>());
        let (from, to) = (index * column + column * run / runs, index * column + column * (run + 1) / runs);
        prefetch::<L>(self.ahead.get(from..to).unwrap_or_default());
    }
}

/// Rows of blocks, fewer than sixteen, and copies of the last one.
#[cold]
fn filled_up<T: Copy>(rows: &[T], row: usize) -> Vec<T> {
    let mut all = rows.to_vec();
    while all.len() < LANES * row {
        all.extend_from_slice(&rows[rows.len() - row..]);
    }
    all
}

/// Asks for the rows that a part begins with, for which nobody has asked ahead.
#[inline(always)]
pub(super) fn prefetch_first<L: Lanes, B: Block>(weights: &Weights<'_>, output: usize) {
    let row = weights.inputs / B::LEN * size_of::<B::Bytes>();
    let end = ((output + 2 * LANES) * row).min(weights.bytes.len());
    prefetch::<L>(&weights.bytes[output * row..end]);
}

/// The same numbers, of which the compiler does not know that they are: it would keep all sums of them in registers that there
/// are not, and read each pointer back from the stack.
#[inline(always)]
fn at_each_use<const N: usize>(numbers: [usize; N]) -> [usize; N] {
    #[cfg(target_arch = "x86_64")]
    let numbers = {
        let mut hidden = numbers;
        for number in &mut hidden {
            // SAFETY: no instruction at all.
            unsafe {
                std::arch::asm!("/* {} */", inout(reg) * number, options(nomem, nostack, preserves_flags))
            };
        }
        hidden
    };
    numbers
}
