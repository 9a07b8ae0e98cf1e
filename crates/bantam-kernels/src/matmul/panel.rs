//! Many rows of activations: panels of codes in pairs or in quads of bytes, each slab of them for all rows.

use std::marker::PhantomData;

use super::codes::{GROUP, Row};
use super::integer::{Part, add_unit, code_sum, without_offset};
use super::slab::{Panel, UnsignedBytes, Words, Workspace};
use crate::blocks::{OverUnit, Unit, bits_of, with_unit};
use crate::lanes::{ByteKernel, ByteLanes, Kernel, LANES, Lanes, byte_bits, dispatch};

/// A part of a product.
pub(super) struct ManyRows<'a>(pub(super) &'a Part<'a>);

impl ManyRows<'_> {
    pub(super) fn run(&self) {
        let part = self.0;
        let bits_max = if part.x.has_bytes() { byte_bits(part.isa) } else { 0 };
        match bits_of(part.weights.storage) {
            Some((bits, offset)) if bits <= bits_max => {
                Workspace::slabs::<UnsignedBytes>(part, |panels, output, _| {
                    let slab = Slab { part, panels, output };
                    dispatch(part.isa, SlabOfBytes { slab, bits, offset: f32::from(offset) });
                });
            }
            _ => Workspace::slabs::<Words>(part, |panels, output, _| {
                dispatch(part.isa, Slab { part, panels, output });
            }),
        }
    }
}

/// The outputs of a slab of panels from `output` on, for all rows.
struct Slab<'a> {
    part: &'a Part<'a>,
    panels: &'a [Panel],
    output: usize,
}

impl Kernel for Slab<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        struct WithLanes<'a, L>(Slab<'a>, PhantomData<L>);
        impl<L: Lanes> OverUnit for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(self) {
                self.0.all_rows::<L, U, Pairs>(&Pairs);
            }
        }
        with_unit(self.part.weights.storage, WithLanes::<L>(self, PhantomData));
    }
}

/// The same of panels of unsigned bytes.
struct SlabOfBytes<'a> {
    slab: Slab<'a>,
    /// Of a code.
    bits: usize,
    offset: f32,
}

impl Kernel for SlabOfBytes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        L::with_bytes(self);
    }
}

impl ByteKernel for SlabOfBytes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: ByteLanes>(self) {
        struct WithLanes<'a, L>(SlabOfBytes<'a>, PhantomData<L>);
        impl<L: ByteLanes> OverUnit for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(self) {
                let SlabOfBytes { slab, bits, offset } = self.0;
                // Two quads of six bits, four of five and eight of four fit; short units are all multiplied as if they had six.
                if const { U::LEN == 16 } {
                    slab.all_rows::<L, U, Quads<2>>(&Quads { offset });
                } else if bits <= 4 {
                    slab.all_rows::<L, U, Quads<8>>(&Quads { offset });
                } else {
                    slab.all_rows::<L, U, Quads<4>>(&Quads { offset });
                }
            }
        }
        with_unit(self.slab.part.weights.storage, WithLanes::<L>(self, PhantomData));
    }
}

impl Slab<'_> {
    #[inline(always)]
    fn all_rows<L: Lanes, U: Unit, P: Products<L>>(&self, products: &P) {
        let rows = self.part.x.rows();
        let mut row = 0;
        while row < rows {
            // Two and two cost less than three and one, which loads as much for its one.
            let step = match rows - row {
                4 => 2,
                left if left < L::ROWS => left.min(3),
                _ => L::ROWS,
            };
            for (i, panel) in self.panels.iter().enumerate() {
                let output = self.output + i * LANES;
                match step {
                    1 => self.rows_of_panel::<L, U, P, 1>(products, panel, row, output),
                    2 => self.rows_of_panel::<L, U, P, 2>(products, panel, row, output),
                    6 if const { L::ROWS == 6 } => {
                        self.rows_of_panel::<L, U, P, 6>(products, panel, row, output)
                    }
                    _ => self.rows_of_panel::<L, U, P, 3>(products, panel, row, output),
                }
            }
            row += step;
        }
    }

    #[inline(always)]
    fn rows_of_panel<L: Lanes, U: Unit, P: Products<L>, const N: usize>(
        &self,
        products: &P,
        panel: &Panel,
        row: usize,
        output: usize,
    ) {
        let mut x = [self.part.x.row(row); N];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.part.x.row(row + r);
        }
        for (r, sums) in products.multiply::<U, N>(panel, &x).into_iter().enumerate() {
            self.part.store(row + r, output, sums);
        }
    }
}

/// How the codes of panels are multiplied.
trait Products<L: Lanes> {
    /// Products of `N` rows with sixteen outputs.
    fn multiply<U: Unit, const N: usize>(&self, panel: &Panel, x: &[Row<'_>; N]) -> [L; N];
}

/// Codes of 16 bits.
struct Pairs;

impl<L: Lanes> Products<L> for Pairs {
    #[inline(always)]
    fn multiply<U: Unit, const N: usize>(&self, panel: &Panel, x: &[Row<'_>; N]) -> [L; N] {
        if U::LEN == 16 {
            multiply_pairs::<L, U, N, 8>(panel, x)
        } else {
            multiply_pairs::<L, U, N, 16>(panel, x)
        }
    }
}

/// `PAIRS` is half of a unit.
#[inline(always)]
fn multiply_pairs<L: Lanes, U: Unit, const N: usize, const PAIRS: usize>(
    panel: &Panel,
    x: &[Row<'_>; N],
) -> [L; N] {
    let mut sums = [L::splat(0.0); N];
    let mut x_pairs: [&[[[i16; 2]; PAIRS]]; N] = [&[]; N];
    for (pairs, x) in x_pairs.iter_mut().zip(x) {
        *pairs = x.codes.as_chunks::<2>().0.as_chunks::<PAIRS>().0;
    }
    for (unit, pairs) in panel.pairs.as_chunks::<PAIRS>().0.iter().enumerate() {
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
        let mut products = [L::splat(0.0); N];
        for r in 0..N {
            products[r] = L::ints_to_f32(ints[r]);
        }
        panel.add_units::<L, U, N>(&mut sums, products, x, unit);
    }
    sums
}

/// Unsigned bytes, of which so many quads are added up before the sums are widened.
struct Quads<const QUADS: usize> {
    /// What codes of weights are too great by.
    offset: f32,
}

impl<L: ByteLanes, const QUADS: usize> Products<L> for Quads<QUADS> {
    #[inline(always)]
    fn multiply<U: Unit, const N: usize>(&self, panel: &Panel, x: &[Row<'_>; N]) -> [L; N] {
        let mut sums = [L::splat(0.0); N];
        let mut x_quads: [&[[[u8; 4]; QUADS]]; N] = [&[]; N];
        for (quads, x) in x_quads.iter_mut().zip(x) {
            *quads = x.bytes.as_chunks::<4>().0.as_chunks::<QUADS>().0;
        }
        let codes: &[[u8; 4 * LANES]] = bytemuck::cast_slice(&panel.pairs);
        let parts = U::LEN / 4 / QUADS;
        for (unit, codes) in codes.as_chunks::<QUADS>().0.chunks_exact(parts).enumerate() {
            let mut ints = [L::ints_zero(); N];
            for part in 0..parts {
                let mut narrow = [L::narrow_zero(); N];
                let mut x_part = [&x_quads[0][unit * parts + part]; N];
                for (x_part, x) in x_part.iter_mut().zip(&x_quads) {
                    *x_part = &x[unit * parts + part];
                }
                for k in 0..QUADS {
                    for r in 0..N {
                        narrow[r] = L::narrow_add_quads(narrow[r], &codes[part][k], &x_part[r][k]);
                    }
                }
                for r in 0..N {
                    ints[r] = L::ints_add_narrow(ints[r], narrow[r]);
                }
            }
            let mut products = [L::splat(0.0); N];
            for r in 0..N {
                products[r] = L::ints_to_f32(ints[r]);
                if !U::MINIMA {
                    products[r] = without_offset(products[r], self.offset, code_sum::<U>(&x[r], unit));
                }
            }
            panel.add_units::<L, U, N>(&mut sums, products, x, unit);
        }
        sums
    }
}

impl Panel {
    /// Adds a unit to the sums of `N` rows.
    #[inline(always)]
    fn add_units<L: Lanes, U: Unit, const N: usize>(
        &self,
        sums: &mut [L; N],
        products: [L; N],
        x: &[Row<'_>; N],
        unit: usize,
    ) {
        let zero = [0.0; LANES];
        let scales = L::load(&self.scales[unit]);
        let minima = L::load(if U::MINIMA { &self.minima[unit] } else { &zero });
        for r in 0..N {
            let code_sum = if U::MINIMA { code_sum::<U>(&x[r], unit) } else { 0.0 };
            let scale = x[r].scales[unit * U::LEN / GROUP];
            sums[r] = add_unit::<L, U>(sums[r], products[r], scales, minima, scale, code_sum);
        }
    }
}
