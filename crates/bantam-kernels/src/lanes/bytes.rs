//! Products of unsigned bytes with signed ones, for codes of activations of 8 bits.
//!
//! Without sums of 32 bits (AVX2): a product of two bytes and the sum of two such products fit 16 bits where codes of weights have at most
//! six. How many more may be added before they are widened follows from the bits of the codes: [`pair_sums_of`].

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
use super::{LANES, Lanes};

/// Lanes with sums of four products of bytes across outputs: `u8` codes of weights by `i8` codes of activations.
///
/// Sums are given 256 times as great: codes of activations are the upper digits of those of 16 bits.
pub(crate) trait QuadLanes: Lanes {
    /// Sums of products in sixteen lanes, which may be narrower than [`Lanes::Ints`].
    type Narrow: Copy;
    /// Whether they hold whatever a unit sums up to.
    const ANY_SUM: bool;

    fn narrow_zero() -> Self::Narrow;
    /// Adds `codes[4 i + j] * quad[j]`, for all `j` below 4, to lane `i`. A lane has room for half of [`pair_sums_of`] the codes' bits
    /// of them.
    fn narrow_add_quads(sums: Self::Narrow, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Narrow;
    /// `ints + 256 * sums`
    fn ints_add_narrow(ints: Self::Ints, sums: Self::Narrow) -> Self::Ints;
}

/// Lanes with products of bytes in 16 bits, row by row, given 256 times as great.
pub(crate) trait ByteLanes: Lanes {
    /// Sums of pairs of products with unsigned codes, 16 bits each.
    fn byte_products(codes: Self::Bytes, x: Self::Bytes) -> Self::Bytes;
    /// The same with signed codes of eight bits.
    fn signed_byte_products(codes: Self::Bytes, x: Self::Bytes) -> Self::Bytes;
    /// 256 times the sums of the first and of the second half of the products of sixteen rows with codes of so many bits.
    fn byte_products_sum_halves(rows: &[Self::Bytes; LANES], bits: usize) -> [Self::Ints; 2];
    /// 256 times the sums of the products.
    fn byte_products_sum(rows: &[Self::Bytes; LANES], bits: usize) -> Self::Ints;
}

/// A [`super::Kernel`] that needs sums of four products of bytes.
pub(crate) trait QuadKernel {
    type Output;
    fn run<L: QuadLanes>(self) -> Self::Output;
}

/// A [`super::Kernel`] that needs products of bytes.
pub(crate) trait ByteKernel {
    type Output;
    fn run<L: ByteLanes>(self) -> Self::Output;
}

/// How many sums of two products 16 bits hold, for codes of so many bits. Signed codes of eight bits are taken by their
/// magnitude, at most 128.
const fn pair_sums_of(bits: usize) -> usize {
    let greatest = if bits == 8 { 128 } else { (1 << bits) - 1 };
    i16::MAX as usize / (2 * 127 * greatest)
}

/// Two quads of six bits fill 16 bits.
#[cfg(target_arch = "x86_64")]
pub(super) const AVX2_BITS: usize = 6;

const _: () =
    assert!(pair_sums_of(8) == 1 && pair_sums_of(6) == 2 && pair_sums_of(5) == 4 && pair_sums_of(4) == 8);

#[cfg(target_arch = "x86_64")]
impl QuadLanes for Avx2 {
    /// Two sums in 16 bits for each lane.
    type Narrow = (__m256i, __m256i);
    const ANY_SUM: bool = false;

    #[inline(always)]
    fn narrow_zero() -> Self::Narrow {
        Self::ints_zero()
    }
    #[inline(always)]
    fn narrow_add_quads(sums: Self::Narrow, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Narrow {
        // SAFETY: lanes of AVX2 are only reached where it was detected; sixty-four bytes can be read.
        unsafe {
            let quad = _mm256_set1_epi32(i32::from_le_bytes(*quad));
            let low = _mm256_loadu_si256(codes.as_ptr().cast());
            let high = _mm256_loadu_si256(codes.as_ptr().add(32).cast());
            (add_byte_products(sums.0, low, quad), add_byte_products(sums.1, high, quad))
        }
    }
    #[inline(always)]
    fn ints_add_narrow(ints: Self::Ints, sums: Self::Narrow) -> Self::Ints {
        // SAFETY: as above; no memory is touched.
        unsafe { (_mm256_add_epi32(ints.0, widen(sums.0)), _mm256_add_epi32(ints.1, widen(sums.1))) }
    }
}

#[cfg(target_arch = "x86_64")]
impl ByteLanes for Avx2 {
    #[inline(always)]
    fn byte_products(codes: Self::Bytes, x: Self::Bytes) -> Self::Bytes {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_maddubs_epi16(codes, x) }
    }
    /// The sign goes over to the other factor.
    #[inline(always)]
    fn signed_byte_products(codes: Self::Bytes, x: Self::Bytes) -> Self::Bytes {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes)) }
    }
    #[inline(always)]
    fn byte_products_sum_halves(rows: &[Self::Bytes; LANES], bits: usize) -> [Self::Ints; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
        // SAFETY: as above; no memory is touched.
        unsafe {
            let low = halves_of_eight([a, b, c, d, e, f, g, h], pair_sums_of(bits));
            let high = halves_of_eight([i, j, k, l, m, n, o, p], pair_sums_of(bits));
            [(low[0], high[0]), (low[1], high[1])]
        }
    }
    #[inline(always)]
    fn byte_products_sum(rows: &[Self::Bytes; LANES], bits: usize) -> Self::Ints {
        let [first, second] = Self::byte_products_sum_halves(rows, bits);
        // SAFETY: as above; no memory is touched.
        unsafe { (_mm256_add_epi32(first.0, second.0), _mm256_add_epi32(first.1, second.1)) }
    }
}

/// Adds sums of pairs of products, 16 bits each. Written out and not `pure`, so that it stays where it stands: the compiler put off
/// a row's products behind the checks of bounds for the row before it, kept a unit's codes in memory of its own for that, and
/// nothing was gained over pairs.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn add_byte_products(mut sums: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the instructions are part of the set that this function enables; they touch registers only.
    unsafe {
        asm!(
            "vpmaddubsw {products}, {codes}, {x}",
            "vpaddw {sums}, {sums}, {products}",
            sums = inout(ymm_reg) sums,
            codes = in(ymm_reg) codes,
            x = in(ymm_reg) x,
            products = out(ymm_reg) _,
            options(nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// 256 times the sums of neighbouring 16-bit numbers.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn widen(narrow: __m256i) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe { _mm256_madd_epi16(narrow, _mm256_set1_epi16(256)) }
}

/// 256 times the sums of the lower and of the upper halves of eight registers of 16-bit numbers, one in each lane. They are
/// widened as late as `fit`, the number of them whose sum fits 16 bits, allows: the later, the fewer registers.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn halves_of_eight(rows: [__m256i; 8], fit: usize) -> [__m256i; 2] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = rows;
    // SAFETY: by the caller's promise.
    unsafe {
        if fit < 2 {
            (a, b, c, d) = (widen(a), widen(b), widen(c), widen(d));
            (e, f, g, h) = (widen(e), widen(f), widen(g), widen(h));
        }
        let (mut ab, mut cd) = (sum_words(a, b, fit < 2), sum_words(c, d, fit < 2));
        let (mut ef, mut gh) = (sum_words(e, f, fit < 2), sum_words(g, h, fit < 2));
        if (2..4).contains(&fit) {
            (ab, cd, ef, gh) = (widen(ab), widen(cd), widen(ef), widen(gh));
        }
        let (mut low, mut high) = (sum_pairs(ab, cd, fit < 4), sum_pairs(ef, gh, fit < 4));
        if fit >= 4 {
            (low, high) = (widen(low), widen(high));
        }
        [_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high)]
    }
}

/// Sums within halves, of two registers in turn: the first half of its 32-bit words with the second.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn sum_words(a: __m256i, b: __m256i, wide: bool) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe { add(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b), wide) }
}

/// Sums within halves, of two registers in turn: the first 64 bits with the second.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn sum_pairs(a: __m256i, b: __m256i, wide: bool) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe { add(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b), wide) }
}

/// Sums of 32-bit numbers, or of 16-bit ones.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn add(a: __m256i, b: __m256i, wide: bool) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe { if wide { _mm256_add_epi32(a, b) } else { _mm256_add_epi16(a, b) } }
}
