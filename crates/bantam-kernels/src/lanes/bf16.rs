//! Products of pairs of BF16 with sums in f32.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::{LANES, Lanes, Pair, RUN};

/// The order of 32 inputs in the pairs that tiles multiply: pair `i` is those at `PLACES[i]` and 16 behind it. Of nibbles it is the order in
/// which one instruction takes both of a byte.
pub(crate) const PLACES: [usize; LANES] = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15];

/// Sixteen values, one of which each of 32 weights is.
#[derive(Clone, Copy)]
pub(crate) enum Nibbles<'a> {
    /// In the low halves of bytes, then in the high ones.
    Both(&'a [u8; 16]),
    /// In the low halves of bytes.
    Low(&'a [u8; RUN]),
    /// In the high halves of bytes.
    High(&'a [u8; RUN]),
}

/// Lanes with products of pairs of BF16.
pub(crate) trait Bf16Lanes: Lanes {
    /// Rounds to the nearest BF16, ties to even.
    fn pairs_of(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]);
    /// As [`Bf16Lanes::pairs_of`], of neighbours: those of the lower numbers, then those of the upper ones.
    fn pairs_along(lower: Self, upper: Self, pairs: &mut [Pair; LANES]);
    /// As [`Bf16Lanes::pairs_of`] in the order of [`PLACES`].
    fn pairs_placed(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]);
    /// Two rows of weights, pairs in the order of [`PLACES`]: what the values that nibbles stand for become by `value * scale + shift`.
    fn pairs_of_nibbles(
        values: &[f32; LANES],
        rows: [Nibbles<'_>; 2],
        scales: [f32; 2],
        shifts: Option<[f32; 2]>,
        to: &mut [[Pair; LANES]; 2],
    );
    /// Bytes as signed numbers, the first sixteen and the others.
    fn numbers_of(bytes: Self::Bytes) -> [Self; 2];
    /// Makes rows of columns.
    fn turn(square: &mut [[Pair; LANES]; LANES]);
    /// 2 to the power of each, to 3e-6 of it; below -126 zero.
    fn exp2(self) -> Self;
    /// Adds both products of each of sixteen pairs with one pair. Their roundings in between are the instruction's own.
    fn add_products(self, pairs: &[Pair; LANES], pair: Pair) -> Self;
}

/// A [`super::Kernel`] that needs products of pairs of BF16.
pub(crate) trait Bf16Kernel {
    type Output;
    fn run<L: Bf16Lanes>(self) -> Self::Output;
}

/// Runs a kernel over lanes of AVX-512 with pairs of BF16.
///
/// # Safety
///
/// The processor must have AVX512-BF16, AVX-512 F, BW, DQ, VL and VNNI, AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bf16,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn run<K: Bf16Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// As [`run`], with permutations of bytes beside.
///
/// # Safety
///
/// As there, and the processor must have AVX512-VBMI.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(
    enable = "avx512vbmi,avx512bf16,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
)]
pub(super) fn run_with_tiles<K: Bf16Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
impl Bf16Lanes for Avx512 {
    #[inline(always)]
    fn pairs_of(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]) {
        pair(firsts, seconds, &INTERLEAVED, pairs);
    }
    #[inline(always)]
    fn pairs_along(lower: Self, upper: Self, pairs: &mut [Pair; LANES]) {
        // SAFETY: only `run` leads here, whose caller has AVX512-BF16; sixty-four bytes can be written.
        unsafe {
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper.0, lower.0));
            _mm512_storeu_si512(pairs.as_mut_ptr().cast(), both);
        }
    }
    #[inline(always)]
    fn pairs_placed(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]) {
        pair(firsts, seconds, &PLACED, pairs);
    }
    #[inline(always)]
    fn pairs_of_nibbles(
        values: &[f32; LANES],
        rows: [Nibbles<'_>; 2],
        scales: [f32; 2],
        shifts: Option<[f32; 2]>,
        to: &mut [[Pair; LANES]; 2],
    ) {
        // SAFETY: only `run_with_tiles` leads here, whose caller has AVX512-BF16 and AVX512-VBMI; what is read and written is as
        // long as the registers.
        unsafe {
            let values = _mm512_loadu_ps(values.as_ptr());
            let mut tables = [values; 2];
            for i in 0..2 {
                let scale = _mm512_set1_ps(scales[i]);
                tables[i] = match shifts {
                    Some(shifts) => _mm512_fmadd_ps(values, scale, _mm512_set1_ps(shifts[i])),
                    None => _mm512_mul_ps(values, scale),
                };
            }
            let table = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(tables[1], tables[0]));
            for i in 0..2 {
                // The low five bits of each word are a place; the fifth one chooses the table.
                let words = words_of_nibbles(rows[i]);
                let (places, table_of) = (_mm512_set1_epi16(15), _mm512_set1_epi16(16 * i as i16));
                let places = _mm512_ternarylogic_epi64::<0b1110_1010>(words, places, table_of);
                _mm512_storeu_si512(to[i].as_mut_ptr().cast(), _mm512_permutexvar_epi16(places, table));
            }
        }
    }
    #[inline(always)]
    fn numbers_of(bytes: Self::Bytes) -> [Self; 2] {
        // SAFETY: as above.
        unsafe {
            let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            let [low, high] = [_mm512_cvtepi8_epi32(halves[0]), _mm512_cvtepi8_epi32(halves[1])];
            [Avx512(_mm512_cvtepi32_ps(low)), Avx512(_mm512_cvtepi32_ps(high))]
        }
    }
    #[inline(always)]
    fn turn(square: &mut [[Pair; LANES]; LANES]) {
        // SAFETY: as above; each row is sixty-four bytes.
        unsafe {
            let mut rows = [_mm512_setzero_si512(); LANES];
            for i in 0..LANES {
                rows[i] = _mm512_loadu_si512(square[i].as_ptr().cast());
            }
            // Within quarters of a register: rows 4 i to 4 i + 3 to their columns, each quarter its own four.
            let mut columns = rows;
            for i in 0..LANES / 4 {
                let four = [rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]];
                let [low, high] =
                    [_mm512_unpacklo_epi32(four[0], four[1]), _mm512_unpackhi_epi32(four[0], four[1])];
                let [low_next, high_next] =
                    [_mm512_unpacklo_epi32(four[2], four[3]), _mm512_unpackhi_epi32(four[2], four[3])];
                columns[4 * i] = _mm512_unpacklo_epi64(low, low_next);
                columns[4 * i + 1] = _mm512_unpackhi_epi64(low, low_next);
                columns[4 * i + 2] = _mm512_unpacklo_epi64(high, high_next);
                columns[4 * i + 3] = _mm512_unpackhi_epi64(high, high_next);
            }
            // Then quarters of four registers to those of four others.
            for j in 0..LANES / 4 {
                let four = [columns[j], columns[4 + j], columns[8 + j], columns[12 + j]];
                let [even, even_next] = [
                    _mm512_shuffle_i32x4::<0b10_00_10_00>(four[0], four[1]),
                    _mm512_shuffle_i32x4::<0b10_00_10_00>(four[2], four[3]),
                ];
                let [odd, odd_next] = [
                    _mm512_shuffle_i32x4::<0b11_01_11_01>(four[0], four[1]),
                    _mm512_shuffle_i32x4::<0b11_01_11_01>(four[2], four[3]),
                ];
                rows[j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even, even_next);
                rows[4 + j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd, odd_next);
                rows[8 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even, even_next);
                rows[12 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd, odd_next);
            }
            for i in 0..LANES {
                _mm512_storeu_si512(square[i].as_mut_ptr().cast(), rows[i]);
            }
        }
    }
    #[inline(always)]
    fn exp2(self) -> Self {
        // SAFETY: as above.
        unsafe {
            let rest = _mm512_reduce_ps::<8>(self.0);
            let whole = _mm512_sub_ps(self.0, rest);
            let mut p = _mm512_set1_ps(EXP2[0]);
            for c in &EXP2[1..] {
                p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(*c));
            }
            Avx512(_mm512_scalef_ps(p, whole))
        }
    }
    #[inline(always)]
    fn add_products(self, pairs: &[Pair; LANES], pair: Pair) -> Self {
        // SAFETY: as above; sixty-four bytes can be read.
        unsafe {
            let pairs = std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(pairs.as_ptr().cast()));
            let pair = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair as i32));
            Avx512(_mm512_dpbf16_ps(self.0, pairs, pair))
        }
    }
}

/// Nibbles in the low four bits of words, in the order of [`PLACES`]; above them stands anything.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn words_of_nibbles(nibbles: Nibbles<'_>) -> __m512i {
    // SAFETY: as in `pairs_of_nibbles`.
    unsafe {
        match nibbles {
            Nibbles::Both(bytes) => {
                // Quarters are alike: both halves of one feed the even and the odd eighths of the register.
                let bytes = _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast()));
                _mm512_multishift_epi64_epi8(_mm512_loadu_si512(SHIFTS.as_ptr().cast()), bytes)
            }
            Nibbles::Low(bytes) => spread(bytes),
            Nibbles::High(bytes) => _mm512_srli_epi16::<4>(spread(bytes)),
        }
    }
}

/// Each byte in both halves of a word, in the order of [`PLACES`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn spread(bytes: &[u8; RUN]) -> __m512i {
    // SAFETY: as in `pairs_of_nibbles`.
    unsafe {
        let bytes = _mm512_castsi256_si512(_mm256_loadu_si256(bytes.as_ptr().cast()));
        _mm512_permutexvar_epi8(_mm512_loadu_si512(SPREAD.as_ptr().cast()), bytes)
    }
}

/// Where each number of pairs comes from, among first and second ones, as they follow each other and in the order of [`PLACES`].
#[cfg(target_arch = "x86_64")]
const INTERLEAVED: [u16; 2 * LANES] = paired([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
#[cfg(target_arch = "x86_64")]
const PLACED: [u16; 2 * LANES] = paired(PLACES);

#[cfg(target_arch = "x86_64")]
const fn paired(order: [usize; LANES]) -> [u16; 2 * LANES] {
    let mut places = [0; 2 * LANES];
    let mut i = 0;
    while i < LANES {
        (places[2 * i], places[2 * i + 1]) = (order[i] as u16, (LANES + order[i]) as u16);
        i += 1;
    }
    places
}

/// Rounds two registers and brings each number of their pairs from its place.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pair(firsts: Avx512, seconds: Avx512, places: &[u16; 2 * LANES], pairs: &mut [Pair; LANES]) {
    // SAFETY: only kernels of `run` and `run_with_tiles` lead here, whose callers have AVX512-BF16; sixty-four bytes can be read
    // and written.
    unsafe {
        let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(seconds.0, firsts.0));
        let places = _mm512_loadu_si512(places.as_ptr().cast());
        _mm512_storeu_si512(pairs.as_mut_ptr().cast(), _mm512_permutexvar_epi16(places, both));
    }
}

/// The same of bytes, twice each.
#[cfg(target_arch = "x86_64")]
const SPREAD: [u8; 4 * LANES] = {
    let mut places = [0; 4 * LANES];
    let mut i = 0;
    while i < 4 * LANES {
        places[i] = PLACED[i / 2] as u8;
        i += 1;
    }
    places
};

/// From which of the eight bytes of a quarter's half each byte is taken, in bits: the low nibble's, and the high one's.
#[cfg(target_arch = "x86_64")]
const SHIFTS: [u8; 4 * LANES] = {
    let mut shifts = [0; 4 * LANES];
    let mut i = 0;
    while i < 4 * LANES {
        shifts[i] = (8 * (PLACES[i / 4] % 8) + 4 * (i / 2 % 2)) as u8;
        i += 1;
    }
    shifts
};

/// The polynomial of least relative error for 2^x between -1/2 and 1/2, the highest power first.
#[cfg(target_arch = "x86_64")]
const EXP2: [f32; 5] = [9.570_1e-3, 5.591_786_6e-2, 2.402_474_4e-1, 6.931_218e-1, 0.999_999_3];

/// The truth for tests.
#[cfg(test)]
impl Bf16Lanes for super::Scalar {
    fn pairs_of(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]) {
        let mut both = [[0.0; LANES]; 2];
        firsts.store(&mut both[0]);
        seconds.store(&mut both[1]);
        *pairs = std::array::from_fn(|i| rounded(both[0][i], both[1][i]));
    }
    fn pairs_along(lower: Self, upper: Self, pairs: &mut [Pair; LANES]) {
        let mut all = [[0.0; LANES]; 2];
        lower.store(&mut all[0]);
        upper.store(&mut all[1]);
        let all = all.as_flattened();
        *pairs = std::array::from_fn(|i| rounded(all[2 * i], all[2 * i + 1]));
    }
    fn pairs_placed(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]) {
        let mut along = [0; LANES];
        Self::pairs_of(firsts, seconds, &mut along);
        *pairs = PLACES.map(|place| along[place]);
    }
    fn pairs_of_nibbles(
        values: &[f32; LANES],
        rows: [Nibbles<'_>; 2],
        scales: [f32; 2],
        shifts: Option<[f32; 2]>,
        to: &mut [[Pair; LANES]; 2],
    ) {
        for (i, to) in to.iter_mut().enumerate() {
            let nibble = |place: usize| match rows[i] {
                Nibbles::Both(bytes) => bytes[place % LANES] >> (4 * (place / LANES)) & 15,
                Nibbles::Low(bytes) => bytes[place] & 15,
                Nibbles::High(bytes) => bytes[place] >> 4,
            };
            let weight = |place: usize| {
                let value = values[usize::from(nibble(place))];
                shifts.map_or(value * scales[i], |shifts| value.mul_add(scales[i], shifts[i]))
            };
            *to = PLACES.map(|place| rounded(weight(place), weight(LANES + place)));
        }
    }
    fn numbers_of(bytes: Self::Bytes) -> [Self; 2] {
        let mut all = [0; RUN];
        Self::bytes_store(bytes, &mut all);
        let numbers = |first: usize| Self::load(&std::array::from_fn(|i| f32::from(all[first + i] as i8)));
        [numbers(0), numbers(LANES)]
    }
    fn turn(square: &mut [[Pair; LANES]; LANES]) {
        let rows = *square;
        *square = std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]));
    }
    fn exp2(self) -> Self {
        let mut x = [0.0; LANES];
        self.store(&mut x);
        Self::load(&x.map(f32::exp2))
    }
    fn add_products(self, pairs: &[Pair; LANES], pair: Pair) -> Self {
        let half = |pair: Pair, shift: u32| f32::from_bits(pair << shift & 0xffff_0000);
        let product = |shift| Self::load(&pairs.map(|pairs| half(pairs, shift) * half(pair, shift)));
        self.add(product(0)).add(product(16))
    }
}

#[cfg(test)]
fn rounded(first: f32, second: f32) -> Pair {
    let [first, second] = [first, second].map(|x| Pair::from(half::bf16::from_f32(x).to_bits()));
    first | second << 16
}
