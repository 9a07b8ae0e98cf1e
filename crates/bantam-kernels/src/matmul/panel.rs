//! Many rows of activations: panels of codes in pairs or in quads of bytes, each slab of them for all rows.

use std::marker::PhantomData;

use super::codes::{GROUP, Row};
use super::integer::{Part, add_unit, code_sum, without_offset};
use super::slab::{Panel, UnsignedBytes, Words, Workspace};
use crate::blocks::{OverUnit, Unit, bits_of, with_unit};
use crate::lanes::{
    ByteProducts, DigitKernel, DigitLanes, Kernel, LANES, Lanes, QuadKernel, QuadLanes, dispatch,
};

/// A part of a product.
pub(super) struct ManyRows<'a>(pub(super) &'a Part<'a>);

impl ManyRows<'_> {
    pub(super) fn run(&self) {
        let part = self.0;
        let has = ByteProducts::of(part.isa);
        let bits_max = match part.x.has_digits() {
            true if part.x.has_bytes() => has.bits,
            // Codes must be the same signed and not.
            true if has.many_by_digits => has.bits.min(7),
            _ => 0,
        };
        match bits_of(part.weights.storage) {
            Some((bits, offset)) if bits <= bits_max => {
                Workspace::slabs::<UnsignedBytes>(part, |panels, output, _| {
                    let slab = SlabOfBytes { slab: Slab { part, panels, output }, bits, offset };
                    match part.x.has_bytes() {
                        true => dispatch(part.isa, slab),
                        false => dispatch(part.isa, SlabOfDigits(slab)),
                    }
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
    /// What it is too great by.
    offset: u8,
}

impl Kernel for SlabOfBytes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        L::with_quads(self);
    }
}

impl QuadKernel for SlabOfBytes<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: QuadLanes>(self) {
        struct WithLanes<'a, L>(SlabOfBytes<'a>, PhantomData<L>);
        impl<L: QuadLanes> OverUnit for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(self) {
                let SlabOfBytes { slab, bits, offset } = self.0;
                let offset = f32::from(offset);
                // Two quads of six bits, four of five and eight of four fit 16 bits; short units are all multiplied as if they had six.
                if const { U::LEN == 16 && L::ANY_SUM } {
                    slab.all_rows::<L, U, Quads<4>>(&Quads { offset });
                } else if const { U::LEN == 16 } {
                    slab.all_rows::<L, U, Quads<2>>(&Quads { offset });
                } else if L::ANY_SUM || bits <= 4 {
                    slab.all_rows::<L, U, Quads<8>>(&Quads { offset });
                } else {
                    slab.all_rows::<L, U, Quads<4>>(&Quads { offset });
                }
            }
        }
        with_unit(self.slab.part.weights.storage, WithLanes::<L>(self, PhantomData));
    }
}

/// The same for codes of activations of 16 bits, by their digits.
struct SlabOfDigits<'a>(SlabOfBytes<'a>);

impl Kernel for SlabOfDigits<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        L::with_digits(self);
    }
}

impl DigitKernel for SlabOfDigits<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: DigitLanes>(self) {
        struct WithLanes<'a, L>(SlabOfBytes<'a>, PhantomData<L>);
        impl<L: DigitLanes> OverUnit for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(self) {
                let SlabOfBytes { slab, offset, .. } = self.0;
                let offset = i32::from(offset);
                if const { U::LEN == 16 } {
                    slab.all_rows::<L, U, Digits<4>>(&Digits { offset });
                } else {
                    slab.all_rows::<L, U, Digits<8>>(&Digits { offset });
                }
            }
        }
        with_unit(self.0.slab.part.weights.storage, WithLanes::<L>(self.0, PhantomData));
    }
}

impl Slab<'_> {
    #[inline(always)]
    fn all_rows<L: Lanes, U: Unit, P: Products<L>>(&self, products: &P) {
        let rows = self.part.x.rows();
        let mut row = 0;
        while row < rows {
            let step = step::<L>(rows - row);
            let together = if L::WIDE { 2 } else { 1 };
            for (i, panels) in self.panels.chunks(together).enumerate() {
                let output = self.output + i * together * LANES;
                match panels {
                    [first, second] if const { L::WIDE } => {
                        self.step_of::<L, U, P, 2>(products, [first, second], (row, step), output)
                    }
                    [one] => self.step_of::<L, U, P, 1>(products, [one], (row, step), output),
                    _ => unreachable!("as many panels as are taken together, or one"),
                }
            }
            row += step;
        }
    }

    /// Some rows times some panels.
    #[inline(always)]
    fn step_of<L: Lanes, U: Unit, P: Products<L>, const PANELS: usize>(
        &self,
        products: &P,
        panels: [&Panel; PANELS],
        (row, step): (usize, usize),
        output: usize,
    ) {
        match step {
            1 => self.rows_of_panels::<L, U, P, 1, PANELS>(products, panels, row, output),
            2 => self.rows_of_panels::<L, U, P, 2, PANELS>(products, panels, row, output),
            4 if const { L::WIDE } => {
                self.rows_of_panels::<L, U, P, 4, PANELS>(products, panels, row, output)
            }
            6 if const { L::WIDE } => {
                self.rows_of_panels::<L, U, P, 6, PANELS>(products, panels, row, output)
            }
            _ => self.rows_of_panels::<L, U, P, 3, PANELS>(products, panels, row, output),
        }
    }

    #[inline(always)]
    fn rows_of_panels<L: Lanes, U: Unit, P: Products<L>, const N: usize, const PANELS: usize>(
        &self,
        products: &P,
        panels: [&Panel; PANELS],
        row: usize,
        output: usize,
    ) {
        let mut x = [self.part.x.row(row); N];
        for (r, x) in x.iter_mut().enumerate() {
            *x = self.part.x.row(row + r);
        }
        for (p, sums) in products.multiply::<U, N, PANELS>(&panels, &x).into_iter().enumerate() {
            for (r, sums) in sums.into_iter().enumerate() {
                self.part.store(row + r, output + p * LANES, sums);
            }
        }
    }
}

/// How many rows to take next of those that are left. Two and two cost less than three and one, which loads as much for its one.
#[inline(always)]
fn step<L: Lanes>(left: usize) -> usize {
    match left {
        4 | 7 | 8 if L::WIDE => 4,
        5 if L::WIDE => 3,
        _ if L::WIDE => left.min(6),
        4 => 2,
        _ => left.min(3),
    }
}

/// How the codes of panels are multiplied.
trait Products<L: Lanes> {
    /// Products of `N` rows with sixteen outputs of each panel.
    fn multiply<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        panels: &[&Panel; PANELS],
        x: &[Row<'_>; N],
    ) -> [[L; N]; PANELS];
}

/// Codes of 16 bits.
struct Pairs;

impl<L: Lanes> Products<L> for Pairs {
    #[inline(always)]
    fn multiply<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        panels: &[&Panel; PANELS],
        x: &[Row<'_>; N],
    ) -> [[L; N]; PANELS] {
        if U::LEN == 16 {
            multiply_pairs::<L, U, N, PANELS, 8>(panels, x)
        } else {
            multiply_pairs::<L, U, N, PANELS, 16>(panels, x)
        }
    }
}

/// `PAIRS` is half of a unit.
#[inline(always)]
fn multiply_pairs<L: Lanes, U: Unit, const N: usize, const PANELS: usize, const PAIRS: usize>(
    panels: &[&Panel; PANELS],
    x: &[Row<'_>; N],
) -> [[L; N]; PANELS] {
    let mut sums = [[L::splat(0.0); N]; PANELS];
    let mut x_pairs: [&[[[i16; 2]; PAIRS]]; N] = [&[]; N];
    for (pairs, x) in x_pairs.iter_mut().zip(x) {
        *pairs = x.codes.as_chunks::<2>().0.as_chunks::<PAIRS>().0;
    }
    for unit in 0..panels[0].pairs().len() / PAIRS {
        let mut ints = [[L::ints_zero(); N]; PANELS];
        let mut x_unit = [&x_pairs[0][unit]; N];
        for (x_unit, x) in x_unit.iter_mut().zip(&x_pairs) {
            *x_unit = &x[unit];
        }
        let mut codes = [&panels[0].pairs().as_chunks::<PAIRS>().0[unit]; PANELS];
        for (codes, panel) in codes.iter_mut().zip(panels) {
            *codes = &panel.pairs().as_chunks::<PAIRS>().0[unit];
        }
        for k in 0..PAIRS {
            for r in 0..N {
                for p in 0..PANELS {
                    ints[p][r] = L::ints_add_pairs(ints[p][r], &codes[p][k], &x_unit[r][k]);
                }
            }
        }
        for p in 0..PANELS {
            let mut products = [L::splat(0.0); N];
            for r in 0..N {
                products[r] = L::ints_to_f32(ints[p][r]);
            }
            panels[p].add_units::<L, U, N>(&mut sums[p], products, x, unit);
        }
    }
    sums
}

/// Unsigned bytes, of which so many quads are added up before the sums are widened.
struct Quads<const QUADS: usize> {
    /// What codes of weights are too great by.
    offset: f32,
}

impl<L: QuadLanes, const QUADS: usize> Products<L> for Quads<QUADS> {
    #[inline(always)]
    fn multiply<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        panels: &[&Panel; PANELS],
        x: &[Row<'_>; N],
    ) -> [[L; N]; PANELS] {
        let mut sums = [[L::splat(0.0); N]; PANELS];
        let mut x_quads: [&[[[u8; 4]; QUADS]]; N] = [&[]; N];
        for (quads, x) in x_quads.iter_mut().zip(x) {
            *quads = quads_of(x.digits[0]);
        }
        let mut codes: [&[[[u8; 4 * LANES]; QUADS]]; PANELS] = [&[]; PANELS];
        for (codes, panel) in codes.iter_mut().zip(panels) {
            *codes = panel.quads();
        }
        let parts = U::LEN / 4 / QUADS;
        for unit in 0..codes[0].len() / parts {
            let mut ints = [[L::ints_zero(); N]; PANELS];
            for part in unit * parts..(unit + 1) * parts {
                let mut narrow = [[L::narrow_zero(); N]; PANELS];
                let mut x_part = [&x_quads[0][part]; N];
                for (x_part, x) in x_part.iter_mut().zip(&x_quads) {
                    *x_part = &x[part];
                }
                let mut codes_part = [&codes[0][part]; PANELS];
                for (codes_part, codes) in codes_part.iter_mut().zip(&codes) {
                    *codes_part = &codes[part];
                }
                for k in 0..QUADS {
                    for r in 0..N {
                        for p in 0..PANELS {
                            narrow[p][r] =
                                L::narrow_add_quads(narrow[p][r], &codes_part[p][k], &x_part[r][k]);
                        }
                    }
                }
                for p in 0..PANELS {
                    for r in 0..N {
                        ints[p][r] = L::ints_add_narrow(ints[p][r], narrow[p][r]);
                    }
                }
            }
            for p in 0..PANELS {
                let mut products = [L::splat(0.0); N];
                for r in 0..N {
                    products[r] = L::ints_to_f32(ints[p][r]);
                    if !U::MINIMA {
                        products[r] = without_offset(products[r], self.offset, code_sum::<U>(&x[r], unit));
                    }
                }
                panels[p].add_units::<L, U, N>(&mut sums[p], products, x, unit);
            }
        }
        sums
    }
}

/// Codes of 16 bits by their digits; `QUADS` of them are a unit.
struct Digits<const QUADS: usize> {
    /// What codes of weights are too great by.
    offset: i32,
}

impl<L: DigitLanes, const QUADS: usize> Products<L> for Digits<QUADS> {
    #[inline(always)]
    fn multiply<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        panels: &[&Panel; PANELS],
        x: &[Row<'_>; N],
    ) -> [[L; N]; PANELS] {
        let mut sums = [[L::splat(0.0); N]; PANELS];
        let mut digits: [[&[[[u8; 4]; QUADS]]; 2]; N] = [[&[]; 2]; N];
        for (digits, x) in digits.iter_mut().zip(x) {
            *digits = [quads_of(x.digits[0]), quads_of(x.digits[1])];
        }
        let mut codes: [&[[[u8; 4 * LANES]; QUADS]]; PANELS] = [&[]; PANELS];
        for (codes, panel) in codes.iter_mut().zip(panels) {
            *codes = panel.quads();
        }
        for unit in 0..codes[0].len() {
            let mut high = [[L::ints_zero(); N]; PANELS];
            let mut low = [[L::ints_zero(); N]; PANELS];
            let mut x_unit = [[&digits[0][0][unit]; 2]; N];
            for (x_unit, digits) in x_unit.iter_mut().zip(&digits) {
                *x_unit = [&digits[0][unit], &digits[1][unit]];
            }
            let mut codes_unit = [&codes[0][unit]; PANELS];
            for (codes_unit, codes) in codes_unit.iter_mut().zip(&codes) {
                *codes_unit = &codes[unit];
            }
            for k in 0..QUADS {
                for r in 0..N {
                    for p in 0..PANELS {
                        high[p][r] = L::narrow_add_quads(high[p][r], &codes_unit[p][k], &x_unit[r][0][k]);
                        low[p][r] = L::narrow_add_low_quads(low[p][r], &codes_unit[p][k], &x_unit[r][1][k]);
                    }
                }
            }
            for p in 0..PANELS {
                let mut products = [L::splat(0.0); N];
                for r in 0..N {
                    let mut ints = L::ints_add_narrow(low[p][r], high[p][r]);
                    if !U::MINIMA {
                        ints = L::ints_less(ints, self.offset * code_sum::<U>(&x[r], unit) as i32);
                    }
                    products[r] = L::ints_to_f32(ints);
                }
                panels[p].add_units::<L, U, N>(&mut sums[p], products, x, unit);
            }
        }
        sums
    }
}

/// Digits in fours, so many of these together.
#[inline(always)]
fn quads_of<const QUADS: usize>(digits: &[u8]) -> &[[[u8; 4]; QUADS]] {
    digits.as_chunks().0.as_chunks().0
}

impl Panel {
    /// Codes in fours across the outputs, so many of these together; of panels of bytes.
    #[inline(always)]
    fn quads<const QUADS: usize>(&self) -> &[[[u8; 4 * LANES]; QUADS]] {
        bytemuck::cast_slice::<_, [u8; 4 * LANES]>(self.pairs()).as_chunks().0
    }

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
