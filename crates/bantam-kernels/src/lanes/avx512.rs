//! [`Lanes`] in single AVX-512 registers; bytes stay in the registers of [`Avx2`], which hold a run of them.
//!
//! Every function here is inlined into [`run`], which enables the instruction sets; [`Avx512`] is reached through
//! nothing else, and that is what makes each use of an intrinsic right.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::digits::{load_fours, turned};
use super::{ColumnKernel, DigitKernel, Kernel, LANES, Lanes, QuadKernel, QuadLanes, RUN};

#[derive(Clone, Copy)]
pub(super) struct Avx512(pub(super) __m512);

/// Runs a kernel over [`Avx512`].
///
/// # Safety
///
/// The processor must have AVX-512 F, BW, DQ, VL and VNNI, AVX2, FMA and F16C.
#[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// `vpdpwssd`, written out: the compiler takes its intrinsic apart again into a product and an addition wherever sums
/// follow each other, which shortens the wait and costs the second instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply_add(mut sums: __m512i, codes: __m512i, x: __m512i) -> __m512i {
    // SAFETY: the instruction is part of the set that this function enables; it touches registers only.
    unsafe {
        asm!(
            "vpdpwssd {sums}, {codes}, {x}",
            sums = inout(zmm_reg) sums,
            codes = in(zmm_reg) codes,
            x = in(zmm_reg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The sums of four registers at once: halves of two are laid side by side before they are added.
#[inline(always)]
fn sums_of_four(a: Avx512, b: Avx512, c: Avx512, d: Avx512) -> [f32; 4] {
    let mut sums = [0.0; 4];
    // SAFETY: only `run` leads here, whose caller has AVX-512 F; sixteen bytes can be written. The order is that of
    // `Lanes::sum`.
    unsafe {
        let ab = _mm512_add_ps(
            _mm512_shuffle_f32x4::<0b01_00_01_00>(a.0, b.0),
            _mm512_shuffle_f32x4::<0b11_10_11_10>(a.0, b.0),
        );
        let cd = _mm512_add_ps(
            _mm512_shuffle_f32x4::<0b01_00_01_00>(c.0, d.0),
            _mm512_shuffle_f32x4::<0b11_10_11_10>(c.0, d.0),
        );
        let fours = _mm512_add_ps(
            _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
            _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
        );
        let twos = _mm512_add_ps(fours, _mm512_permute_ps::<0b01_00_11_10>(fours));
        let ones = _mm512_add_ps(twos, _mm512_permute_ps::<0b10_11_00_01>(twos));
        // One of each quarter.
        let together = _mm512_maskz_compress_ps(0b0001_0001_0001_0001, ones);
        _mm_storeu_ps(sums.as_mut_ptr(), _mm512_castps512_ps128(together));
    }
    sums
}

/// An intrinsic on the registers of lanes.
macro_rules! lanes {
    ($f:ident($($x:expr),*)) => {
        // SAFETY: only `run` leads here, whose caller has AVX-512 F, BW, DQ, VL and VNNI, AVX2, FMA and F16C; no
        // memory is touched.
        unsafe { Avx512($f($($x.0),*)) }
    };
}

impl Lanes for Avx512 {
    const WIDE: bool = true;
    const TILES: bool = cfg!(target_os = "linux");
    const BYTE_BITS: usize = 8;
    const DIGIT_ROWS: usize = 8;
    const COLUMNS: bool = true;

    type Ints = __m512i;
    type Bytes = __m256i;
    type Codes = __m512i;
    /// Sums of pairs, in order: those of the first half of the codes lie in the register's lower half.
    type Products = __m512i;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe { Avx512(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        // SAFETY: as in `lanes!`; sixteen numbers can be read, and this load needs no alignment.
        unsafe { Avx512(_mm512_loadu_ps(from.as_ptr())) }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        // SAFETY: as in `lanes!`; sixteen numbers can be written, and this store needs no alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self {
        // SAFETY: as in `lanes!`; thirty-two bytes can be read.
        unsafe { Avx512(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn load_f16_pairs(from: &[u32; LANES]) -> (Self, Self) {
        // SAFETY: as in `lanes!`; sixty-four bytes can be read.
        unsafe {
            let words = _mm512_loadu_si512(from.as_ptr().cast());
            let firsts = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
            let seconds = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(words)));
            (Avx512(firsts), Avx512(seconds))
        }
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self {
        // SAFETY: as in `lanes!`; thirty-two bytes can be read.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(words)))
        }
    }
    #[inline(always)]
    fn load_i8(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe { Avx512(_mm512_cvtepi32_ps(sixteen_ints(from))) }
    }
    #[inline(always)]
    fn load_i4_low(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe {
            let signed = _mm512_srai_epi32::<28>(_mm512_slli_epi32::<28>(sixteen_ints(from)));
            Avx512(_mm512_cvtepi32_ps(signed))
        }
    }
    #[inline(always)]
    fn load_i4_high(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe { Avx512(_mm512_cvtepi32_ps(_mm512_srai_epi32::<4>(sixteen_ints(from)))) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        lanes!(_mm512_add_ps(self, other))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        lanes!(_mm512_sub_ps(self, other))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        lanes!(_mm512_mul_ps(self, other))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        lanes!(_mm512_div_ps(self, other))
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        lanes!(_mm512_fmadd_ps(self, a, b))
    }
    #[inline(always)]
    fn minimum(self, other: Self) -> Self {
        lanes!(_mm512_min_ps(self, other))
    }
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        lanes!(_mm512_max_ps(self, other))
    }
    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: as in `lanes!`.
        unsafe { Avx512(_mm512_roundscale_ps::<NEAREST>(self.0)) }
    }
    #[inline(always)]
    fn exp2_of_integer(self) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Avx512(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
        }
    }
    #[inline(always)]
    fn select_less(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe {
            let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0);
            Avx512(_mm512_mask_blend_ps(less, no.0, yes.0))
        }
    }
    #[inline(always)]
    fn prefetch(byte: &u8) {
        // To the second-level cache: the first one has few places for lines that are on their way, and they wait long for memory.
        // SAFETY: as in `lanes!`; the instruction reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(byte).cast()) }
    }
    #[inline(always)]
    fn to_codes(self, codes: &mut [i16; LANES]) {
        // SAFETY: as in `lanes!`; thirty-two bytes can be written.
        unsafe {
            let narrow = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(self.0));
            _mm256_storeu_si256(codes.as_mut_ptr().cast(), narrow);
        }
    }
    #[inline(always)]
    fn greatest(self) -> f32 {
        // SAFETY: as in `lanes!`.
        unsafe {
            let numbers = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(self.0, self.0);
            let x = _mm512_mask_blend_ps(numbers, _mm512_set1_ps(f32::NEG_INFINITY), self.0);
            let eight = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two))) + 0.0
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as in `lanes!`. The order is the one of the default body.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn sums<const N: usize>(of: &[Self; N]) -> [f32; N] {
        let mut sums = [0.0; N];
        for i in (0..N / 4 * 4).step_by(4) {
            sums[i..i + 4].copy_from_slice(&sums_of_four(of[i], of[i + 1], of[i + 2], of[i + 3]));
        }
        for i in N / 4 * 4..N {
            sums[i] = of[i].sum();
        }
        sums
    }
    #[inline(always)]
    fn load_part(from: &[f32]) -> Self {
        assert!(from.len() <= LANES);
        let present = (1u32 << from.len()).wrapping_sub(1) as __mmask16;
        // SAFETY: as in `lanes!`; as many lanes are read as there are numbers, by the assertion, and lanes that are
        // masked out touch no memory.
        unsafe { Avx512(_mm512_maskz_loadu_ps(present, from.as_ptr())) }
    }
    #[inline(always)]
    fn bytes_load(from: &[u8; RUN]) -> Self::Bytes {
        Avx2::bytes_load(from)
    }
    #[inline(always)]
    fn bytes_of_nibbles(bytes: &[u8; RUN / 2]) -> Self::Bytes {
        Avx2::bytes_of_nibbles(bytes)
    }
    #[inline(always)]
    fn bytes_of_flags(flags: &[u8; RUN / 8], set: u8, clear: u8) -> Self::Bytes {
        let flags = u32::from_le_bytes(*flags);
        // SAFETY: as in `lanes!`.
        unsafe { _mm256_mask_blend_epi8(flags, _mm256_set1_epi8(clear as i8), _mm256_set1_epi8(set as i8)) }
    }
    #[inline(always)]
    fn bytes_bits(bytes: Self::Bytes, shift: usize, mask: u8) -> Self::Bytes {
        Avx2::bytes_bits(bytes, shift, mask)
    }
    #[inline(always)]
    fn bytes_join(low: Self::Bytes, high: Self::Bytes, shift: usize) -> Self::Bytes {
        Avx2::bytes_join(low, high, shift)
    }
    #[inline(always)]
    fn bytes_look_up(places: Self::Bytes, table: &[i8; 16]) -> Self::Bytes {
        Avx2::bytes_look_up(places, table)
    }
    #[inline(always)]
    fn bytes_add(bytes: Self::Bytes, value: i8) -> Self::Bytes {
        Avx2::bytes_add(bytes, value)
    }
    #[inline(always)]
    fn bytes_store(bytes: Self::Bytes, to: &mut [u8; RUN]) {
        Avx2::bytes_store(bytes, to);
    }
    #[inline(always)]
    fn words_across(rows: &[&[u8; 16]; LANES]) -> [[u32; LANES]; 4] {
        // SAFETY: lanes of AVX-512 are only reached where it was detected; registers are as long as the words.
        unsafe {
            let mut fours = [_mm512_setzero_si512(); 4];
            for j in 0..4 {
                fours[j] = load_fours([rows[j], rows[4 + j], rows[8 + j], rows[12 + j]]);
            }
            std::mem::transmute(turned(fours))
        }
    }
    #[inline(always)]
    fn bytes_to_codes(bytes: Self::Bytes, codes: &mut [i16; RUN]) {
        // SAFETY: as in `lanes!`; thirty-two codes can be written.
        unsafe { _mm512_storeu_si512(codes.as_mut_ptr().cast(), _mm512_cvtepi8_epi16(bytes)) }
    }
    /// In their own order: one instruction widens them all, and codes of activations load as they lie.
    #[inline(always)]
    fn codes_of(bytes: Self::Bytes) -> Self::Codes {
        // SAFETY: as in `lanes!`.
        unsafe { _mm512_cvtepi8_epi16(bytes) }
    }
    #[inline(always)]
    fn codes_load(from: &[i16; RUN]) -> Self::Codes {
        // SAFETY: as in `lanes!`; thirty-two codes can be read.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }
    /// There is nothing yet that they could be added to.
    #[inline(always)]
    fn products(codes: Self::Codes, x: Self::Codes) -> Self::Products {
        // SAFETY: as in `lanes!`.
        unsafe { _mm512_madd_epi16(codes, x) }
    }
    #[inline(always)]
    fn products_sum(rows: &[Self::Products; LANES]) -> Self::Ints {
        // SAFETY: as in `lanes!`.
        unsafe {
            let [first, second] = halves_of_sixteen(rows);
            _mm512_add_epi32(first, second)
        }
    }
    #[inline(always)]
    fn products_sum_halves(rows: &[Self::Products; LANES]) -> [Self::Ints; 2] {
        // SAFETY: as in `lanes!`.
        unsafe { halves_of_sixteen(rows) }
    }
    #[inline(always)]
    fn pairs_across(codes: &[i16], stride: usize, pairs: &mut [[i16; 2 * LANES]; LANES / 2]) {
        assert!(codes.len() >= (LANES - 1) * stride + LANES);
        // SAFETY: as in `lanes!`; the assertion holds for the last row, so for all of them.
        let (upper, lower) = unsafe {
            (across_eight(codes.as_ptr(), stride), across_eight(codes.as_ptr().add(8 * stride), stride))
        };
        for column in 0..4 {
            // SAFETY: as in `lanes!`; each pair of arrays has room for sixty-four bytes.
            unsafe {
                let left = _mm512_shuffle_i32x4::<EVEN_QUARTERS>(upper[column], lower[column]);
                let right = _mm512_shuffle_i32x4::<ODD_QUARTERS>(upper[column], lower[column]);
                _mm512_storeu_si512(pairs[column].as_mut_ptr().cast(), left);
                _mm512_storeu_si512(pairs[4 + column].as_mut_ptr().cast(), right);
            }
        }
    }
    #[inline(always)]
    fn ints_zero() -> Self::Ints {
        // SAFETY: as in `lanes!`.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn ints_add_pairs(sums: Self::Ints, codes: &[i16; 2 * LANES], pair: &[i16; 2]) -> Self::Ints {
        // SAFETY: as in `lanes!`; four bytes and sixty-four bytes can be read.
        unsafe {
            let pair = _mm512_set1_epi32(pair.as_ptr().cast::<i32>().read_unaligned());
            multiply_add(sums, _mm512_loadu_si512(codes.as_ptr().cast()), pair)
        }
    }
    #[inline(always)]
    fn ints_to_f32(ints: Self::Ints) -> Self {
        // SAFETY: as in `lanes!`.
        unsafe { Avx512(_mm512_cvtepi32_ps(ints)) }
    }
    #[inline(always)]
    fn with_quads<K: QuadKernel>(kernel: K) -> Option<K::Output> {
        Some(kernel.run::<Self>())
    }
    #[inline(always)]
    fn with_columns<K: ColumnKernel>(kernel: K) -> Option<K::Output> {
        Some(kernel.run::<Self>())
    }
    #[inline(always)]
    fn with_digits<K: DigitKernel>(kernel: K) -> Option<K::Output> {
        Some(kernel.run::<Self>())
    }
}

impl QuadLanes for Avx512 {
    type Narrow = __m512i;
    const ANY_SUM: bool = true;

    #[inline(always)]
    fn narrow_zero() -> Self::Narrow {
        Self::ints_zero()
    }
    #[inline(always)]
    fn narrow_add_quads(sums: Self::Narrow, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Narrow {
        // SAFETY: as in `lanes!`; sixty-four bytes can be read.
        unsafe {
            let quad = _mm512_set1_epi32(i32::from_le_bytes(*quad));
            _mm512_dpbusd_epi32(sums, _mm512_loadu_si512(codes.as_ptr().cast()), quad)
        }
    }
    #[inline(always)]
    fn ints_add_narrow(ints: Self::Ints, sums: Self::Narrow) -> Self::Ints {
        // SAFETY: as in `lanes!`.
        unsafe { _mm512_add_epi32(ints, _mm512_slli_epi32::<8>(sums)) }
    }
}

/// Quarters 0 and 2 of one register, then those of another.
pub(super) const EVEN_QUARTERS: i32 = 0b10_00_10_00;
/// Quarters 1 and 3 of one register, then those of another.
pub(super) const ODD_QUARTERS: i32 = 0b11_01_11_01;

/// Sixteen signed bytes, widened.
///
/// # Safety
///
/// The processor must have AVX-512 F.
#[inline(always)]
unsafe fn sixteen_ints(from: &[u8; LANES]) -> __m512i {
    // SAFETY: by the caller's promise; sixteen bytes can be read.
    unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast())) }
}

/// The sums of the lower and of the upper halves of sixteen registers, one in each lane: each step sums two
/// registers into one, with two shuffles and an addition.
///
/// # Safety
///
/// The processor must have AVX-512 F.
#[inline(always)]
unsafe fn halves_of_sixteen(rows: &[__m512i; LANES]) -> [__m512i; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
    // SAFETY: by the caller's promise.
    unsafe {
        // Lower and upper halves of four rows each: of the first four, of the second, and so on.
        let low = sum_quarters(sum_four(a, b, c, d), sum_four(e, f, g, h));
        let high = sum_quarters(sum_four(i, j, k, l), sum_four(m, n, o, p));
        [_mm512_shuffle_i32x4::<EVEN_QUARTERS>(low, high), _mm512_shuffle_i32x4::<ODD_QUARTERS>(low, high)]
    }
}

/// Sums of four registers, within quarters: lane `i` of each quarter for register `i`.
///
/// # Safety
///
/// The processor must have AVX-512 F.
#[inline(always)]
pub(super) unsafe fn sum_four(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m512i {
    // SAFETY: by the caller's promise.
    unsafe {
        let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
    }
}

/// Sums of neighbouring quarters: two of the first register, then two of the second.
///
/// # Safety
///
/// The processor must have AVX-512 F.
#[inline(always)]
unsafe fn sum_quarters(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: by the caller's promise.
    unsafe {
        let even = _mm512_shuffle_i32x4::<EVEN_QUARTERS>(a, b);
        _mm512_add_epi32(even, _mm512_shuffle_i32x4::<ODD_QUARTERS>(a, b))
    }
}

/// Turns eight rows of eight pairs of codes into columns. Register `i` holds, in quarters, rows 0 to 3 of column `i`
/// and of column `4 + i`, then rows 4 to 7 of both.
///
/// # Safety
///
/// The processor must have AVX-512 F; sixteen codes must lie behind each of eight places `stride` apart.
#[inline(always)]
unsafe fn across_eight(codes: *const i16, stride: usize) -> [__m512i; 4] {
    // SAFETY: by the caller's promise.
    unsafe {
        let (a, b) = (rows_four_apart(codes, stride), rows_four_apart(codes.add(stride), stride));
        let c = rows_four_apart(codes.add(2 * stride), stride);
        let d = rows_four_apart(codes.add(3 * stride), stride);
        let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab_low, cd_low),
            _mm512_unpackhi_epi64(ab_low, cd_low),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    }
}

/// A row of sixteen codes and the fourth behind it.
///
/// # Safety
///
/// The processor must have AVX-512 F; sixteen codes must lie behind the place and behind that of four strides on.
#[inline(always)]
unsafe fn rows_four_apart(row: *const i16, stride: usize) -> __m512i {
    // SAFETY: by the caller's promise.
    unsafe {
        let first = _mm256_loadu_si256(row.cast());
        let second = _mm256_loadu_si256(row.add(4 * stride).cast());
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
    }
}
