//! [`Lanes`] in fours of NEON registers, with and without dot products of bytes.
//!
//! NEON is part of the base that every aarch64 target with a standard library is compiled for; the assertion below
//! makes that a fact of this file, and with it each use of an intrinsic right. Dot products are an extension (in the Cortex-A75
//! and -A76, Apple's M1 and all behind them): they are in [`Neon<true>`], which is reached through [`run_with_dots`] alone.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Digit, DigitKernel, DigitLanes, Kernel, LANES, Lanes, QuadKernel, QuadLanes, RUN};

const _: () = assert!(cfg!(target_feature = "neon"), "these lanes need NEON in the base of the target");

/// `DOTS` says whether there are dot products of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Neon<const DOTS: bool>(float32x4_t, float32x4_t, float32x4_t, float32x4_t);

/// Runs a kernel with dot products of bytes.
///
/// # Safety
///
/// The processor must have them (FEAT_DotProd).
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn run_with_dots<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Neon<true>>()
}

/// One expression of intrinsics for all quarters.
macro_rules! each {
    ($f:ident($($x:expr),*)) => {
        // SAFETY: NEON is in the base, as asserted above; no memory is touched.
        unsafe { Neon($f($($x.0),*), $f($($x.1),*), $f($($x.2),*), $f($($x.3),*)) }
    };
}

impl<const DOTS: bool> Lanes for Neon<DOTS> {
    /// Codes below 128 are the same number signed and not.
    const BYTE_BITS: usize = if DOTS { 7 } else { 0 };
    const DIGIT_ROWS: usize = if DOTS { 4 } else { 0 };
    const MANY_BY_DIGITS: bool = DOTS;
    /// Processors with them have dot products, too.
    const MATRICES: bool = DOTS;

    type Ints = (int32x4_t, int32x4_t, int32x4_t, int32x4_t);
    type Bytes = (uint8x16_t, uint8x16_t);
    type Codes = (int16x8_t, int16x8_t, int16x8_t, int16x8_t);
    /// The sums of the first and of the second half, in four lanes each.
    type Products = (int32x4_t, int32x4_t);

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: as in `each!`.
        let x = unsafe { vdupq_n_f32(x) };
        Neon(x, x, x, x)
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        let from = from.as_ptr();
        // SAFETY: as in `each!`; sixteen numbers can be read, and these loads need the alignment of one.
        unsafe {
            Neon(vld1q_f32(from), vld1q_f32(from.add(4)), vld1q_f32(from.add(8)), vld1q_f32(from.add(12)))
        }
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        // SAFETY: as in `each!`; sixteen numbers can be written, and these stores need the alignment of one.
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.add(4), self.1);
            vst1q_f32(to.add(8), self.2);
            vst1q_f32(to.add(12), self.3);
        }
    }
    #[inline(always)]
    fn load_f16(from: &[u16; LANES]) -> Self {
        // SAFETY: as in `each!`; two times eight numbers can be read.
        unsafe { widen_halves(vld1q_u16(from.as_ptr()), vld1q_u16(from.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn load_f16_pairs(from: &[u32; LANES]) -> (Self, Self) {
        // SAFETY: as in `each!`; four times four words can be read.
        unsafe {
            let (a, b) = (vld1q_u32(from.as_ptr()), vld1q_u32(from.as_ptr().add(4)));
            let (c, d) = (vld1q_u32(from.as_ptr().add(8)), vld1q_u32(from.as_ptr().add(12)));
            let low = widen_halves(low_halves(a, b), low_halves(c, d));
            (low, widen_halves(high_halves(a, b), high_halves(c, d)))
        }
    }
    #[inline(always)]
    fn load_bf16(from: &[u16; LANES]) -> Self {
        // SAFETY: as in `each!`; two times eight words can be read.
        unsafe {
            let (a, b) = (vld1q_u16(from.as_ptr()), vld1q_u16(from.as_ptr().add(8)));
            Neon(
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(a))),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_high_u16(a))),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(b))),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_high_u16(b))),
            )
        }
    }
    #[inline(always)]
    fn load_i8(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `each!`; sixteen bytes can be read.
        unsafe { numbers_of_bytes(vld1q_s8(from.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_i4_low(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `each!`; sixteen bytes can be read.
        unsafe { numbers_of_bytes(vshrq_n_s8::<4>(vshlq_n_s8::<4>(vld1q_s8(from.as_ptr().cast())))) }
    }
    #[inline(always)]
    fn load_i4_high(from: &[u8; LANES]) -> Self {
        // SAFETY: as in `each!`; sixteen bytes can be read.
        unsafe { numbers_of_bytes(vshrq_n_s8::<4>(vld1q_s8(from.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        each!(vaddq_f32(self, other))
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        each!(vsubq_f32(self, other))
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        each!(vmulq_f32(self, other))
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        each!(vdivq_f32(self, other))
    }
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        each!(vfmaq_f32(b, self, a))
    }
    /// A comparison and a choice, since the instructions for it give a NaN wherever one is.
    #[inline(always)]
    fn minimum(self, other: Self) -> Self {
        self.select_less(other, self, other)
    }
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        other.select_less(self, self, other)
    }
    #[inline(always)]
    fn round(self) -> Self {
        each!(vrndnq_f32(self))
    }
    #[inline(always)]
    fn exp2_of_integer(self) -> Self {
        each!(exp2_of_integer(self))
    }
    #[inline(always)]
    fn select_less(self, other: Self, yes: Self, no: Self) -> Self {
        each!(select_less(self, other, yes, no))
    }
    #[inline(always)]
    fn prefetch(byte: &u8) {
        // SAFETY: a prefetch changes nothing but the cache, and the byte is there.
        unsafe {
            asm!("prfm pldl1keep, [{}]", in(reg) std::ptr::from_ref(byte), options(readonly, nostack, preserves_flags));
        }
    }
    #[inline(always)]
    fn to_codes(self, codes: &mut [i16; LANES]) {
        // SAFETY: as in `each!`; two times eight codes can be written.
        unsafe {
            vst1q_s16(codes.as_mut_ptr(), codes_of_numbers(self.0, self.1));
            vst1q_s16(codes.as_mut_ptr().add(8), codes_of_numbers(self.2, self.3));
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: as in `each!`. The order is the one of the default body.
        unsafe {
            let four = vaddq_f32(vaddq_f32(self.0, self.2), vaddq_f32(self.1, self.3));
            vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
        }
    }
    #[inline(always)]
    fn bytes_load(from: &[u8; RUN]) -> Self::Bytes {
        // SAFETY: as in `each!`; two times sixteen bytes can be read.
        unsafe { (vld1q_u8(from.as_ptr()), vld1q_u8(from.as_ptr().add(RUN / 2))) }
    }
    #[inline(always)]
    fn bytes_of_nibbles(bytes: &[u8; RUN / 2]) -> Self::Bytes {
        // SAFETY: as in `each!`; sixteen bytes can be read.
        unsafe {
            let bytes = vld1q_u8(bytes.as_ptr());
            (vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes))
        }
    }
    #[inline(always)]
    fn bytes_of_flags(flags: &[u8; RUN / 8], set: u8, clear: u8) -> Self::Bytes {
        // SAFETY: as in `each!`; the pointers are to arrays of sixteen bytes.
        unsafe {
            // Each byte of flags eight times, each time for another one of its bits.
            let flags = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(*flags)));
            let places = vld1q_u8(PLACES.as_ptr());
            let (set, clear) = (vdupq_n_u8(set), vdupq_n_u8(clear));
            let first = vtstq_u8(vqtbl1q_u8(flags, vld1q_u8(BYTES_OF_FLAGS[0].as_ptr())), places);
            let second = vtstq_u8(vqtbl1q_u8(flags, vld1q_u8(BYTES_OF_FLAGS[1].as_ptr())), places);
            (vbslq_u8(first, set, clear), vbslq_u8(second, set, clear))
        }
    }
    #[inline(always)]
    fn bytes_bits(bytes: Self::Bytes, shift: usize, mask: u8) -> Self::Bytes {
        // SAFETY: as in `each!`.
        unsafe {
            // A shift by less than nothing is one to the right.
            let (shift, mask) = (vdupq_n_s8(-(shift as i8)), vdupq_n_u8(mask));
            (vandq_u8(vshlq_u8(bytes.0, shift), mask), vandq_u8(vshlq_u8(bytes.1, shift), mask))
        }
    }
    #[inline(always)]
    fn bytes_join(low: Self::Bytes, high: Self::Bytes, shift: usize) -> Self::Bytes {
        // SAFETY: as in `each!`.
        unsafe {
            let shift = vdupq_n_s8(shift as i8);
            (vorrq_u8(low.0, vshlq_u8(high.0, shift)), vorrq_u8(low.1, vshlq_u8(high.1, shift)))
        }
    }
    #[inline(always)]
    fn bytes_look_up(places: Self::Bytes, table: &[i8; 16]) -> Self::Bytes {
        // SAFETY: as in `each!`; sixteen bytes can be read.
        unsafe {
            let table = vreinterpretq_u8_s8(vld1q_s8(table.as_ptr()));
            (vqtbl1q_u8(table, places.0), vqtbl1q_u8(table, places.1))
        }
    }
    #[inline(always)]
    fn bytes_add(bytes: Self::Bytes, value: i8) -> Self::Bytes {
        // SAFETY: as in `each!`.
        unsafe {
            let value = vdupq_n_u8(value as u8);
            (vaddq_u8(bytes.0, value), vaddq_u8(bytes.1, value))
        }
    }
    #[inline(always)]
    fn bytes_store(bytes: Self::Bytes, to: &mut [u8; RUN]) {
        // SAFETY: as in `each!`; two times sixteen bytes can be written.
        unsafe {
            vst1q_u8(to.as_mut_ptr(), bytes.0);
            vst1q_u8(to.as_mut_ptr().add(RUN / 2), bytes.1);
        }
    }
    #[inline(always)]
    fn bytes_to_codes(bytes: Self::Bytes, codes: &mut [i16; RUN]) {
        let (a, b, c, d) = Self::codes_of(bytes);
        let to = codes.as_mut_ptr();
        // SAFETY: as in `each!`; four times eight codes can be written.
        unsafe {
            vst1q_s16(to, a);
            vst1q_s16(to.add(8), b);
            vst1q_s16(to.add(16), c);
            vst1q_s16(to.add(24), d);
        }
    }
    /// In their own order: widening either half of a register is one instruction.
    #[inline(always)]
    fn codes_of(bytes: Self::Bytes) -> Self::Codes {
        // SAFETY: as in `each!`.
        unsafe {
            let (first, second) = (vreinterpretq_s8_u8(bytes.0), vreinterpretq_s8_u8(bytes.1));
            (
                vmovl_s8(vget_low_s8(first)),
                vmovl_high_s8(first),
                vmovl_s8(vget_low_s8(second)),
                vmovl_high_s8(second),
            )
        }
    }
    #[inline(always)]
    fn codes_load(from: &[i16; RUN]) -> Self::Codes {
        let from = from.as_ptr();
        // SAFETY: as in `each!`; four times eight codes can be read.
        unsafe { (vld1q_s16(from), vld1q_s16(from.add(8)), vld1q_s16(from.add(16)), vld1q_s16(from.add(24))) }
    }
    #[inline(always)]
    fn products(codes: Self::Codes, x: Self::Codes) -> Self::Products {
        // SAFETY: as in `each!`.
        unsafe {
            (products_of_sixteen(codes.0, codes.1, x.0, x.1), products_of_sixteen(codes.2, codes.3, x.2, x.3))
        }
    }
    #[inline(always)]
    fn products_sum(rows: &[Self::Products; LANES]) -> Self::Ints {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
        // SAFETY: as in `each!`.
        unsafe {
            (
                sum_four(whole(a), whole(b), whole(c), whole(d)),
                sum_four(whole(e), whole(f), whole(g), whole(h)),
                sum_four(whole(i), whole(j), whole(k), whole(l)),
                sum_four(whole(m), whole(n), whole(o), whole(p)),
            )
        }
    }
    #[inline(always)]
    fn products_sum_halves(rows: &[Self::Products; LANES]) -> [Self::Ints; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *rows;
        // SAFETY: as in `each!`.
        unsafe {
            let first = (
                sum_four(a.0, b.0, c.0, d.0),
                sum_four(e.0, f.0, g.0, h.0),
                sum_four(i.0, j.0, k.0, l.0),
                sum_four(m.0, n.0, o.0, p.0),
            );
            let second = (
                sum_four(a.1, b.1, c.1, d.1),
                sum_four(e.1, f.1, g.1, h.1),
                sum_four(i.1, j.1, k.1, l.1),
                sum_four(m.1, n.1, o.1, p.1),
            );
            [first, second]
        }
    }
    #[inline(always)]
    fn pairs_across(codes: &[i16], stride: usize, pairs: &mut [[i16; 2 * LANES]; LANES / 2]) {
        assert!(codes.len() >= (LANES - 1) * stride + LANES);
        let (from, to) = (codes.as_ptr(), pairs.as_flattened_mut().as_mut_ptr());
        for row in (0..LANES).step_by(4) {
            for column in [0, 4] {
                // SAFETY: as in `each!`; the assertion holds for the last row, so eight codes from the first or the
                // ninth place of each row can be read. Four stores of eight codes, 32 apart, from place `2 * row` of
                // the first or the fifth column on stay within eight columns of 32.
                unsafe {
                    let from = from.add(row * stride + 2 * column);
                    across_four(from, stride, to.add(column * 2 * LANES + 2 * row));
                }
            }
        }
    }
    #[inline(always)]
    fn ints_zero() -> Self::Ints {
        // SAFETY: as in `each!`.
        let zero = unsafe { vdupq_n_s32(0) };
        (zero, zero, zero, zero)
    }
    #[inline(always)]
    fn ints_add_pairs(sums: Self::Ints, codes: &[i16; 2 * LANES], pair: &[i16; 2]) -> Self::Ints {
        let from = codes.as_ptr();
        // SAFETY: as in `each!`; four times eight codes can be read.
        unsafe {
            let (low, high) = (
                add_pairs((sums.0, sums.1), vld1q_s16(from), vld1q_s16(from.add(8)), pair),
                add_pairs((sums.2, sums.3), vld1q_s16(from.add(16)), vld1q_s16(from.add(24)), pair),
            );
            (low.0, low.1, high.0, high.1)
        }
    }
    #[inline(always)]
    fn ints_to_f32(ints: Self::Ints) -> Self {
        each!(vcvtq_f32_s32(ints))
    }
    #[inline(always)]
    fn with_quads<K: QuadKernel>(kernel: K) -> Option<K::Output> {
        if DOTS { Some(kernel.run::<Neon<true>>()) } else { None }
    }
    #[inline(always)]
    fn with_digits<K: DigitKernel>(kernel: K) -> Option<K::Output> {
        if DOTS { Some(kernel.run::<Neon<true>>()) } else { None }
    }
}

/// Four registers of bytes.
type Fours = (uint8x16_t, uint8x16_t, uint8x16_t, uint8x16_t);

/// The same expression for all quarters.
macro_rules! quarters {
    ($f:ident($x:expr $(, $y:expr)*)) => {
        // SAFETY: NEON is in the base, and dot products are where `Neon<true>` is; no memory is touched.
        unsafe { ($f($x.0 $(, $y.0)*), $f($x.1 $(, $y.1)*), $f($x.2 $(, $y.2)*), $f($x.3 $(, $y.3)*)) }
    };
}

impl QuadLanes for Neon<true> {
    type Narrow = Self::Ints;
    const ANY_SUM: bool = true;

    #[inline(always)]
    fn narrow_zero() -> Self::Narrow {
        Self::ints_zero()
    }
    #[inline(always)]
    fn narrow_add_quads(sums: Self::Narrow, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Narrow {
        let (codes, quad) = (load_fours(codes), splat_quad(quad));
        quarters!(signed_dots(sums, codes, quad))
    }
    #[inline(always)]
    fn ints_add_narrow(ints: Self::Ints, sums: Self::Narrow) -> Self::Ints {
        let sums = Self::ints_shift(sums);
        quarters!(vaddq_s32(ints, sums))
    }
}

impl DigitLanes for Neon<true> {
    /// One row in each.
    type Fours = Fours;
    const UNSIGNED_MEET: Digit = Digit::Low;

    #[inline(always)]
    fn fours_of([a, b, c, d]: [Self::Bytes; 4]) -> [Fours; 2] {
        [(a.0, b.0, c.0, d.0), (a.1, b.1, c.1, d.1)]
    }
    #[inline(always)]
    fn fours_of_nibbles([a, b, c, d]: [&[u8; 16]; 4]) -> [Fours; 2] {
        // SAFETY: NEON is in the base; sixteen bytes can be read from each row.
        let (mask, rows) = unsafe {
            let rows =
                (vld1q_u8(a.as_ptr()), vld1q_u8(b.as_ptr()), vld1q_u8(c.as_ptr()), vld1q_u8(d.as_ptr()));
            (vdupq_n_u8(15), rows)
        };
        let masks = (mask, mask, mask, mask);
        [quarters!(vandq_u8(rows, masks)), quarters!(upper_nibbles(rows))]
    }
    #[inline(always)]
    fn fours_look_up(places: Fours, table: &[i8; 16]) -> Fours {
        let table = Self::fours_splat(bytemuck::cast_ref(table));
        quarters!(vqtbl1q_u8(table, places))
    }
    #[inline(always)]
    fn fours_flip(fours: Fours) -> Fours {
        let flips = Self::fours_splat(&[128; 16]);
        quarters!(veorq_u8(fours, flips))
    }
    #[inline(always)]
    fn fours_add_where(fours: Fours, bits: u64, value: u8) -> Fours {
        let rows = (bits as u16, (bits >> 16) as u16, (bits >> 32) as u16, (bits >> 48) as u16);
        let values = (value, value, value, value);
        quarters!(add_where(fours, rows, values))
    }
    #[inline(always)]
    fn fours_splat(from: &[u8; 16]) -> Fours {
        // SAFETY: NEON is in the base; sixteen bytes can be read.
        let row = unsafe { vld1q_u8(from.as_ptr()) };
        (row, row, row, row)
    }
    #[inline(always)]
    fn fours_add_high(sums: Self::Ints, codes: Fours, digits: Fours) -> Self::Ints {
        quarters!(signed_dots(sums, codes, digits))
    }
    #[inline(always)]
    fn fours_add_low(sums: Self::Ints, codes: Fours, digits: Fours) -> Self::Ints {
        quarters!(unsigned_dots(sums, codes, digits))
    }
    #[inline(always)]
    fn fours_less_flip(sums: Self::Ints, digits: Fours) -> Self::Ints {
        let more = Self::fours_add_low(Self::ints_zero(), Self::fours_splat(&[128; 16]), digits);
        quarters!(vsubq_s32(sums, more))
    }
    #[inline(always)]
    fn narrow_add_low_quads(sums: Self::Ints, codes: &[u8; 4 * LANES], quad: &[u8; 4]) -> Self::Ints {
        let (codes, quad) = (load_fours(codes), splat_quad(quad));
        quarters!(unsigned_dots(sums, codes, quad))
    }
    #[inline(always)]
    fn ints_shift(ints: Self::Ints) -> Self::Ints {
        quarters!(shift(ints))
    }
    #[inline(always)]
    fn ints_less(ints: Self::Ints, value: f32) -> Self::Ints {
        // SAFETY: NEON is in the base.
        let value = unsafe { vdupq_n_s32(value as i32) };
        let values = (value, value, value, value);
        quarters!(vsubq_s32(ints, values))
    }
    #[inline(always)]
    fn fours_sum([a, b, c, d]: [Self::Ints; 4]) -> Self::Ints {
        quarters!(sum_four(a, b, c, d))
    }
}

/// Adds the sums of four products of signed bytes to each lane.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn signed_dots(mut sums: int32x4_t, codes: uint8x16_t, x: uint8x16_t) -> int32x4_t {
    // SAFETY: the instruction is part of the set that this function enables; it touches registers only. (Its intrinsic is
    // younger than the oldest compiler that this workspace promises to build with.)
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {codes:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            codes = in(vreg) codes,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The same of unsigned bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn unsigned_dots(mut sums: int32x4_t, codes: uint8x16_t, x: uint8x16_t) -> int32x4_t {
    // SAFETY: as in `signed_dots`.
    unsafe {
        asm!(
            "udot {sums:v}.4s, {codes:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            codes = in(vreg) codes,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

#[inline(always)]
fn load_fours(from: &[u8; 4 * LANES]) -> Fours {
    let from = from.as_ptr();
    // SAFETY: NEON is in the base; four times sixteen bytes can be read.
    unsafe { (vld1q_u8(from), vld1q_u8(from.add(16)), vld1q_u8(from.add(32)), vld1q_u8(from.add(48))) }
}

#[inline(always)]
fn splat_quad(quad: &[u8; 4]) -> Fours {
    // SAFETY: NEON is in the base.
    let quad = unsafe { vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(*quad))) };
    (quad, quad, quad, quad)
}

/// The high halves of bytes.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn upper_nibbles(bytes: uint8x16_t) -> uint8x16_t {
    // SAFETY: by the caller's promise.
    unsafe { vshrq_n_u8::<4>(bytes) }
}

/// 256 times each.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn shift(ints: int32x4_t) -> int32x4_t {
    // SAFETY: by the caller's promise.
    unsafe { vshlq_n_s32::<8>(ints) }
}

/// Adds `value` to the bytes whose bit is set.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn add_where(bytes: uint8x16_t, bits: u16, value: u8) -> uint8x16_t {
    // SAFETY: by the caller's promise; sixteen places can be read.
    unsafe {
        let flags = vreinterpretq_u8_u16(vdupq_n_u16(bits));
        let flags = vqtbl1q_u8(flags, vld1q_u8(BYTES_OF_FLAGS[0].as_ptr()));
        let set = vtstq_u8(flags, vld1q_u8(PLACES.as_ptr()));
        vaddq_u8(bytes, vandq_u8(set, vdupq_n_u8(value)))
    }
}

/// The low halves of eight words.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn low_halves(first: uint32x4_t, second: uint32x4_t) -> uint16x8_t {
    // SAFETY: by the caller's promise.
    unsafe { vmovn_high_u32(vmovn_u32(first), second) }
}

/// The high halves of eight words.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn high_halves(first: uint32x4_t, second: uint32x4_t) -> uint16x8_t {
    // SAFETY: by the caller's promise.
    unsafe { vshrn_high_n_u32::<16>(vshrn_n_u32::<16>(first), second) }
}

/// Widens sixteen half-precision numbers.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn widen_halves<const DOTS: bool>(first: uint16x8_t, second: uint16x8_t) -> Neon<DOTS> {
    // SAFETY: by the caller's promise.
    unsafe { Neon(widen_low(first), widen_high(first), widen_low(second), widen_high(second)) }
}

/// Widens the lower four of eight half-precision numbers. The intrinsic for it is younger than the oldest compiler
/// that this workspace promises to build with.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn widen_low(halves: uint16x8_t) -> float32x4_t {
    let wide;
    // SAFETY: by the caller's promise; from one register to another, and the marks it may leave in the status of
    // floating point are not promised to stay as they were.
    unsafe {
        asm!("fcvtl {:v}.4s, {:v}.4h", lateout(vreg) wide, in(vreg) halves, options(pure, nomem, nostack));
    }
    wide
}

/// As [`widen_low`], for the upper four.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn widen_high(halves: uint16x8_t) -> float32x4_t {
    let wide;
    // SAFETY: as in `widen_low`.
    unsafe {
        asm!("fcvtl2 {:v}.4s, {:v}.8h", lateout(vreg) wide, in(vreg) halves, options(pure, nomem, nostack));
    }
    wide
}

/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn exp2_of_integer(x: float32x4_t) -> float32x4_t {
    // SAFETY: by the caller's promise.
    unsafe {
        let exponent = vaddq_s32(vcvtq_s32_f32(x), vdupq_n_s32(127));
        vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
    }
}

/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn select_less(a: float32x4_t, b: float32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
    // SAFETY: by the caller's promise.
    unsafe { vbslq_f32(vcltq_f32(a, b), yes, no) }
}

/// Eight numbers to the nearest 16-bit integers, ties to even.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn codes_of_numbers(first: float32x4_t, second: float32x4_t) -> int16x8_t {
    // SAFETY: by the caller's promise.
    unsafe { vqmovn_high_s32(vqmovn_s32(vcvtnq_s32_f32(first)), vcvtnq_s32_f32(second)) }
}

/// Sums of four products of codes in each lane.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn products_of_sixteen(a: int16x8_t, b: int16x8_t, x: int16x8_t, y: int16x8_t) -> int32x4_t {
    // SAFETY: by the caller's promise.
    unsafe {
        let sums = vmull_s16(vget_low_s16(a), vget_low_s16(x));
        let sums = vmlal_high_s16(sums, a, x);
        let sums = vmlal_s16(sums, vget_low_s16(b), vget_low_s16(y));
        vmlal_high_s16(sums, b, y)
    }
}

/// Both halves of a row's products in one register.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn whole(products: (int32x4_t, int32x4_t)) -> int32x4_t {
    // SAFETY: by the caller's promise.
    unsafe { vaddq_s32(products.0, products.1) }
}

/// The sums of four registers, one in each lane.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn sum_four(a: int32x4_t, b: int32x4_t, c: int32x4_t, d: int32x4_t) -> int32x4_t {
    // SAFETY: by the caller's promise.
    unsafe { vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)) }
}

/// Turns four rows of four pairs of codes into four columns, stored 32 codes apart.
///
/// # Safety
///
/// The processor must have NEON; eight codes must lie behind each of four places `stride` apart, and room for eight
/// behind each of four places 32 apart.
#[inline(always)]
unsafe fn across_four(codes: *const i16, stride: usize, to: *mut i16) {
    // SAFETY: by the caller's promise.
    unsafe {
        let a = vreinterpretq_s32_s16(vld1q_s16(codes));
        let b = vreinterpretq_s32_s16(vld1q_s16(codes.add(stride)));
        let c = vreinterpretq_s32_s16(vld1q_s16(codes.add(2 * stride)));
        let d = vreinterpretq_s32_s16(vld1q_s16(codes.add(3 * stride)));
        // Pairs of rows change their odd columns for even ones, then pairs of pairs their last two for the first.
        let ab_even = vreinterpretq_s64_s32(vtrn1q_s32(a, b));
        let ab_odd = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
        let cd_even = vreinterpretq_s64_s32(vtrn1q_s32(c, d));
        let cd_odd = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
        vst1q_s16(to, vreinterpretq_s16_s64(vtrn1q_s64(ab_even, cd_even)));
        vst1q_s16(to.add(2 * LANES), vreinterpretq_s16_s64(vtrn1q_s64(ab_odd, cd_odd)));
        vst1q_s16(to.add(4 * LANES), vreinterpretq_s16_s64(vtrn2q_s64(ab_even, cd_even)));
        vst1q_s16(to.add(6 * LANES), vreinterpretq_s16_s64(vtrn2q_s64(ab_odd, cd_odd)));
    }
}

/// Adds `codes[2 i] * pair[0] + codes[2 i + 1] * pair[1]` to each of eight lanes.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn add_pairs(
    sums: (int32x4_t, int32x4_t),
    first: int16x8_t,
    second: int16x8_t,
    pair: &[i16; 2],
) -> (int32x4_t, int32x4_t) {
    // SAFETY: by the caller's promise.
    unsafe {
        // Plain loads and these two instead of a load that takes pairs apart: the compiler then does it once for all
        // rows of activations.
        let (even, odd) = (vuzp1q_s16(first, second), vuzp2q_s16(first, second));
        let low = vmlal_n_s16(sums.0, vget_low_s16(even), pair[0]);
        let high = vmlal_high_n_s16(sums.1, even, pair[0]);
        (vmlal_n_s16(low, vget_low_s16(odd), pair[1]), vmlal_high_n_s16(high, odd, pair[1]))
    }
}

/// For the bytes of each half: which byte of flags has the flag.
const BYTES_OF_FLAGS: [[u8; 16]; 2] =
    [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3]];
/// The bit of that byte.
const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// Sixteen signed bytes as numbers.
///
/// # Safety
///
/// The processor must have NEON.
#[inline(always)]
unsafe fn numbers_of_bytes<const DOTS: bool>(bytes: int8x16_t) -> Neon<DOTS> {
    // SAFETY: by the caller's promise.
    unsafe {
        let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
        Neon(
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
            vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
            vcvtq_f32_s32(vmovl_s16(vget_high_s16(high))),
        )
    }
}
