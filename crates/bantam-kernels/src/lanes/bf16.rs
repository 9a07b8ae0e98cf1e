//! Products of pairs of BF16 with sums in f32.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::{LANES, Lanes, Pair};

/// Lanes with products of pairs of BF16.
pub(crate) trait Bf16Lanes: Lanes {
    /// Rounds to the nearest BF16, ties to even.
    fn pairs_of(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]);
    /// As [`Bf16Lanes::pairs_of`], of neighbours: those of the lower numbers, then those of the upper ones.
    fn pairs_along(lower: Self, upper: Self, pairs: &mut [Pair; LANES]);
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

#[cfg(target_arch = "x86_64")]
impl Bf16Lanes for Avx512 {
    #[inline(always)]
    fn pairs_of(firsts: Self, seconds: Self, pairs: &mut [Pair; LANES]) {
        // SAFETY: only `run` leads here, whose caller has AVX512-BF16; sixty-four bytes can be written.
        unsafe {
            let firsts = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(firsts.0));
            let seconds = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(seconds.0));
            let seconds = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(seconds));
            let both = _mm512_or_si512(_mm512_cvtepu16_epi32(firsts), seconds);
            _mm512_storeu_si512(pairs.as_mut_ptr().cast(), both);
        }
    }
    #[inline(always)]
    fn pairs_along(lower: Self, upper: Self, pairs: &mut [Pair; LANES]) {
        // SAFETY: as above.
        unsafe {
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(upper.0, lower.0));
            _mm512_storeu_si512(pairs.as_mut_ptr().cast(), both);
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
