//! Products of codes of 16 bits by their two digits, which are bytes, for four rows of weights in a register.
//!
//! A 16-bit code is `256 * high + low`, the upper digit signed and the lower one not. Codes of weights below 128 are the same number
//! signed and not, so that they are multiplied with either digit by an instruction of unsigned with signed bytes, or by one of
//! signed bytes and one of unsigned.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::avx512::{Avx512, EVEN_QUARTERS, ODD_QUARTERS, sum_four};
use super::{LANES, Lanes, QuadLanes};

/// Lanes with exact sums of four products of codes below 128 with either digit, in 32 bits.
pub(crate) trait DigitLanes: QuadLanes<Narrow = <Self as Lanes>::Ints> {
    /// Sixteen bytes of each of four rows.
    type Fours: Copy;

    /// The first and the second sixteen bytes of four rows.
    fn fours_of(rows: [Self::Bytes; 4]) -> [Self::Fours; 2];
    /// The low halves of the bytes of four rows, and the high ones.
    fn fours_of_nibbles(rows: [&[u8; 16]; 4]) -> [Self::Fours; 2];
    /// Each byte with `value` added where the row's bit for it is set; rows have sixteen bits each.
    fn fours_add_where(fours: Self::Fours, bits: u64, value: u8) -> Self::Fours;
    /// Four times the same sixteen bytes.
    fn fours_splat(from: &[u8; 16]) -> Self::Fours;
    /// Sums of four products of codes with signed digits in each 32 bits, added to others.
    fn fours_add_high(sums: Self::Ints, codes: Self::Fours, digits: Self::Fours) -> Self::Ints;
    /// The same with unsigned digits.
    fn fours_add_low(sums: Self::Ints, codes: Self::Fours, digits: Self::Fours) -> Self::Ints;
    /// As [`QuadLanes::narrow_add_quads`] with unsigned digits.
    fn narrow_add_low_quads(sums: Self::Ints, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Ints;
    /// 256 times each.
    fn ints_shift(ints: Self::Ints) -> Self::Ints;
    /// `value` taken off each.
    fn ints_less(ints: Self::Ints, value: i32) -> Self::Ints;
    /// The whole sums of sixteen rows, lane `4 i + j` that of row `i` of `sums[j]`.
    fn fours_sum(sums: [Self::Ints; 4]) -> Self::Ints;
}

/// A [`super::Kernel`] that needs products of digits.
pub(crate) trait DigitKernel {
    type Output;
    fn run<L: DigitLanes>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
impl DigitLanes for Avx512 {
    type Fours = __m512i;

    #[inline(always)]
    fn fours_of([a, b, c, d]: [__m256i; 4]) -> [__m512i; 2] {
        // SAFETY: lanes of AVX-512 are only reached where it was detected; no memory is touched.
        unsafe {
            let ab = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
            let cd = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(c), d);
            [_mm512_shuffle_i32x4::<EVEN_QUARTERS>(ab, cd), _mm512_shuffle_i32x4::<ODD_QUARTERS>(ab, cd)]
        }
    }
    #[inline(always)]
    fn fours_of_nibbles([a, b, c, d]: [&[u8; 16]; 4]) -> [__m512i; 2] {
        // SAFETY: as above; sixteen bytes can be read from each row.
        unsafe {
            let bytes = _mm512_castsi128_si512(_mm_loadu_si128(a.as_ptr().cast()));
            let bytes = _mm512_inserti32x4::<1>(bytes, _mm_loadu_si128(b.as_ptr().cast()));
            let bytes = _mm512_inserti32x4::<2>(bytes, _mm_loadu_si128(c.as_ptr().cast()));
            let bytes = _mm512_inserti32x4::<3>(bytes, _mm_loadu_si128(d.as_ptr().cast()));
            let mask = _mm512_set1_epi8(15);
            [_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask)]
        }
    }
    #[inline(always)]
    fn fours_add_where(fours: __m512i, bits: u64, value: u8) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_mask_add_epi8(fours, bits, fours, _mm512_set1_epi8(value as i8)) }
    }
    #[inline(always)]
    fn fours_splat(from: &[u8; 16]) -> __m512i {
        // SAFETY: as above; sixteen bytes can be read.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn fours_add_high(sums: __m512i, codes: __m512i, digits: __m512i) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_dpbusd_epi32(sums, codes, digits) }
    }
    #[inline(always)]
    fn fours_add_low(sums: __m512i, codes: __m512i, digits: __m512i) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_dpbusd_epi32(sums, digits, codes) }
    }
    #[inline(always)]
    fn narrow_add_low_quads(sums: __m512i, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> __m512i {
        // SAFETY: as above; sixty-four bytes can be read.
        unsafe {
            let quad = _mm512_set1_epi32(i32::from_le_bytes(*quad));
            _mm512_dpbusd_epi32(sums, quad, _mm512_loadu_si512(codes.as_ptr().cast()))
        }
    }
    #[inline(always)]
    fn ints_shift(ints: __m512i) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_slli_epi32::<8>(ints) }
    }
    #[inline(always)]
    fn ints_less(ints: __m512i, value: i32) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_sub_epi32(ints, _mm512_set1_epi32(value)) }
    }
    #[inline(always)]
    fn fours_sum([a, b, c, d]: [__m512i; 4]) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { sum_four(a, b, c, d) }
    }
}
