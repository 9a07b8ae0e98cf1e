//! [`Lanes`] in pairs of AVX2 registers, with FMA and F16C.
//!
//! Every function here is inlined into [`run`], which enables the instruction sets; [`Avx2`] is
//! reached through nothing else but the AVX-512 lanes, whose processors have AVX2, and that is what
//! makes each use of an intrinsic right.

use std::arch::x86_64::*;

use super::bytes::{self, ByteKernel, QuadKernel};
use super::{Kernel, LANES, Lanes, RUN};

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
        // SAFETY: only `run` and the functions like it of AVX-512 lead here, whose callers have AVX2, FMA and F16C;
        // no memory is touched.
        unsafe { Avx2($f($($x.0),*), $f($($x.1),*)) }
    };
}

impl Lanes for Avx2 {
    const BYTE_BITS: usize = bytes::AVX2_BITS;

    type Ints = (__m256i, __m256i);
    type Bytes = __m256i;
    type Codes = (__m256i, __m256i);
    type Products = __m256i;

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
    fn load_f16_pairs(from: &[u32; LANES]) -> (Self, Self) {
        // SAFETY: as in `both!`; two times thirty-two bytes can be read.
        unsafe {
            let a = _mm256_loadu_si256(from.as_ptr().cast());
            let b = _mm256_loadu_si256(from.as_ptr().add(8).cast());
            let low = _mm256_set1_epi32(0xffff);
            // Packing works within halves of a register: the middle quarters change places.
            let firsts = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
            let seconds = _mm256_packus_epi32(_mm256_srli_epi32::<16>(a), _mm256_srli_epi32::<16>(b));
            (widen_halves(firsts), widen_halves(seconds))
        }
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: as in `both!`; two times sixteen bytes can be read.
        unsafe {
            let (low, high) = (_mm_loadu_si128(from), _mm_loadu_si128(from.add(1)));
            let (low, high) = (_mm256_cvtepu16_epi32(low), _mm256_cvtepu16_epi32(high));
            Avx2(
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            )
        }
    }
    #[inline(always)]
    fn load_i8(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `both!`; two times eight bytes can be read.
        unsafe {
            let (low, high) = sixteen_ints(from);
            Avx2(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }
    #[inline(always)]
    fn load_i4_low(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `both!`.
        unsafe {
            let (low, high) = sixteen_ints(from);
            Avx2(low_nibbles(low), low_nibbles(high))
        }
    }
    #[inline(always)]
    fn load_i4_high(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `both!`.
        unsafe {
            let (low, high) = sixteen_ints(from);
            Avx2(high_nibbles(low), high_nibbles(high))
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
    fn load_part(from: &[f32]) -> Self {
        assert!(from.len() <= LANES);
        let present = PRESENT[LANES - from.len()..].as_ptr();
        // SAFETY: as in `both!`; sixteen words of `PRESENT` lie behind its first sixteen, and lanes that are masked out
        // touch no memory, so that only as many are read as there are numbers, by the assertion.
        unsafe {
            let (low, high) = (_mm256_loadu_si256(present.cast()), _mm256_loadu_si256(present.add(8).cast()));
            let numbers = from.as_ptr();
            Avx2(_mm256_maskload_ps(numbers, low), _mm256_maskload_ps(numbers.wrapping_add(8), high))
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
    fn bytes_load(from: &[u8; RUN]) -> Self::Bytes {
        // SAFETY: as in `both!`; thirty-two bytes can be read.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn bytes_of_nibbles(bytes: &[u8; RUN / 2]) -> Self::Bytes {
        // SAFETY: as in `both!`; sixteen bytes can be read.
        unsafe {
            let twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast()));
            let shifted = _mm256_srlv_epi64(twice, _mm256_setr_epi64x(0, 0, 4, 4));
            _mm256_and_si256(shifted, _mm256_set1_epi8(15))
        }
    }
    #[inline(always)]
    fn bytes_of_flags(flags: &[u8; RUN / 8], set: u8, clear: u8) -> Self::Bytes {
        // SAFETY: as in `both!`.
        unsafe {
            // Each byte of flags eight times, each time for another one of its bits.
            let flags = _mm256_set1_epi32(i32::from_le_bytes(*flags));
            let bytes =
                _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let places = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let found = _mm256_and_si256(_mm256_shuffle_epi8(flags, bytes), places);
            let is_set = _mm256_cmpeq_epi8(found, places);
            let set = _mm256_and_si256(is_set, _mm256_set1_epi8(set as i8));
            _mm256_or_si256(set, _mm256_andnot_si256(is_set, _mm256_set1_epi8(clear as i8)))
        }
    }
    #[inline(always)]
    fn bytes_bits(bytes: Self::Bytes, shift: usize, mask: u8) -> Self::Bytes {
        // SAFETY: as in `both!`.
        unsafe {
            // What comes from the neighbour is masked out.
            let shifted = _mm256_srl_epi16(bytes, _mm_cvtsi32_si128(shift as i32));
            _mm256_and_si256(shifted, _mm256_set1_epi8(mask as i8))
        }
    }
    #[inline(always)]
    fn bytes_join(low: Self::Bytes, high: Self::Bytes, shift: usize) -> Self::Bytes {
        // SAFETY: as in `both!`.
        unsafe { _mm256_or_si256(low, _mm256_sll_epi16(high, _mm_cvtsi32_si128(shift as i32))) }
    }
    #[inline(always)]
    fn bytes_look_up(places: Self::Bytes, table: &[i8; 16]) -> Self::Bytes {
        // SAFETY: as in `both!`; sixteen bytes can be read.
        unsafe {
            let table = _mm_loadu_si128(table.as_ptr().cast());
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), places)
        }
    }
    #[inline(always)]
    fn bytes_add(bytes: Self::Bytes, value: i8) -> Self::Bytes {
        // SAFETY: as in `both!`.
        unsafe { _mm256_add_epi8(bytes, _mm256_set1_epi8(value)) }
    }
    #[inline(always)]
    fn bytes_store(bytes: Self::Bytes, to: &mut [u8; RUN]) {
        // SAFETY: as in `both!`; thirty-two bytes can be written.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), bytes) }
    }
    #[inline(always)]
    fn bytes_to_codes(bytes: Self::Bytes, codes: &mut [i16; RUN]) {
        let to = codes.as_mut_ptr().cast::<__m256i>();
        // SAFETY: as in `both!`; thirty-two codes can be written.
        unsafe {
            let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes));
            _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(low));
            _mm256_storeu_si256(to.add(1), _mm256_cvtepi8_epi16(high));
        }
    }
    /// Those at even places, then those at odd ones: no code crosses into another half of the register, which costs
    /// more than all else here.
    #[inline(always)]
    fn codes_of(bytes: Self::Bytes) -> Self::Codes {
        // SAFETY: as in `both!`.
        unsafe {
            let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes));
            (even, _mm256_srai_epi16::<8>(bytes))
        }
    }
    #[inline(always)]
    fn codes_load(from: &[i16; RUN]) -> Self::Codes {
        let from = from.as_ptr().cast::<__m256i>();
        // SAFETY: as in `both!`; thirty-two codes can be read.
        unsafe {
            let (a, b) = (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1)));
            let low = _mm256_set1_epi32(0xffff);
            let even = _mm256_packus_epi32(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
            let odd = _mm256_packus_epi32(_mm256_srli_epi32::<16>(a), _mm256_srli_epi32::<16>(b));
            // Packing works within halves of a register: the middle quarters change places.
            (_mm256_permute4x64_epi64::<0b11_01_10_00>(even), _mm256_permute4x64_epi64::<0b11_01_10_00>(odd))
        }
    }
    #[inline(always)]
    fn products(codes: Self::Codes, x: Self::Codes) -> Self::Products {
        // SAFETY: as in `both!`.
        unsafe { _mm256_add_epi32(_mm256_madd_epi16(codes.0, x.0), _mm256_madd_epi16(codes.1, x.1)) }
    }
    #[inline(always)]
    fn products_sum(rows: &[Self::Products; LANES]) -> Self::Ints {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
        // SAFETY: as in `both!`.
        unsafe {
            let [first, second] = halves_of_eight([a, b, c, d, e, f, g, h]);
            let low = _mm256_add_epi32(first, second);
            let [first, second] = halves_of_eight([i, j, k, l, m, n, o, p]);
            (low, _mm256_add_epi32(first, second))
        }
    }
    #[inline(always)]
    fn products_sum_halves(rows: &[Self::Products; LANES]) -> [Self::Ints; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
        // SAFETY: as in `both!`.
        unsafe {
            let low = halves_of_eight([a, b, c, d, e, f, g, h]);
            let high = halves_of_eight([i, j, k, l, m, n, o, p]);
            [(low[0], high[0]), (low[1], high[1])]
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
    fn ints_to_f32(ints: Self::Ints) -> Self {
        // SAFETY: as in `both!`.
        unsafe { Avx2(_mm256_cvtepi32_ps(ints.0), _mm256_cvtepi32_ps(ints.1)) }
    }
    #[inline(always)]
    fn with_bytes<K: ByteKernel>(kernel: K) -> Option<K::Output> {
        Some(kernel.run::<Self>())
    }
    #[inline(always)]
    fn with_quads<K: QuadKernel>(kernel: K) -> Option<K::Output> {
        Some(kernel.run::<Self>())
    }
}

/// Sixteen half-precision numbers whose middle quarters have changed places.
///
/// # Safety
///
/// The processor must have AVX2 and F16C.
#[inline(always)]
unsafe fn widen_halves(packed: __m256i) -> Avx2 {
    // SAFETY: by the caller's promise.
    unsafe {
        let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
        let (low, high) = (_mm256_castsi256_si128(ordered), _mm256_extracti128_si256::<1>(ordered));
        Avx2(_mm256_cvtph_ps(low), _mm256_cvtph_ps(high))
    }
}

/// Sixteen signed bytes, widened.
///
/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn sixteen_ints(from: &[u8; LANES]) -> (__m256i, __m256i) {
    let from = from.as_ptr();
    // SAFETY: by the caller's promise; two times eight bytes can be read.
    unsafe {
        (
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())),
            _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(8).cast())),
        )
    }
}

/// The low halves of the lowest bytes, signed.
///
/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn low_nibbles(x: __m256i) -> __m256 {
    // SAFETY: by the caller's promise.
    unsafe { _mm256_cvtepi32_ps(_mm256_srai_epi32::<28>(_mm256_slli_epi32::<28>(x))) }
}

/// The high halves of signed bytes.
///
/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn high_nibbles(x: __m256i) -> __m256 {
    // SAFETY: by the caller's promise.
    unsafe { _mm256_cvtepi32_ps(_mm256_srai_epi32::<4>(x)) }
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

/// The sums of the lower and of the upper halves of eight registers, one in each lane.
///
/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn halves_of_eight(rows: [__m256i; 8]) -> [__m256i; 2] {
    let [a, b, c, d, e, f, g, h] = rows;
    // SAFETY: by the caller's promise.
    unsafe {
        let (low, high) = (sum_four(a, b, c, d), sum_four(e, f, g, h));
        [_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high)]
    }
}

/// Sums of four registers, within halves: lane `i` of each half for register `i`. Interleaving costs two shuffles
/// and an addition for two registers, where a horizontal addition costs one more.
///
/// # Safety
///
/// The processor must have AVX2.
#[inline(always)]
unsafe fn sum_four(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> __m256i {
    // SAFETY: by the caller's promise.
    unsafe {
        let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
        let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
        _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
    }
}

/// From its `LANES - n`th word on, the masks of `n` lanes.
static PRESENT: [i32; 2 * LANES] = {
    let mut masks = [0; 2 * LANES];
    let mut lane = 0;
    while lane < LANES {
        masks[lane] = -1;
        lane += 1;
    }
    masks
};

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
