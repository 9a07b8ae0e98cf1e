//! Sixteen numbers at a time: the one vocabulary that all vector code is written in.
//!
//! An implementation must give the same bits as [`scalar::Scalar`] for every operation: IEEE single
//! precision, one rounding each, no flushing of small numbers. That is what makes results equal on
//! every processor. `minimum` and `maximum` give their second operand when either is a NaN.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "other processors have no such products"))]
mod bf16;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "other processors have no products of bytes")
)]
mod bytes;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "other processors have no such products"))]
mod digits;
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "other processors have no such products"))]
mod matrices;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use crate::machine::{Isa, Level};

pub(crate) use crate::width::{LANES, Pair, RUN};
pub(crate) use bf16::{Bf16Kernel, Bf16Lanes, Nibbles};
pub(crate) use bytes::{ByteKernel, ByteLanes, QuadKernel, QuadLanes};
pub(crate) use digits::{ColumnKernel, ColumnLanes, Digit, DigitKernel, DigitLanes};
pub(crate) use matrices::{MatrixKernel, MatrixLanes, PanelEights};
#[cfg(test)]
pub(crate) use scalar::Scalar;

/// Sixteen `f32`, with sixteen `i32` beside them for sums of products of codes.
pub(crate) trait Lanes: Copy {
    /// Sixteen `i32`.
    type Ints: Copy;
    /// [`RUN`] bytes.
    type Bytes: Copy;
    /// [`RUN`] 16-bit codes.
    type Codes: Copy;
    /// Sums of some products of codes.
    type Products: Copy;

    /// Whether a register holds sixteen lanes, and there are thirty-two. Each sum waits for the one before it, and two can be
    /// begun in a cycle: twelve and more had better go on side by side then, where others hold six at most.
    const WIDE: bool = false;
    /// Rows of activations, at most, that are multiplied with codes straight out of their blocks: 4, or 0 where such code
    /// is not worth its building.
    const ROWS_OF_BLOCKS: usize = 4;
    /// Whether a processor with these registers may have tiles; elsewhere their code is left out.
    const TILES: bool = false;
    /// Whether a processor with these registers may have products of small matrices; elsewhere their code is left out.
    const MATRICES: bool = false;
    /// Bits that codes of weights may have, at most, in panels for products of bytes; 0 where there are no such products.
    const BYTE_BITS: usize = 0;
    /// Rows of activations, at most, that are multiplied by their digits with codes straight out of their blocks; 0 where there
    /// are no such products.
    const DIGIT_ROWS: usize = 0;
    /// Whether they lay rows of bytes out across: [`ColumnLanes`].
    const COLUMNS: bool = false;
    /// Whether more rows are multiplied by their digits, too, with codes of up to [`Lanes::BYTE_BITS`] in panels.
    const MANY_BY_DIGITS: bool = false;

    fn splat(x: f32) -> Self;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    /// Widens IEEE half precision.
    fn load_f16(from: &[u16; LANES]) -> Self;
    /// Widens the low and the high halves of words.
    fn load_f16_pairs(from: &[u32; LANES]) -> (Self, Self);
    /// Widens the upper half of single precision.
    fn load_bf16(from: &[u16; LANES]) -> Self;
    /// Signed bytes as numbers.
    fn load_i8(from: &[u8; LANES]) -> Self;
    /// The low halves of bytes, signed, as numbers.
    fn load_i4_low(from: &[u8; LANES]) -> Self;
    /// The high halves of bytes, signed, as numbers.
    fn load_i4_high(from: &[u8; LANES]) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self * a + b` with one rounding.
    fn mul_add(self, a: Self, b: Self) -> Self;
    fn minimum(self, other: Self) -> Self;
    fn maximum(self, other: Self) -> Self;
    /// To the nearest integer, ties to even.
    fn round(self) -> Self;
    /// 2 to the power of `self`, an integer between -126 and 127; anything for a NaN.
    fn exp2_of_integer(self) -> Self;
    /// `yes` where `self < other`, `no` elsewhere.
    fn select_less(self, other: Self, yes: Self, no: Self) -> Self;

    /// Asks for the cache line of a byte ahead of its use; changes no result.
    fn prefetch(byte: &u8);

    /// To 16-bit integers; `self` lies within their range.
    fn to_codes(self, codes: &mut [i16; LANES]);

    fn bytes_load(from: &[u8; RUN]) -> Self::Bytes;
    /// The low halves of all bytes, then the high ones.
    fn bytes_of_nibbles(bytes: &[u8; RUN / 2]) -> Self::Bytes;
    /// One byte for each bit that is set, another for the others.
    fn bytes_of_flags(flags: &[u8; RUN / 8], set: u8, clear: u8) -> Self::Bytes;
    /// Bits of each byte, from bit `shift` on, as many as `mask` has.
    fn bytes_bits(bytes: Self::Bytes, shift: usize, mask: u8) -> Self::Bytes;
    /// `low | high << shift`; no bit of `high` is shifted out.
    fn bytes_join(low: Self::Bytes, high: Self::Bytes, shift: usize) -> Self::Bytes;
    /// The number at each place of a table; places are below 16.
    fn bytes_look_up(places: Self::Bytes, table: &[i8; 16]) -> Self::Bytes;
    fn bytes_add(bytes: Self::Bytes, value: i8) -> Self::Bytes;
    fn bytes_store(bytes: Self::Bytes, to: &mut [u8; RUN]);

    /// The four words of each of sixteen rows, word by word.
    #[inline(always)]
    fn words_across(rows: &[&[u8; 16]; LANES]) -> [[u32; LANES]; 4] {
        let mut words = [[0; LANES]; 4];
        for (i, row) in rows.iter().enumerate() {
            for (words, bytes) in words.iter_mut().zip(row.as_chunks().0) {
                words[i] = u32::from_le_bytes(*bytes);
            }
        }
        words
    }

    /// Bytes as signed numbers.
    fn bytes_to_codes(bytes: Self::Bytes, codes: &mut [i16; RUN]);

    /// Bytes as signed numbers, in an order of the implementation's own.
    fn codes_of(bytes: Self::Bytes) -> Self::Codes;
    /// Codes in the order of [`Lanes::codes_of`].
    fn codes_load(from: &[i16; RUN]) -> Self::Codes;
    /// Products of codes, summed as far as it costs nothing.
    fn products(codes: Self::Codes, x: Self::Codes) -> Self::Products;
    /// The sum of all products of each of sixteen rows.
    fn products_sum(rows: &[Self::Products; LANES]) -> Self::Ints;
    /// The sums of the first and the second half of the products.
    fn products_sum_halves(rows: &[Self::Products; LANES]) -> [Self::Ints; 2];

    /// Lays sixteen codes of each of sixteen rows out in pairs, `[16][16]` to `[8][16][2]`; row `i` begins at `i * stride`.
    fn pairs_across(codes: &[i16], stride: usize, pairs: &mut [[i16; 2 * LANES]; LANES / 2]);

    fn ints_zero() -> Self::Ints;
    /// Adds `codes[2 i] * pair[0] + codes[2 i + 1] * pair[1]` to lane `i`.
    fn ints_add_pairs(sums: Self::Ints, codes: &[i16; 2 * LANES], pair: &[i16; 2]) -> Self::Ints;
    fn ints_to_f32(ints: Self::Ints) -> Self;

    /// Runs a kernel with products of bytes, where there are some.
    #[inline(always)]
    fn with_bytes<K: ByteKernel>(_: K) -> Option<K::Output> {
        None
    }

    /// Runs a kernel with columns of bytes, where they are laid out.
    #[inline(always)]
    fn with_columns<K: ColumnKernel>(_: K) -> Option<K::Output> {
        None
    }

    /// Runs a kernel with sums of four products of bytes, where there are some.
    #[inline(always)]
    fn with_quads<K: QuadKernel>(_: K) -> Option<K::Output> {
        None
    }

    /// Runs a kernel with products of digits, where there are some.
    #[inline(always)]
    fn with_digits<K: DigitKernel>(_: K) -> Option<K::Output> {
        None
    }

    /// The sum of all lanes, in halves: 8 + 8, 4 + 4, 2 + 2, 1 + 1.
    #[inline(always)]
    fn sum(self) -> f32 {
        let mut x = [0.0; LANES];
        self.store(&mut x);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                x[i] += x[i + width];
            }
            width /= 2;
        }
        x[0]
    }

    /// The sum of each, all in the order of [`Lanes::sum`].
    #[inline(always)]
    fn sums<const N: usize>(of: &[Self; N]) -> [f32; N] {
        let mut sums = [0.0; N];
        for i in 0..N {
            sums[i] = of[i].sum();
        }
        sums
    }

    /// The greatest of all lanes.
    #[inline(always)]
    fn greatest(self) -> f32 {
        let mut x = [0.0; LANES];
        self.store(&mut x);
        // Zero is added so that it has one sign, whatever the order.
        x.iter().copied().fold(f32::NEG_INFINITY, f32::max) + 0.0
    }

    /// Up to sixteen numbers, zero behind their end.
    #[inline(always)]
    fn load_part(from: &[f32]) -> Self {
        let mut whole = [0.0; LANES];
        whole[..from.len()].copy_from_slice(from);
        Self::load(&whole)
    }
}

/// Work written over [`Lanes`]. `run` must be `#[inline(always)]`, and so must what it calls, so that
/// it is compiled within the function that enables the instruction set.
pub(crate) trait Kernel {
    type Output;
    fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel with an instruction set.
#[inline]
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.0 {
        Level::Scalar => kernel.run::<scalar::Scalar>(),
        // SAFETY: `Level::Avx2` is only made where AVX2, FMA and F16C were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::run(kernel) },
        // SAFETY: `Level::Avx512` is only made where AVX-512 F, BW, DQ, VL and VNNI, AVX2, FMA and F16C were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::run(kernel) },
        // SAFETY: `Level::Avx512Bf16` is only made where those of `Level::Avx512` were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 => unsafe { avx512::run(kernel) },
        // SAFETY: `Level::Amx` is only made where those of `Level::Avx512` were detected.
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Level::Amx => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run::<neon::Neon<false>>(),
        // SAFETY: `Level::NeonDots` is only made where they were detected.
        #[cfg(target_arch = "aarch64")]
        Level::NeonDots => unsafe { neon::run_with_dots(kernel) },
        // SAFETY: `Level::NeonMatrices` is only made where dot products were detected.
        #[cfg(target_arch = "aarch64")]
        Level::NeonMatrices => unsafe { neon::run_with_dots(kernel) },
    }
}

/// Runs a kernel with products of pairs of BF16 where these are faster than those of f32, else without.
#[inline]
pub(crate) fn dispatch_bf16<K>(isa: Isa, kernel: K) -> <K as Kernel>::Output
where
    K: Kernel + Bf16Kernel<Output = <K as Kernel>::Output>,
{
    match isa.0 {
        // SAFETY: `Level::Avx512Bf16` is only made where AVX512-BF16 and those of `Level::Avx512` were detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 => unsafe { bf16::run(kernel) },
        // SAFETY: `Level::Amx` is only made where these were detected, too.
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Level::Amx => unsafe { bf16::run(kernel) },
        _ => dispatch(isa, kernel),
    }
}

/// Runs a kernel with pairs of BF16 beside tiles of them, where there are some ([`Isa::has_bf16_tiles`]).
#[inline]
pub(crate) fn with_bf16_tiles<K: Bf16Kernel>(isa: Isa, kernel: K) -> Option<K::Output> {
    match isa.0 {
        // SAFETY: as in `dispatch_bf16`; and so was AVX512-VBMI.
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        Level::Amx => Some(unsafe { bf16::run_with_tiles(kernel) }),
        _ => {
            let _ = kernel;
            None
        }
    }
}

/// Runs a kernel with products of small matrices, where there are some ([`Isa::has_matrices`]).
#[inline]
pub(crate) fn with_matrices<K: MatrixKernel>(isa: Isa, kernel: K) -> Option<K::Output> {
    match isa.0 {
        // SAFETY: `Level::NeonMatrices` is only made where these and dot products were detected.
        #[cfg(target_arch = "aarch64")]
        Level::NeonMatrices => Some(unsafe { matrices::run(kernel) }),
        _ => {
            let _ = kernel;
            None
        }
    }
}

/// Whether [`dispatch_bf16`] runs with products of pairs.
pub(crate) fn has_pairs_of_bf16(isa: Isa) -> bool {
    struct Pairs;
    impl Kernel for Pairs {
        type Output = bool;
        #[inline(always)]
        fn run<L: Lanes>(self) -> bool {
            false
        }
    }
    impl Bf16Kernel for Pairs {
        type Output = bool;
        #[inline(always)]
        fn run<L: Bf16Lanes>(self) -> bool {
            true
        }
    }
    dispatch_bf16(isa, Pairs)
}

/// What an instruction set has in products of bytes.
#[derive(Clone, Copy)]
pub(crate) struct ByteProducts {
    /// [`Lanes::BYTE_BITS`]
    pub(crate) bits: usize,
    /// [`Lanes::DIGIT_ROWS`]
    pub(crate) digit_rows: usize,
    /// [`Lanes::MANY_BY_DIGITS`]
    pub(crate) many_by_digits: bool,
}

impl ByteProducts {
    pub(crate) fn of(isa: Isa) -> Self {
        struct Found;
        impl Kernel for Found {
            type Output = ByteProducts;
            #[inline(always)]
            fn run<L: Lanes>(self) -> ByteProducts {
                ByteProducts {
                    bits: L::BYTE_BITS,
                    digit_rows: L::DIGIT_ROWS,
                    many_by_digits: L::MANY_BY_DIGITS,
                }
            }
        }
        dispatch(isa, Found)
    }
}

/// Bytes that a processor fetches together.
pub(crate) const CACHE_LINE: usize = 64;

/// Asks for all of some bytes, one line after the other: with the step hidden from the compiler this stays a loop, whose
/// turns wait for each other. Asked for at once, the lines of a column come a third slower (docs/kernels.md, "Few rows").
#[inline(always)]
pub(crate) fn prefetch<L: Lanes>(bytes: &[u8]) {
    for line in bytes.chunks(std::hint::black_box(CACHE_LINE)) {
        L::prefetch(&line[0]);
    }
}

/// Splits a slice into whole groups of sixteen and the rest.
#[inline(always)]
pub(crate) fn groups<T>(x: &[T]) -> (&[[T; LANES]], &[T]) {
    x.as_chunks()
}

/// Splits a slice into whole groups of sixteen and the rest.
#[inline(always)]
pub(crate) fn groups_mut<T>(x: &mut [T]) -> (&mut [[T; LANES]], &mut [T]) {
    x.as_chunks_mut()
}

// The three loops below are macros and not functions of a closure, since a closure is a function of its own that
// does not have the instruction set, and nothing can force it to be inlined.

/// Replaces each number of a slice, sixteen at a time; the last group is filled up with zeros.
macro_rules! map {
    ($lanes:ident, $x:expr, |$v:ident| $body:expr) => {{
        let (whole, rest) = $crate::lanes::groups_mut($x);
        for group in whole {
            let $v = $lanes::load(group);
            ($body).store(group);
        }
        if !rest.is_empty() {
            let mut last = [0.0; $crate::lanes::LANES];
            let $v = $lanes::load_part(rest);
            ($body).store(&mut last);
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }};
}

/// As [`map`] with a second slice of the same length beside it.
macro_rules! map2 {
    ($lanes:ident, $x:expr, $y:expr, |$v:ident, $w:ident| $body:expr) => {{
        let (whole, rest) = $crate::lanes::groups_mut($x);
        let (whole_y, rest_y) = $crate::lanes::groups($y);
        for (group, other) in whole.iter_mut().zip(whole_y) {
            let ($v, $w) = ($lanes::load(group), $lanes::load(other));
            ($body).store(group);
        }
        if !rest.is_empty() {
            let mut last = [0.0; $crate::lanes::LANES];
            let ($v, $w) = ($lanes::load_part(rest), $lanes::load_part(rest_y));
            ($body).store(&mut last);
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }};
}

/// Adds up what `$body` makes of the sums so far and the next numbers, lane `i` taking every sixteenth from `i` on;
/// then the lanes' sum. The body must leave the sums as they are where a number is zero.
macro_rules! reduce {
    ($lanes:ident, $x:expr, |$sums:ident, $v:ident| $body:expr) => {{
        let (whole, rest) = $crate::lanes::groups($x);
        let mut $sums = $lanes::splat(0.0);
        for group in whole {
            let $v = $lanes::load(group);
            $sums = $body;
        }
        if !rest.is_empty() {
            let $v = $lanes::load_part(rest);
            $sums = $body;
        }
        $sums.sum()
    }};
}

pub(crate) use {map, map2, reduce};

/// `e` to the power of each lane, to about one unit in the last place; underflow gives zero, and a
/// NaN stays one. Range reduction by ln 2 in two parts and the polynomial of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(x: L) -> L {
    let (lowest, highest) = (L::splat(-87.336), L::splat(88.02));
    // The argument comes second, since that is what a NaN among the two gives.
    let inside = lowest.maximum(highest.minimum(x));
    let n = inside.mul(L::splat(std::f32::consts::LOG2_E)).round();
    let r = n.mul_add(L::splat(-0.693_359_4), inside);
    let r = n.mul_add(L::splat(2.121_944_4e-4), r);
    let mut p = L::splat(1.987_569_1e-4);
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, L::splat(c));
    }
    let y = p.mul_add(r.mul(r), r).add(L::splat(1.0));
    x.select_less(lowest, L::splat(0.0), y.mul(n.exp2_of_integer()))
}

/// The hyperbolic tangent: `sign(x) (1 - e) / (1 + e)` with `e = exp(-2 |x|)`; near zero, where that
/// loses digits, the odd polynomial of Cephes' `tanhf`.
#[inline(always)]
pub(crate) fn tanh<L: Lanes>(x: L) -> L {
    let zero = L::splat(0.0);
    let magnitude = zero.sub(x).maximum(x);
    let e = exp(magnitude.mul(L::splat(-2.0)));
    let one = L::splat(1.0);
    let far = one.sub(e).div(one.add(e));
    let far = x.select_less(zero, zero.sub(far), far);
    let square = x.mul(x);
    let mut p = L::splat(-5.704_988_7e-3);
    for c in [2.063_909e-2, -5.373_971_7e-2, 1.333_144_2e-1, -3.333_328e-1] {
        p = p.mul_add(square, L::splat(c));
    }
    let near = p.mul(square).mul_add(x, x);
    magnitude.select_less(L::splat(0.625), near, far)
}

#[cfg(test)]
mod tests;
