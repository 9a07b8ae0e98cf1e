//! Few rows of activations: codes straight out of their blocks, each block taken apart once for all rows.

use std::marker::PhantomData;

use bytemuck::Zeroable;

use super::codes::Row;
use super::integer::{Part, add_unit, code_sum, each_lane, scale_of, without_offset};
use super::rows::{SixteenRows, prefetch_first};
use crate::blocks::{Block, OverBlock, with_block};
use crate::lanes::{ByteKernel, ByteLanes, Kernel, LANES, Lanes, RUN};

/// A part of a product whose rows may be few; gives whether they were, and are done.
pub(super) struct FewRows<'a>(pub(super) &'a Part<'a>);

impl Kernel for FewRows<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        struct WithLanes<'a, L>(&'a Part<'a>, PhantomData<L>);
        impl<L: Lanes> OverBlock for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<B: Block>(self) {
                self.0.few::<L, B, ByRows<Pairs>>();
            }
        }
        // The condition is known before code is made, so that others need not have the code.
        if const { L::ROWS_OF_BLOCKS > 0 && L::DIGIT_ROWS == 0 }
            && (1..=L::ROWS_OF_BLOCKS).contains(&self.0.x.rows())
        {
            with_block(self.0.weights.storage, WithLanes::<L>(self.0, PhantomData));
            return true;
        }
        false
    }
}

/// The same for codes of activations in bytes, where lanes multiply these.
pub(super) struct FewRowsOfBytes<'a>(pub(super) &'a Part<'a>);

impl Kernel for FewRowsOfBytes<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        let few = self.0.x.has_bytes() && (1..=L::ROWS_OF_BLOCKS).contains(&self.0.x.rows());
        few && L::with_bytes(self) == Some(true)
    }
}

impl ByteKernel for FewRowsOfBytes<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<L: ByteLanes>(self) -> bool {
        struct WithLanes<'a, L>(&'a Part<'a>, PhantomData<L>);
        impl<L: ByteLanes> OverBlock for WithLanes<'_, L> {
            type Output = bool;
            #[inline(always)]
            fn run<B: Block>(self) -> bool {
                // Signs of eight bits are turned over for each row anew: more rows had better be pairs.
                if const { B::BITS <= L::BYTE_BITS } {
                    self.0.few::<L, B, ByRows<Quads>>();
                    return true;
                }
                let one = self.0.x.rows() == 1;
                if one {
                    self.0.few_rows::<L, B, ByRows<Quads>, 1>();
                }
                one
            }
        }
        with_block(self.0.weights.storage, WithLanes::<L>(self.0, PhantomData)) == Some(true)
    }
}

/// How the codes of a run are multiplied.
trait Products<L: Lanes, B: Block> {
    /// Codes of a run of weights, or of activations.
    type Codes: Copy;
    /// Products of both, summed as far as it costs nothing.
    type Products: Copy;
    /// What codes of weights are too great by.
    const OFFSET: u8;

    fn codes(block: &B::Bytes, run: usize) -> Self::Codes;
    fn load(x: &Row<'_>, group: usize) -> Self::Codes;
    fn multiply(codes: Self::Codes, x: Self::Codes) -> Self::Products;
    /// The sums of the products of each unit of the run; where it is one, twice.
    fn sum(rows: &[Self::Products; LANES]) -> [L::Ints; 2];
}

/// Codes of 16 bits.
struct Pairs;

impl<L: Lanes, B: Block> Products<L, B> for Pairs {
    type Codes = L::Codes;
    type Products = L::Products;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn codes(block: &B::Bytes, run: usize) -> L::Codes {
        L::codes_of(B::codes::<L>(block, run))
    }
    #[inline(always)]
    fn load(x: &Row<'_>, group: usize) -> L::Codes {
        L::codes_load(&x.codes.as_chunks().0[group])
    }
    #[inline(always)]
    fn multiply(codes: L::Codes, x: L::Codes) -> L::Products {
        L::products(codes, x)
    }
    #[inline(always)]
    fn sum(rows: &[L::Products; LANES]) -> [L::Ints; 2] {
        if B::UNIT == RUN { [L::products_sum(rows); 2] } else { L::products_sum_halves(rows) }
    }
}

/// Codes of 8 bits; those of weights unsigned, as long as they have fewer.
struct Quads;

impl<L: ByteLanes, B: Block> Products<L, B> for Quads {
    type Codes = L::Bytes;
    type Products = L::Bytes;
    const OFFSET: u8 = if B::BITS < 8 { B::OFFSET } else { 0 };

    #[inline(always)]
    fn codes(block: &B::Bytes, run: usize) -> L::Bytes {
        if B::BITS < 8 { B::unsigned_codes::<L>(block, run) } else { B::codes::<L>(block, run) }
    }
    #[inline(always)]
    fn load(x: &Row<'_>, group: usize) -> L::Bytes {
        L::bytes_load(&x.digits[0].as_chunks().0[group])
    }
    #[inline(always)]
    fn multiply(codes: L::Bytes, x: L::Bytes) -> L::Bytes {
        if B::BITS < 8 { L::byte_products(codes, x) } else { L::signed_byte_products(codes, x) }
    }
    #[inline(always)]
    fn sum(rows: &[L::Bytes; LANES]) -> [L::Ints; 2] {
        if B::UNIT == RUN {
            [L::byte_products_sum(rows, B::BITS); 2]
        } else {
            L::byte_products_sum_halves(rows, B::BITS)
        }
    }
}

/// A column of the blocks of sixteen rows of weights.
pub(super) struct Column<'a, B: Block> {
    pub(super) rows: &'a SixteenRows<'a, B>,
    /// The place of the blocks in their rows.
    pub(super) index: usize,
    /// `[LEN / UNIT][16]`
    pub(super) scales: &'a [[f32; LANES]],
    pub(super) minima: &'a [[f32; LANES]],
}

/// How columns are multiplied.
pub(super) trait Columns<L: Lanes, B: Block> {
    /// Adds the products with a column to the sums of so many rows of activations, `N` at most. Its codes are taken apart once
    /// for all of them.
    fn add<const N: usize>(column: &Column<'_, B>, x: (&[Row<'_>; N], usize), sums: [L; N]) -> [L; N];
}

impl Part<'_> {
    /// One to four rows of activations.
    #[inline(always)]
    pub(super) fn few<L: Lanes, B: Block, C: Columns<L, B>>(&self) {
        match self.x.rows() {
            1 => self.few_rows::<L, B, C, 1>(),
            2 => self.few_rows::<L, B, C, 2>(),
            3 => self.few_rows::<L, B, C, 3>(),
            _ => self.few_rows::<L, B, C, 4>(),
        }
    }

    #[inline(always)]
    pub(super) fn few_rows<L: Lanes, B: Block, C: Columns<L, B>, const N: usize>(&self) {
        let count = self.x.rows().min(N);
        let mut x = [self.x.row(0); N];
        for (r, x) in x.iter_mut().enumerate().take(count) {
            *x = self.x.row(r);
        }
        let mut output = self.outputs.start;
        prefetch_first::<L, B>(&self.weights, output);
        while output < self.outputs.end {
            let rows = SixteenRows::<B>::of(&self.weights, output);
            let mut sums = [L::splat(0.0); N];
            for index in 0..self.weights.inputs / B::LEN {
                let (mut scales, mut minima) = (B::Scales::zeroed(), B::Scales::zeroed());
                B::scales::<L>(&rows.column(index), &mut scales, &mut minima);
                let scales = bytemuck::cast_slice(std::slice::from_ref(&scales));
                let minima = bytemuck::cast_slice(std::slice::from_ref(&minima));
                let column = Column { rows: &rows, index, scales, minima };
                sums = C::add(&column, (&x, count), sums);
            }
            for (r, sums) in sums.into_iter().enumerate().take(count) {
                self.store(r, output, sums);
            }
            output += LANES;
        }
    }
}

/// Row by row of weights.
struct ByRows<P>(PhantomData<P>);

impl<L: Lanes, B: Block, P: Products<L, B>> Columns<L, B> for ByRows<P> {
    #[inline(always)]
    fn add<const N: usize>(
        column: &Column<'_, B>,
        (x, _): (&[Row<'_>; N], usize),
        mut sums: [L; N],
    ) -> [L; N] {
        let Column { rows, index, scales, minima } = *column;
        for run in 0..B::LEN / RUN {
            rows.prefetch_ahead::<L>(index, run);
            let blocks = rows.column(index);
            let group = index * (B::LEN / RUN) + run;
            // For one row of activations codes need not leave the registers.
            let codes = if N > 1 {
                each_lane!(|lane| P::codes(blocks[lane], run))
            } else {
                [P::codes(blocks[0], run); LANES]
            };
            for r in 0..N {
                let of_x = P::load(&x[r], group);
                let products = if N > 1 {
                    each_lane!(|lane| P::multiply(codes[lane], of_x))
                } else {
                    each_lane!(|lane| P::multiply(P::codes(blocks[lane], run), of_x))
                };
                for (half, ints) in P::sum(&products).into_iter().take(RUN / B::UNIT).enumerate() {
                    let unit = run * (RUN / B::UNIT) + half;
                    let mut products = L::ints_to_f32(ints);
                    let (scales, minima) = (L::load(&scales[unit]), L::load(&minima[unit]));
                    if P::OFFSET > 0 {
                        let codes = code_sum::<B::Unit>(&x[r], group, half);
                        products = without_offset(products, f32::from(P::OFFSET), codes);
                    }
                    let scale = scale_of::<B::Unit>(&x[r], group, half);
                    sums[r] = add_unit::<L, B::Unit>(sums[r], products, scales, minima, scale);
                }
            }
        }
        sums
    }
}
