//! Many rows of activations: panels of codes in pairs, or in quads or eights of bytes, each slab of them for all rows.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::codes::{GROUP, Row};
use super::integer::{Part, add_unit, code_sum, scale_of, without_offset};
use super::slab::{Eights, Filled, Panel, UnsignedBytes, Words, Workspace};
use crate::blocks::{OverUnit, Unit, bits_of, with_unit};
use crate::lanes::{
    ByteProducts, DigitKernel, DigitLanes, Kernel, LANES, Lanes, MatrixKernel, MatrixLanes, PanelEights,
    QuadKernel, QuadLanes, dispatch, with_matrices,
};

/// A part of a product.
pub(super) struct ManyRows<'a>(pub(super) &'a Part<'a>);

impl ManyRows<'_> {
    pub(super) fn run(&self) {
        let part = self.0;
        if part.isa.has_matrices() && part.x.has_digits() {
            Workspace::slabs::<Eights>(part, |Filled { panels, output, .. }, _| {
                with_matrices(part.isa, SlabOfEights(Slab { part, panels, output }));
            });
            return;
        }
        let has = ByteProducts::of(part.isa);
        let bits_max = match part.x.has_digits() {
            true if part.x.has_bytes() => has.bits,
            // Codes must be the same signed and not.
            true if has.many_by_digits => has.bits.min(7),
            _ => 0,
        };
        match bits_of(part.weights.storage) {
            Some((bits, offset)) if bits <= bits_max => {
                Workspace::slabs::<UnsignedBytes>(part, |Filled { panels, output, .. }, _| {
                    let slab = SlabOfBytes { slab: Slab { part, panels, output }, bits, offset };
                    match part.x.has_bytes() {
                        true => dispatch(part.isa, slab),
                        false => dispatch(part.isa, SlabOfDigits(slab)),
                    }
                });
            }
            _ => Workspace::slabs::<Words>(part, |Filled { panels, output, .. }, _| {
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
                slab.all_rows::<L, U, Digits>(&Digits { offset: f32::from(offset) });
            }
        }
        with_unit(self.0.slab.part.weights.storage, WithLanes::<L>(self.0, PhantomData));
    }
}

/// The same of panels of signed bytes by eights.
struct SlabOfEights<'a>(Slab<'a>);

impl MatrixKernel for SlabOfEights<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: MatrixLanes>(self) {
        struct WithLanes<'a, L>(Slab<'a>, PhantomData<L>);
        impl<L: MatrixLanes> OverUnit for WithLanes<'_, L> {
            type Output = ();
            #[inline(always)]
            fn run<U: Unit>(self) {
                match self.0.part.x.has_bytes() {
                    true => self.0.all_rows::<L, U, Matrices<false>>(&Matrices),
                    false => self.0.all_rows::<L, U, Matrices<true>>(&Matrices),
                }
            }
        }
        with_unit(self.0.part.weights.storage, WithLanes::<L>(self.0, PhantomData));
    }
}

impl Slab<'_> {
    #[inline(always)]
    fn all_rows<L: Lanes, U: Unit, P: Products<L>>(&self, products: &P) {
        let rows = self.part.x.rows();
        let mut row = 0;
        while row < rows {
            let step = step(rows - row, P::ROWS);
            match step {
                1 => self.some_rows::<L, U, P, 1>(products, row),
                2 => self.some_rows::<L, U, P, 2>(products, row),
                4 if const { P::ROWS >= 4 } => self.some_rows::<L, U, P, 4>(products, row),
                6 if const { P::ROWS >= 6 } => self.some_rows::<L, U, P, 6>(products, row),
                _ => self.some_rows::<L, U, P, 3>(products, row),
            }
            row += step;
        }
    }

    /// `N` rows times all panels.
    #[inline(always)]
    fn some_rows<L: Lanes, U: Unit, P: Products<L>, const N: usize>(&self, products: &P, row: usize) {
        let mut x = [self.part.x.row(row); N];
        for (r, x) in x.iter_mut().enumerate().skip(1) {
            *x = self.part.x.row(row + r);
        }
        let together = if L::WIDE { 2 } else { 1 };
        for (i, panels) in self.panels.chunks(together).enumerate() {
            let output = self.output + i * together * LANES;
            match panels {
                [first, second] if const { L::WIDE } => {
                    self.store_all(multiply_by::<L, U, P, N, 2>(products, &[first, second], &x), row, output)
                }
                [one] => self.store_all(multiply_by::<L, U, P, N, 1>(products, &[one], &x), row, output),
                _ => unreachable!("as many panels as are taken together, or one"),
            }
        }
    }

    #[inline(always)]
    fn store_all<L: Lanes, const N: usize, const PANELS: usize>(
        &self,
        sums: [[L; N]; PANELS],
        row: usize,
        output: usize,
    ) {
        for (p, sums) in sums.into_iter().enumerate() {
            for (r, sums) in sums.into_iter().enumerate() {
                self.part.store(row + r, output + p * LANES, sums);
            }
        }
    }
}

/// How many rows to take next of those that are left, `most` at a time. Two and two cost less than three and one, which loads as much
/// for its one.
#[inline(always)]
fn step(left: usize, most: usize) -> usize {
    match (left, most) {
        (4 | 7 | 8, 6) => 4,
        (5, 6) => 3,
        (4, 3) => 2,
        _ => left.min(most),
    }
}

/// Products of `N` rows with sixteen outputs of each panel.
#[inline(always)]
fn multiply_by<L: Lanes, U: Unit, P: Products<L>, const N: usize, const PANELS: usize>(
    products: &P,
    panels: &[&Panel; PANELS],
    x: &[Row<'_>; N],
) -> [[L; N]; PANELS] {
    if U::LEN == GROUP {
        multiply::<L, U, P, N, PANELS, 1>(products, panels, x)
    } else {
        multiply::<L, U, P, N, PANELS, 2>(products, panels, x)
    }
}

/// The same, where a group has so many units.
#[inline(always)]
fn multiply<L: Lanes, U: Unit, P: Products<L>, const N: usize, const PANELS: usize, const UNITS: usize>(
    products: &P,
    panels: &[&Panel; PANELS],
    x: &[Row<'_>; N],
) -> [[L; N]; PANELS] {
    let groups = x[0].scales.len();
    let mut panel_groups = [PanelGroups::<P::Codes, UNITS>::of::<U>(panels[0], groups); PANELS];
    for (of, panel) in panel_groups.iter_mut().zip(panels) {
        *of = PanelGroups::of::<U>(panel, groups);
    }
    let (mut rows, mut digits) = (*x, [P::x(&x[0], groups); N]);
    for (row, digits) in rows.iter_mut().zip(&mut digits) {
        (row.scales, row.sums, *digits) = (&row.scales[..groups], &row.sums[..groups], P::x(row, groups));
    }
    let mut sums = [[L::splat(0.0); N]; PANELS];
    for group in 0..groups {
        for part in 0..UNITS {
            let mut codes = [&panel_groups[0].codes[group]; PANELS];
            for (codes, of) in codes.iter_mut().zip(&panel_groups) {
                *codes = &of.codes[group];
            }
            let mut x = [digits[0].map(|digits| &digits[group]); N];
            let mut code_sums = [0.0; N];
            for r in 0..N {
                x[r] = digits[r].map(|digits| &digits[group]);
                code_sums[r] = code_sum::<U>(&rows[r], group, part);
            }
            let products = products.unit::<U, N, PANELS>(&codes, &x, part, &code_sums);
            for p in 0..PANELS {
                let scales = L::load(&panel_groups[p].scales[group][part]);
                let minima = L::load(&panel_groups[p].minima[group][part]);
                for r in 0..N {
                    let scale = scale_of::<U>(&rows[r], group, part);
                    sums[p][r] = add_unit::<L, U>(sums[p][r], products[p][r], scales, minima, scale);
                }
            }
        }
    }
    sums
}

/// A panel by groups of inputs. All is cut to as many of them, as rows are, so that one check serves for all.
#[derive(Clone, Copy)]
struct PanelGroups<'a, C, const UNITS: usize> {
    codes: &'a [C],
    scales: &'a [[[f32; LANES]; UNITS]],
    /// The scales again where there are none.
    minima: &'a [[[f32; LANES]; UNITS]],
}

impl<'a, C: Pod, const UNITS: usize> PanelGroups<'a, C, UNITS> {
    #[inline(always)]
    fn of<U: Unit>(panel: &'a Panel, groups: usize) -> Self {
        let scales = &panel.scales.as_chunks().0[..groups];
        let minima = if U::MINIMA { &panel.minima.as_chunks().0[..groups] } else { scales };
        PanelGroups { codes: &bytemuck::cast_slice(panel.pairs())[..groups], scales, minima }
    }
}

/// How the codes of panels are multiplied.
trait Products<L: Lanes> {
    /// Codes of a group of inputs of a panel.
    type Codes: Pod;
    /// Codes of a group of activations, or one of their digits.
    type X: Copy;
    /// Rows of activations at a time, at most: 3, 4 or 6.
    const ROWS: usize = if L::WIDE { 6 } else { 3 };

    /// Codes of a row: upper digits and lower ones, or the same twice.
    fn x<'a>(row: &Row<'a>, groups: usize) -> [&'a [Self::X]; 2];

    /// The sums of a unit's products of `N` rows with sixteen outputs of each panel, whole numbers.
    fn unit<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        codes: &[&Self::Codes; PANELS],
        x: &[[&Self::X; 2]; N],
        part: usize,
        code_sums: &[f32; N],
    ) -> [[L; N]; PANELS];
}

/// Codes of 16 bits.
struct Pairs;

impl<L: Lanes> Products<L> for Pairs {
    type Codes = [[i16; 2 * LANES]; GROUP / 2];
    type X = [[i16; 2]; GROUP / 2];

    #[inline(always)]
    fn x<'a>(row: &Row<'a>, groups: usize) -> [&'a [Self::X]; 2] {
        [&row.codes.as_chunks().0.as_chunks().0[..groups]; 2]
    }

    #[inline(always)]
    fn unit<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        codes: &[&Self::Codes; PANELS],
        x: &[[&Self::X; 2]; N],
        part: usize,
        _: &[f32; N],
    ) -> [[L; N]; PANELS] {
        let mut ints = [[L::ints_zero(); N]; PANELS];
        for k in 0..U::LEN / 2 {
            let k = (part * (U::LEN / 2) + k) % (GROUP / 2);
            for r in 0..N {
                for p in 0..PANELS {
                    ints[p][r] = L::ints_add_pairs(ints[p][r], &codes[p][k], &x[r][0][k]);
                }
            }
        }
        let mut products = [[L::splat(0.0); N]; PANELS];
        for p in 0..PANELS {
            for r in 0..N {
                products[p][r] = L::ints_to_f32(ints[p][r]);
            }
        }
        products
    }
}

/// Unsigned bytes, of which so many quads are added up before the sums are widened.
struct Quads<const QUADS: usize> {
    /// What codes of weights are too great by.
    offset: f32,
}

/// Bytes of a group of inputs of a panel.
type PanelQuads = [[u8; 4 * LANES]; GROUP / 4];
/// Digits of a group of activations.
type RowQuads = [[u8; 4]; GROUP / 4];

/// Digits by groups, so many of these.
#[inline(always)]
fn quads_of(digits: &[u8], groups: usize) -> &[RowQuads] {
    &digits.as_chunks().0.as_chunks().0[..groups]
}

impl<L: QuadLanes, const QUADS: usize> Products<L> for Quads<QUADS> {
    type Codes = PanelQuads;
    type X = RowQuads;

    #[inline(always)]
    fn x<'a>(row: &Row<'a>, groups: usize) -> [&'a [RowQuads]; 2] {
        [quads_of(row.digits[0], groups); 2]
    }

    #[inline(always)]
    fn unit<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        codes: &[&PanelQuads; PANELS],
        x: &[[&RowQuads; 2]; N],
        part: usize,
        code_sums: &[f32; N],
    ) -> [[L; N]; PANELS] {
        let mut ints = [[L::ints_zero(); N]; PANELS];
        for narrows in 0..U::LEN / 4 / QUADS {
            let mut narrow = [[L::narrow_zero(); N]; PANELS];
            for k in 0..QUADS {
                let k = (part * (U::LEN / 4) + narrows * QUADS + k) % (GROUP / 4);
                for r in 0..N {
                    for p in 0..PANELS {
                        narrow[p][r] = L::narrow_add_quads(narrow[p][r], &codes[p][k], &x[r][0][k]);
                    }
                }
            }
            for p in 0..PANELS {
                for r in 0..N {
                    ints[p][r] = L::ints_add_narrow(ints[p][r], narrow[p][r]);
                }
            }
        }
        let mut products = [[L::splat(0.0); N]; PANELS];
        for p in 0..PANELS {
            for r in 0..N {
                products[p][r] = L::ints_to_f32(ints[p][r]);
                if !U::MINIMA {
                    products[p][r] = without_offset(products[p][r], self.offset, code_sums[r]);
                }
            }
        }
        products
    }
}

/// Codes of 16 bits by their digits.
struct Digits {
    /// What codes of weights are too great by.
    offset: f32,
}

impl<L: DigitLanes> Products<L> for Digits {
    type Codes = PanelQuads;
    type X = RowQuads;

    #[inline(always)]
    fn x<'a>(row: &Row<'a>, groups: usize) -> [&'a [RowQuads]; 2] {
        row.digits.map(|digits| quads_of(digits, groups))
    }

    #[inline(always)]
    fn unit<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        codes: &[&PanelQuads; PANELS],
        x: &[[&RowQuads; 2]; N],
        part: usize,
        code_sums: &[f32; N],
    ) -> [[L; N]; PANELS] {
        let mut high = [[L::ints_zero(); N]; PANELS];
        let mut low = [[L::ints_zero(); N]; PANELS];
        for k in 0..U::LEN / 4 {
            let k = (part * (U::LEN / 4) + k) % (GROUP / 4);
            for r in 0..N {
                for p in 0..PANELS {
                    high[p][r] = L::narrow_add_quads(high[p][r], &codes[p][k], &x[r][0][k]);
                    low[p][r] = L::narrow_add_low_quads(low[p][r], &codes[p][k], &x[r][1][k]);
                }
            }
        }
        let mut products = [[L::splat(0.0); N]; PANELS];
        for p in 0..PANELS {
            for r in 0..N {
                let mut ints = L::ints_add_narrow(low[p][r], high[p][r]);
                if !U::MINIMA {
                    ints = L::ints_less(ints, self.offset * code_sums[r]);
                }
                products[p][r] = L::ints_to_f32(ints);
            }
        }
        products
    }
}

/// Codes of 16 bits by their digits, two rows and two outputs at a time; `LOW` says whether there are lower digits.
struct Matrices<const LOW: bool>;

/// Digits of a group of activations.
type RowEights = [[u8; 8]; GROUP / 8];

impl<L: MatrixLanes, const LOW: bool> Products<L> for Matrices<LOW> {
    type Codes = [PanelEights; GROUP / 8];
    type X = RowEights;
    /// Their sums, as integers and as numbers, fill the registers.
    const ROWS: usize = 4;

    #[inline(always)]
    fn x<'a>(row: &Row<'a>, groups: usize) -> [&'a [RowEights]; 2] {
        let [high, low] = row.digits;
        [high, if LOW { low } else { high }].map(|digits| &digits.as_chunks().0.as_chunks().0[..groups])
    }

    #[inline(always)]
    fn unit<U: Unit, const N: usize, const PANELS: usize>(
        &self,
        codes: &[&Self::Codes; PANELS],
        x: &[[&RowEights; 2]; N],
        part: usize,
        _: &[f32; N],
    ) -> [[L; N]; PANELS] {
        let mut products = [[L::splat(0.0); N]; PANELS];
        let (begin, end) = if U::LEN == GROUP { (0, GROUP / 8) } else { (2 * part, 2 * part + 2) };
        for p in 0..PANELS {
            let codes = &codes[p][begin..end];
            let mut sums = add_digits::<L, N, 0>([L::squares_zero(); 2], codes, x, begin);
            for sums in &mut sums {
                *sums = L::squares_shift(*sums);
            }
            if LOW {
                sums = add_digits::<L, N, 1>(sums, codes, x, begin);
            }
            for r in 0..N {
                products[p][r] = L::ints_to_f32(L::squares_rows(sums[r / 2])[r % 2]);
            }
        }
        products
    }
}

/// Adds products of codes with the upper digits (`DIGIT` is 0) or the lower ones of up to four rows, from an input on, to the sums of two rows
/// and two. A last row without a second one is taken twice.
#[inline(always)]
fn add_digits<L: MatrixLanes, const N: usize, const DIGIT: usize>(
    mut sums: [L::Squares; 2],
    codes: &[PanelEights],
    x: &[[&RowEights; 2]; N],
    begin: usize,
) -> [L::Squares; 2] {
    for (k, codes) in codes.iter().enumerate() {
        for r in (0..N).step_by(2) {
            let rows = [&x[r][DIGIT][begin + k], &x[(r + 1).min(N - 1)][DIGIT][begin + k]];
            sums[r / 2] = match DIGIT {
                0 => L::squares_add_high(sums[r / 2], codes, rows),
                _ => L::squares_add_low(sums[r / 2], codes, rows),
            };
        }
    }
    sums
}
