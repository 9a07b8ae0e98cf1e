//! Products of codes of 16 bits by their two digits, which are bytes, for four rows of weights in a register.
//!
//! A 16-bit code is `256 * high + low`, the upper digit signed and the lower one not. Codes of weights below 128 are the same number
//! signed and not, so that they are multiplied with either digit by an instruction of unsigned with signed bytes, or by one of
//! signed bytes and one of unsigned.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::avx512::{Avx512, EVEN_QUARTERS, ODD_QUARTERS, sum_four};
use super::{LANES, Lanes, QuadLanes, RUN};

/// Digits of a code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digit {
    High,
    Low,
}

/// Lanes with exact sums of four products of codes with either digit, in 32 bits.
pub(crate) trait DigitLanes: QuadLanes<Narrow = <Self as Lanes>::Ints> {
    /// Sixteen bytes of each of four rows.
    type Fours: Copy;
    /// Which digits meet codes of weights as unsigned bytes, and the others as signed ones; below 128 these are the same.
    const UNSIGNED_MEET: Digit;

    /// The first and the second sixteen bytes of four rows.
    fn fours_of(rows: [Self::Bytes; 4]) -> [Self::Fours; 2];
    /// The low halves of the bytes of four rows, and the high ones.
    fn fours_of_nibbles(rows: [&[u8; 16]; 4]) -> [Self::Fours; 2];
    /// The number at each place of a table; places are below 16.
    fn fours_look_up(places: Self::Fours, table: &[i8; 16]) -> Self::Fours;
    /// 128 added to each byte, or taken off it: signed bytes become unsigned ones, and the other way round.
    fn fours_flip(fours: Self::Fours) -> Self::Fours;
    /// Each byte with `value` added where the row's bit for it is set; rows have sixteen bits each.
    fn fours_add_where(fours: Self::Fours, bits: u64, value: u8) -> Self::Fours;
    /// Four times the same sixteen bytes.
    fn fours_splat(from: &[u8; 16]) -> Self::Fours;
    /// Sums of four products of codes with signed digits in each 32 bits, added to others.
    fn fours_add_high(sums: Self::Ints, codes: Self::Fours, digits: Self::Fours) -> Self::Ints;
    /// The same with unsigned digits.
    fn fours_add_low(sums: Self::Ints, codes: Self::Fours, digits: Self::Fours) -> Self::Ints;
    /// 128 times the sums of four digits in each 32 bits, of those that meet unsigned codes, taken off others.
    fn fours_less_flip(sums: Self::Ints, digits: Self::Fours) -> Self::Ints;
    /// As [`QuadLanes::narrow_add_quads`] with unsigned digits.
    fn narrow_add_low_quads(sums: Self::Ints, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Ints;
    /// 256 times each.
    fn ints_shift(ints: Self::Ints) -> Self::Ints;
    /// A whole number taken off each.
    fn ints_less(ints: Self::Ints, value: f32) -> Self::Ints;
    /// The whole sums of sixteen rows, lane `4 i + j` that of row `i` of `sums[j]`.
    fn fours_sum(sums: [Self::Ints; 4]) -> Self::Ints;
}

/// Lanes that lay rows of bytes out across.
pub(crate) trait ColumnLanes: DigitLanes {
    /// Takes `less` off a run of bytes of each of sixteen rows and lays them out in pairs, `[16][RUN]` to `[RUN / 2][16][2]`.
    /// Those of rows `j`, `4 + j`, `8 + j` and `12 + j` come in `fours[j]`.
    fn pairs_of_column(fours: &[[Self::Fours; 2]; 4], less: u8, pairs: &mut [[i16; 2 * LANES]; RUN / 2]);
    /// The same in BF16; `table` has the results for codes of up to five bits, if they are.
    fn halves_of_column(
        fours: &[[Self::Fours; 2]; 4],
        less: u8,
        table: Option<&[u16; RUN]>,
        halves: &mut [[u16; 2 * LANES]; RUN / 2],
    );
    /// The same as bytes in quads, `[16][RUN]` to `[RUN / 4][16][4]`.
    fn quads_of_column(fours: &[[Self::Fours; 2]; 4], less: u8, quads: &mut [[u8; 4 * LANES]; RUN / 4]);
}

/// A [`super::Kernel`] that needs them.
pub(crate) trait ColumnKernel {
    type Output;
    fn run<L: ColumnLanes>(self) -> Self::Output;
}

/// A [`super::Kernel`] that needs products of digits.
pub(crate) trait DigitKernel {
    type Output;
    fn run<L: DigitLanes>(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
impl DigitLanes for Avx512 {
    type Fours = __m512i;
    const UNSIGNED_MEET: Digit = Digit::High;

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
        // SAFETY: as above; no memory is touched.
        unsafe {
            let bytes = load_fours([a, b, c, d]);
            let mask = _mm512_set1_epi8(15);
            [_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask)]
        }
    }
    #[inline(always)]
    fn fours_look_up(places: __m512i, table: &[i8; 16]) -> __m512i {
        let table = Self::fours_splat(bytemuck::cast_ref(table));
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_shuffle_epi8(table, places) }
    }
    #[inline(always)]
    fn fours_flip(fours: __m512i) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_xor_si512(fours, _mm512_set1_epi8(i8::MIN)) }
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
    fn fours_less_flip(sums: __m512i, digits: __m512i) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe {
            let more = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(i8::MIN), digits);
            _mm512_sub_epi32(sums, more)
        }
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
    fn ints_less(ints: __m512i, value: f32) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { _mm512_sub_epi32(ints, _mm512_cvttps_epi32(_mm512_set1_ps(value))) }
    }
    #[inline(always)]
    fn fours_sum([a, b, c, d]: [__m512i; 4]) -> __m512i {
        // SAFETY: as above; no memory is touched.
        unsafe { sum_four(a, b, c, d) }
    }
}

#[cfg(target_arch = "x86_64")]
impl ColumnLanes for Avx512 {
    #[inline(always)]
    fn pairs_of_column(fours: &[[__m512i; 2]; 4], less: u8, pairs: &mut [[i16; 2 * LANES]; RUN / 2]) {
        // SAFETY: as above; each store has its sixty-four bytes.
        unsafe {
            let less = _mm512_set1_epi16(i16::from(less));
            for (column, pairs) in columns_of(fours).into_iter().zip(pairs.as_chunks_mut::<2>().0) {
                for (codes, pair) in words_of(column).into_iter().zip(pairs) {
                    _mm512_storeu_si512(pair.as_mut_ptr().cast(), _mm512_sub_epi16(codes, less));
                }
            }
        }
    }
    #[inline(always)]
    fn halves_of_column(
        fours: &[[__m512i; 2]; 4],
        less: u8,
        table: Option<&[u16; RUN]>,
        halves: &mut [[u16; 2 * LANES]; RUN / 2],
    ) {
        // SAFETY: as above; each store and the table have their sixty-four bytes.
        unsafe {
            let less = _mm512_set1_epi16(i16::from(less));
            for (column, halves) in columns_of(fours).into_iter().zip(halves.as_chunks_mut::<2>().0) {
                for (codes, half) in words_of(column).into_iter().zip(halves) {
                    let numbers = match table {
                        Some(table) => {
                            _mm512_permutexvar_epi16(codes, _mm512_loadu_si512(table.as_ptr().cast()))
                        }
                        None => bf16_of_words(_mm512_sub_epi16(codes, less)),
                    };
                    _mm512_storeu_si512(half.as_mut_ptr().cast(), numbers);
                }
            }
        }
    }
    #[inline(always)]
    fn quads_of_column(fours: &[[__m512i; 2]; 4], less: u8, quads: &mut [[u8; 4 * LANES]; RUN / 4]) {
        // SAFETY: as above; each store has its sixty-four bytes.
        unsafe {
            let less = _mm512_set1_epi8(less as i8);
            for (column, quad) in columns_of(fours).into_iter().zip(quads) {
                _mm512_storeu_si512(quad.as_mut_ptr().cast(), _mm512_sub_epi8(column, less));
            }
        }
    }
}

/// Four bytes of each of sixteen rows as words: the first two of each row, and the others.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words_of(column: __m512i) -> [__m512i; 2] {
    let first = _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1);
    let second = _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1);
    [
        _mm512_shuffle_epi8(column, _mm512_broadcast_i32x4(first)),
        _mm512_shuffle_epi8(column, _mm512_broadcast_i32x4(second)),
    ]
}

/// Whole numbers of up to eight bits in BF16.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn bf16_of_words(words: __m512i) -> __m512i {
    let low = _mm512_cvtepi32_ps(_mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(words)));
    let high = _mm512_cvtepi32_ps(_mm512_srai_epi32::<16>(words));
    let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(low));
    _mm512_mask_blend_epi16(0xaaaa_aaaa, low, _mm512_castps_si512(high))
}

/// Four bytes of each of sixteen rows in each register.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn columns_of(fours: &[[__m512i; 2]; 4]) -> [__m512i; RUN / 4] {
    let mut columns = [_mm512_setzero_si512(); RUN / 4];
    for (half, columns) in columns.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *columns = turned([fours[0][half], fours[1][half], fours[2][half], fours[3][half]]);
    }
    columns
}

/// The first to fourth words of sixteen rows; rows `j`, `4 + j`, `8 + j` and `12 + j` come in `fours[j]`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn turned([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ef, gh) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ef, gh),
        _mm512_unpackhi_epi64(ef, gh),
    ]
}

/// Sixteen bytes of each of four rows.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_fours([a, b, c, d]: [&[u8; 16]; 4]) -> __m512i {
    // SAFETY: sixteen bytes can be read from each row.
    unsafe {
        let bytes = _mm512_castsi128_si512(_mm_loadu_si128(a.as_ptr().cast()));
        let bytes = _mm512_inserti32x4::<1>(bytes, _mm_loadu_si128(b.as_ptr().cast()));
        let bytes = _mm512_inserti32x4::<2>(bytes, _mm_loadu_si128(c.as_ptr().cast()));
        _mm512_inserti32x4::<3>(bytes, _mm_loadu_si128(d.as_ptr().cast()))
    }
}
