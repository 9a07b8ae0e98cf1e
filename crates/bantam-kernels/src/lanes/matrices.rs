//! Products of small matrices of bytes, for many rows of activations by their digits: two rows by two outputs, eight inputs of each.
//!
//! Codes of weights are signed bytes, of all eight bits. An instruction multiplies them with the upper digits of activations,
//! which are signed, and another one with the lower digits, which are not; sums have 32 bits and are exact.

#[cfg(target_arch = "aarch64")]
use std::arch::{aarch64::*, asm};

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::{LANES, Lanes};

/// Eight codes of each of sixteen outputs.
pub(crate) type PanelEights = [[u8; 8]; LANES];

/// Lanes with products of small matrices.
pub(crate) trait MatrixLanes: Lanes {
    /// Sums of two rows with sixteen outputs, two by two.
    type Squares: Copy;

    fn squares_zero() -> Self::Squares;
    /// Adds the products of eight codes of each output with as many signed digits of either row.
    fn squares_add_high(sums: Self::Squares, codes: &PanelEights, rows: [&[u8; 8]; 2]) -> Self::Squares;
    /// The same with unsigned digits.
    fn squares_add_low(sums: Self::Squares, codes: &PanelEights, rows: [&[u8; 8]; 2]) -> Self::Squares;
    /// 256 times each.
    fn squares_shift(sums: Self::Squares) -> Self::Squares;
    /// The first row's sums, and the second one's.
    fn squares_rows(sums: Self::Squares) -> [Self::Ints; 2];
}

/// A [`super::Kernel`] that needs products of small matrices.
pub(crate) trait MatrixKernel {
    type Output;
    fn run<L: MatrixLanes>(self) -> Self::Output;
}

/// Runs a kernel over lanes of NEON with products of small matrices.
///
/// # Safety
///
/// The processor must have them (FEAT_I8MM), and dot products of bytes (FEAT_DotProd).
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod,i8mm")]
pub(super) fn run<K: MatrixKernel>(kernel: K) -> K::Output {
    kernel.run::<Neon<true>>()
}

/// The same products of two rows with all pairs of outputs.
#[cfg(target_arch = "aarch64")]
macro_rules! squares {
    ($f:ident($sums:ident, $rows:ident, $codes:ident)) => {{
        let (mut sums, rows) = ($sums, join($rows));
        for (sums, codes) in sums.iter_mut().zip($codes.as_chunks().0) {
            // SAFETY: only `run` leads here, whose caller has FEAT_I8MM.
            *sums = unsafe { $f(*sums, rows, load_two(codes)) };
        }
        sums
    }};
}

#[cfg(target_arch = "aarch64")]
impl MatrixLanes for Neon<true> {
    /// Outputs `2 i` and `2 i + 1` of the first row, then those of the second one.
    type Squares = [int32x4_t; LANES / 2];

    #[inline(always)]
    fn squares_zero() -> Self::Squares {
        // SAFETY: NEON is in the base of the target.
        [unsafe { vdupq_n_s32(0) }; LANES / 2]
    }
    #[inline(always)]
    fn squares_add_high(sums: Self::Squares, codes: &PanelEights, rows: [&[u8; 8]; 2]) -> Self::Squares {
        squares!(signed_square(sums, rows, codes))
    }
    #[inline(always)]
    fn squares_add_low(sums: Self::Squares, codes: &PanelEights, rows: [&[u8; 8]; 2]) -> Self::Squares {
        squares!(unsigned_square(sums, rows, codes))
    }
    #[inline(always)]
    fn squares_shift(mut sums: Self::Squares) -> Self::Squares {
        for sums in &mut sums {
            // SAFETY: NEON is in the base of the target.
            *sums = unsafe { vshlq_n_s32::<8>(*sums) };
        }
        sums
    }
    #[inline(always)]
    fn squares_rows([a, b, c, d, e, f, g, h]: Self::Squares) -> [Self::Ints; 2] {
        [
            (first_row(a, b), first_row(c, d), first_row(e, f), first_row(g, h)),
            (second_row(a, b), second_row(c, d), second_row(e, f), second_row(g, h)),
        ]
    }
}

/// Adds the products of two rows of eight bytes with two others: first with first, first with second, and so on. (The
/// intrinsics of these instructions are not stable.)
#[cfg(target_arch = "aarch64")]
macro_rules! square {
    ($name:ident, $instruction:literal) => {
        #[inline]
        #[target_feature(enable = "neon,i8mm")]
        fn $name(mut sums: int32x4_t, rows: uint8x16_t, codes: uint8x16_t) -> int32x4_t {
            // SAFETY: the instruction is part of the set that this function enables; it touches registers only.
            unsafe {
                asm!(
                    concat!($instruction, " {sums:v}.4s, {rows:v}.16b, {codes:v}.16b"),
                    sums = inout(vreg) sums,
                    rows = in(vreg) rows,
                    codes = in(vreg) codes,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            sums
        }
    };
}

#[cfg(target_arch = "aarch64")]
square!(signed_square, "smmla");
// Rows of unsigned bytes with signed codes.
#[cfg(target_arch = "aarch64")]
square!(unsigned_square, "usmmla");

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn load_two(eights: &[[u8; 8]; 2]) -> uint8x16_t {
    // SAFETY: NEON is in the base of the target; sixteen bytes can be read.
    unsafe { vld1q_u8(eights.as_ptr().cast()) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn join([first, second]: [&[u8; 8]; 2]) -> uint8x16_t {
    // SAFETY: NEON is in the base of the target; eight bytes can be read from either.
    unsafe { vcombine_u8(vld1_u8(first.as_ptr()), vld1_u8(second.as_ptr())) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn first_row(left: int32x4_t, right: int32x4_t) -> int32x4_t {
    // SAFETY: NEON is in the base of the target; no memory is touched.
    unsafe { vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(left), vreinterpretq_s64_s32(right))) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn second_row(left: int32x4_t, right: int32x4_t) -> int32x4_t {
    // SAFETY: as in `first_row`.
    unsafe { vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(left), vreinterpretq_s64_s32(right))) }
}
