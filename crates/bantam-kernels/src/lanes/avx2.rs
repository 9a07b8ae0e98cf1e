//! [`Lanes`] in pairs of AVX2 registers, with FMA and F16C.
//!
//! Every function here is inlined into [`run`], which enables the instruction sets; [`Avx2`] is
//! reached through nothing else, and that is what makes each use of an intrinsic right.

use std::arch::x86_64::*;

use super::{Kernel, LANES, Lanes};

#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256, __m256);

/// Runs a kernel over [`Avx2`].
///
/// # Safety
///
/// The processor must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// One expression of intrinsics for both halves.
macro_rules! both {
    ($f:ident($($x:expr),*)) => {
        // SAFETY: only `run` leads here, whose caller has AVX2, FMA and F16C; no memory is touched.
        unsafe { Avx2($f($($x.0),*), $f($($x.1),*)) }
    };
}

impl Lanes for Avx2 {
    type Ints = (__m256i, __m256i);

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: as in `both!`.
        let x = unsafe { _mm256_set1_ps(x) };
        Avx2(x, x)
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: as in `both!`; sixteen numbers can be read, and these loads need no alignment.
        unsafe { Avx2(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: as in `both!`; sixteen numbers can be written, and these stores need no alignment.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), self.1);
        }
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self {
        // SAFETY: as in `both!`; two times sixteen bytes lie behind the pointer.
        unsafe {
            let (low, high) = (from.as_ptr().cast::<__m128i>(), from.as_ptr().add(8).cast::<__m128i>());
            Avx2(_mm256_cvtph_ps(_mm_loadu_si128(low)), _mm256_cvtph_ps(_mm_loadu_si128(high)))
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        both!(_mm256_add_ps(self, other))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        both!(_mm256_sub_ps(self, other))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        both!(_mm256_mul_ps(self, other))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        both!(_mm256_div_ps(self, other))
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        both!(_mm256_fmadd_ps(self, a, b))
    }
    #[inline(always)]
    fn minimum(self, other: Self) -> Self {
        both!(_mm256_min_ps(self, other))
    }
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        both!(_mm256_max_ps(self, other))
    }
    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: as in `both!`.
        unsafe { Avx2(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1)) }
    }
    #[inline(always)]
    fn exp2_of_integer(self) -> Self {
        both!(exp2_of_integer(self))
    }
    #[inline(always)]
    fn select_less(self, other: Self, yes: Self, no: Self) -> Self {
        both!(select_less(self, other, yes, no))
    }
    #[inline(always)]
    fn prefetch(byte: &u8) {
        // SAFETY: as in `both!`; a prefetch reads nothing, and the byte is there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) }
    }
    #[inline(always)]
    fn to_codes(self, codes: &mut [i16; LANES]) {
        // SAFETY: as in `both!`; thirty-two bytes can be written.
        unsafe {
            // Packing works within halves of a register: the middle quarters change places.
            let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(self.0), _mm256_cvtps_epi32(self.1));
            let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            _mm256_storeu_si256(codes.as_mut_ptr().cast(), ordered);
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as in `both!`. The order is the one of the default body.
        unsafe {
            let eight = _mm256_add_ps(self.0, self.1);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn add_bits(codes: &mut [i16; LANES], bits: u16, value: i16) {
        // SAFETY: as in `both!`; thirty-two bytes can be read and written.
        unsafe {
            let places = _mm256_setr_epi16(
                1,
                2,
                4,
                8,
                16,
                32,
                64,
                128,
                256,
                512,
                1024,
                2048,
                4096,
                8192,
                16384,
                i16::MIN,
            );
            let set = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(bits as i16), places), places);
            let added = _mm256_and_si256(set, _mm256_set1_epi16(value));
            let place = codes.as_mut_ptr().cast();
            _mm256_storeu_si256(place, _mm256_add_epi16(_mm256_loadu_si256(place), added));
        }
    }
    #[inline(always)]
    fn pairs_across(codes: &[i16], stride: usize, pairs: &mut [[i16; 2 * LANES]; LANES / 2]) {
        assert!(codes.len() >= (LANES - 1) * stride + LANES);
        let to = pairs.as_flattened_mut().as_mut_ptr();
        // SAFETY: as in `both!`; the assertion holds for the last row, so for all of them. Eight stores of
        // sixteen codes, 32 apart, from the first or the seventeenth place on stay within eight times 32.
        unsafe {
            across_eight(codes.as_ptr(), stride, to);
            across_eight(codes.as_ptr().add(8 * stride), stride, to.add(LANES));
        }
    }
    #[inline(always)]
    fn ints_zero() -> Self::Ints {
        // SAFETY: as in `both!`.
        unsafe { (_mm256_setzero_si256(), _mm256_setzero_si256()) }
    }
    #[inline(always)]
    fn ints_add_pairs(sums: Self::Ints, codes: &[i16; 2 * LANES], pair: &[i16; 2]) -> Self::Ints {
        // SAFETY: as in `both!`; four bytes and sixty-four bytes can be read.
        unsafe {
            let pair = _mm256_set1_epi32(pair.as_ptr().cast::<i32>().read_unaligned());
            let low = _mm256_loadu_si256(codes.as_ptr().cast());
            let high = _mm256_loadu_si256(codes.as_ptr().add(LANES).cast());
            (
                _mm256_add_epi32(sums.0, _mm256_madd_epi16(low, pair)),
                _mm256_add_epi32(sums.1, _mm256_madd_epi16(high, pair)),
            )
        }
    }
    #[inline(always)]
    fn ints_dot_rows<const UNIT: usize>(codes: &[i16], stride: usize, x: &[i16; UNIT]) -> Self::Ints {
        assert!(codes.len() >= (LANES - 1) * stride + UNIT && UNIT.is_multiple_of(LANES));
        // SAFETY: as in `both!`; the assertion holds for the last row, so for all of them.
        unsafe {
            let low = dot_eight::<UNIT>(codes.as_ptr(), stride, x);
            (low, dot_eight::<UNIT>(codes.as_ptr().add(8 * stride), stride, x))
        }
    }
    #[inline(always)]
    fn ints_to_f32(ints: Self::Ints) -> Self {
        // SAFETY: as in `both!`.
        unsafe { Avx2(_mm256_cvtepi32_ps(ints.0), _mm256_cvtepi32_ps(ints.1)) }
    }
}

/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn exp2_of_integer(x: __m256) -> __m256 {
    // SAFETY: by the caller's promise.
    unsafe {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(127));
        _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
    }
}

/// # Safety
///
/// The processor must have AVX.
#[inline(always)]
unsafe fn select_less(a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
    // SAFETY: by the caller's promise.
    unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
}

/// The sums of eight rows of products, one in each lane.
///
/// # Safety
///
/// The processor must have AVX2, and `7 * stride + UNIT` codes must lie behind the pointer.
#[inline(always)]
unsafe fn dot_eight<const UNIT: usize>(codes: *const i16, stride: usize, x: &[i16; UNIT]) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe {
        // Three rounds of pairwise sums turn eight registers of eight partial sums into one.
        let a = _mm256_hadd_epi32(dot_two(codes, stride, x), dot_two(codes.add(2 * stride), stride, x));
        let codes = codes.add(4 * stride);
        let b = _mm256_hadd_epi32(dot_two(codes, stride, x), dot_two(codes.add(2 * stride), stride, x));
        let crossed = _mm256_permute2x128_si256::<0x21>(a, b);
        _mm256_add_epi32(_mm256_blend_epi32::<0b1111_0000>(a, b), crossed)
    }
}

/// Two rows of products, summed in pairs.
///
/// # Safety
///
/// The processor must have AVX2, and `stride + UNIT` codes must lie behind the pointer.
#[inline(always)]
unsafe fn dot_two<const UNIT: usize>(codes: *const i16, stride: usize, x: &[i16; UNIT]) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe { _mm256_hadd_epi32(dot_one(codes, x), dot_one(codes.add(stride), x)) }
}

/// Partial sums of a row of products.
///
/// # Safety
///
/// The processor must have AVX2, and `UNIT` codes must lie behind the pointer.
#[inline(always)]
unsafe fn dot_one<const UNIT: usize>(codes: *const i16, x: &[i16; UNIT]) -> __m256i {
    // SAFETY: by the caller's promise; `x` is as long.
    unsafe {
        let mut sum = _mm256_setzero_si256();
        let mut k = 0;
        while k < UNIT {
            let c = _mm256_loadu_si256(codes.add(k).cast());
            let x = _mm256_loadu_si256(x.as_ptr().add(k).cast());
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(c, x));
            k += LANES;
        }
        sum
    }
}

/// Turns eight rows of eight pairs of codes into eight columns, stored 32 codes apart.
///
/// # Safety
///
/// The processor must have AVX2; sixteen codes must lie behind each of eight places `stride` apart, and room for
/// sixteen behind each of eight places 32 apart.
#[inline(always)]
unsafe fn across_eight(codes: *const i16, stride: usize, to: *mut i16) {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut fours = [_mm256_setzero_si256(); 8];
        for half in 0..2 {
            // Pairs of rows interleave, then pairs of pairs: each half of a register then holds four rows
            // of one column.
            let row = codes.add(4 * half * stride);
            let a = _mm256_loadu_si256(row.cast());
            let b = _mm256_loadu_si256(row.add(stride).cast());
            let c = _mm256_loadu_si256(row.add(2 * stride).cast());
            let d = _mm256_loadu_si256(row.add(3 * stride).cast());
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            fours[4 * half] = _mm256_unpacklo_epi64(ab_low, cd_low);
            fours[4 * half + 1] = _mm256_unpackhi_epi64(ab_low, cd_low);
            fours[4 * half + 2] = _mm256_unpacklo_epi64(ab_high, cd_high);
            fours[4 * half + 3] = _mm256_unpackhi_epi64(ab_high, cd_high);
        }
        for column in 0..4 {
            let (first, second) = (fours[column], fours[4 + column]);
            let low = _mm256_permute2x128_si256::<0x20>(first, second);
            let high = _mm256_permute2x128_si256::<0x31>(first, second);
            _mm256_storeu_si256(to.add(column * 2 * LANES).cast(), low);
            _mm256_storeu_si256(to.add((4 + column) * 2 * LANES).cast(), high);
        }
    }
}
