//! Blocks of 32 weights: one scale, perhaps a minimum, then the bits.

use super::{IQ4_VALUES, half_at};

/// `d, qs[16]`: `d * (q - 8)`; byte j holds weights j and j + 16.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    nibbles(&block[2..], out, |q| d * (f32::from(q) - 8.0));
}

/// `d, m, qs[16]`: `d * q + m`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    nibbles(&block[4..], out, |q| d * f32::from(q) + m);
}

/// `d, qs[16]`: `d * table[q]`.
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    nibbles(&block[2..], out, |q| d * f32::from(IQ4_VALUES[usize::from(q)]));
}

/// `d, qh[4], qs[16]`: `d * (q - 16)`; bit j of `qh` is the fifth bit of weight j.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    five_bits([block[2], block[3], block[4], block[5]], &block[6..], out, |q| d * (f32::from(q) - 16.0));
}

/// `d, m, qh[4], qs[16]`: `d * q + m`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    five_bits([block[4], block[5], block[6], block[7]], &block[8..], out, |q| d * f32::from(q) + m);
}

/// `d, i8[32]`: `d * q`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (y, &q) in out.iter_mut().zip(&block[2..]) {
        *y = f32::from(q.cast_signed()) * d;
    }
}

/// Low nibbles of 16 bytes, then high nibbles.
fn nibbles(qs: &[u8], out: &mut [f32; 32], value: impl Fn(u8) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &byte) in low.iter_mut().zip(high).zip(qs) {
        *low = value(byte & 15);
        *high = value(byte >> 4);
    }
}

/// As [`nibbles`], with the fifth bits beside them.
fn five_bits(qh: [u8; 4], qs: &[u8], out: &mut [f32; 32], value: impl Fn(u8) -> f32) {
    let qh = u32::from_le_bytes(qh);
    let fifth = |j: usize| if qh >> j & 1 == 1 { 16 } else { 0 };
    for (j, &byte) in qs.iter().enumerate() {
        out[j] = value(byte & 15 | fifth(j));
        out[j + 16] = value(byte >> 4 | fifth(j + 16));
    }
}
