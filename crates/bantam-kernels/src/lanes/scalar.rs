//! [`Lanes`] in plain Rust: the truth for the others.
//!
//! Operations are functions that are called: spelt out lane by lane in every kernel they took more building than all
//! other levels together.

use super::{LANES, Lanes, RUN};
use half::f16;

#[derive(Clone, Copy)]
pub(crate) struct Scalar([f32; LANES]);

impl Scalar {
    #[inline(always)]
    fn each(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Scalar(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Scalar {
    const ROWS_OF_BLOCKS: usize = 0;

    type Ints = [i32; LANES];
    type Bytes = [u8; RUN];
    type Codes = [i16; RUN];
    type Products = [i32; 2];

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Scalar([x; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Scalar(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(never)]
    fn load_f16(from: &[u16; LANES]) -> Self {
        Scalar(from.map(|bits| f16::from_bits(bits).to_f32()))
    }
    #[inline(never)]
    fn load_f16_pairs(from: &[u32; LANES]) -> (Self, Self) {
        (Self::load_f16(&from.map(|word| word as u16)), Self::load_f16(&from.map(|word| (word >> 16) as u16)))
    }
    #[inline(never)]
    fn load_bf16(from: &[u16; LANES]) -> Self {
        Scalar(from.map(|bits| f32::from_bits(u32::from(bits) << 16)))
    }
    #[inline(never)]
    fn load_i8(from: &[u8; LANES]) -> Self {
        Scalar(from.map(|byte| f32::from(byte as i8)))
    }
    #[inline(never)]
    fn load_i4_low(from: &[u8; LANES]) -> Self {
        Scalar(from.map(|byte| f32::from((byte << 4) as i8 >> 4)))
    }
    #[inline(never)]
    fn load_i4_high(from: &[u8; LANES]) -> Self {
        Scalar(from.map(|byte| f32::from(byte as i8 >> 4)))
    }
    #[inline(never)]
    fn add(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }
    #[inline(never)]
    fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }
    #[inline(never)]
    fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }
    #[inline(never)]
    fn div(self, other: Self) -> Self {
        self.each(other, |a, b| a / b)
    }
    #[inline(never)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Scalar(std::array::from_fn(|i| self.0[i].mul_add(a.0[i], b.0[i])))
    }
    #[inline(never)]
    fn minimum(self, other: Self) -> Self {
        self.each(other, |a, b| if a < b { a } else { b })
    }
    #[inline(never)]
    fn maximum(self, other: Self) -> Self {
        self.each(other, |a, b| if a > b { a } else { b })
    }
    #[inline(never)]
    fn round(self) -> Self {
        Scalar(self.0.map(f32::round_ties_even))
    }
    #[inline(never)]
    fn exp2_of_integer(self) -> Self {
        Scalar(self.0.map(|x| f32::from_bits(((x as i32).wrapping_add(127) as u32) << 23)))
    }
    #[inline(never)]
    fn select_less(self, other: Self, yes: Self, no: Self) -> Self {
        Scalar(std::array::from_fn(|i| if self.0[i] < other.0[i] { yes.0[i] } else { no.0[i] }))
    }
    #[inline(always)]
    fn prefetch(_: &u8) {}
    #[inline(never)]
    fn to_codes(self, codes: &mut [i16; LANES]) {
        *codes = self.0.map(|x| x.round_ties_even() as i16);
    }
    #[inline(always)]
    fn bytes_load(from: &[u8; RUN]) -> Self::Bytes {
        *from
    }
    #[inline(never)]
    fn bytes_of_nibbles(bytes: &[u8; RUN / 2]) -> Self::Bytes {
        std::array::from_fn(|i| bytes[i % LANES] >> (4 * (i / LANES)) & 15)
    }
    #[inline(never)]
    fn bytes_of_flags(flags: &[u8; RUN / 8], set: u8, clear: u8) -> Self::Bytes {
        std::array::from_fn(|i| if flags[i / 8] >> (i % 8) & 1 == 1 { set } else { clear })
    }
    #[inline(never)]
    fn bytes_bits(bytes: Self::Bytes, shift: usize, mask: u8) -> Self::Bytes {
        bytes.map(|byte| byte >> shift & mask)
    }
    #[inline(never)]
    fn bytes_join(low: Self::Bytes, high: Self::Bytes, shift: usize) -> Self::Bytes {
        std::array::from_fn(|i| low[i] | high[i] << shift)
    }
    #[inline(never)]
    fn bytes_look_up(places: Self::Bytes, table: &[i8; 16]) -> Self::Bytes {
        places.map(|place| table[usize::from(place)] as u8)
    }
    #[inline(never)]
    fn bytes_add(bytes: Self::Bytes, value: i8) -> Self::Bytes {
        bytes.map(|byte| byte.wrapping_add_signed(value))
    }
    #[inline(always)]
    fn bytes_store(bytes: Self::Bytes, to: &mut [u8; RUN]) {
        *to = bytes;
    }
    #[inline(never)]
    fn bytes_to_codes(bytes: Self::Bytes, codes: &mut [i16; RUN]) {
        *codes = Self::codes_of(bytes);
    }
    #[inline(never)]
    fn codes_of(bytes: Self::Bytes) -> Self::Codes {
        bytes.map(|byte| i16::from(byte as i8))
    }
    #[inline(always)]
    fn codes_load(from: &[i16; RUN]) -> Self::Codes {
        *from
    }
    #[inline(never)]
    fn products(codes: Self::Codes, x: Self::Codes) -> Self::Products {
        let half = |k: usize| (k..k + RUN / 2).map(|i| i32::from(codes[i]) * i32::from(x[i])).sum();
        [half(0), half(RUN / 2)]
    }
    #[inline(never)]
    fn products_sum(rows: &[Self::Products; LANES]) -> Self::Ints {
        rows.map(|[first, second]| first + second)
    }
    #[inline(never)]
    fn products_sum_halves(rows: &[Self::Products; LANES]) -> [Self::Ints; 2] {
        [rows.map(|halves| halves[0]), rows.map(|halves| halves[1])]
    }
    #[inline(never)]
    fn pairs_across(codes: &[i16], stride: usize, pairs: &mut [[i16; 2 * LANES]; LANES / 2]) {
        for row in 0..LANES {
            let codes = codes[row * stride..][..LANES].as_chunks::<2>().0;
            for (pair, codes) in pairs.iter_mut().zip(codes) {
                pair[2 * row..2 * row + 2].copy_from_slice(codes);
            }
        }
    }
    #[inline(always)]
    fn ints_zero() -> Self::Ints {
        [0; LANES]
    }
    #[inline(never)]
    fn ints_add_pairs(sums: Self::Ints, codes: &[i16; 2 * LANES], pair: &[i16; 2]) -> Self::Ints {
        let (even, odd) = (i32::from(pair[0]), i32::from(pair[1]));
        std::array::from_fn(|i| sums[i] + i32::from(codes[2 * i]) * even + i32::from(codes[2 * i + 1]) * odd)
    }
    #[inline(never)]
    fn ints_to_f32(ints: Self::Ints) -> Self {
        Scalar(ints.map(|i| i as f32))
    }
}
