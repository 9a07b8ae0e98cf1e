//! Blocks of 256 weights: scales of groups of 16 or 32, themselves scaled once per block.

use super::{IQ4_VALUES, half_at};

/// `scales[16], qs[64], d, dmin`: per 16 weights `d * (s & 15) * q - dmin * (s >> 4)`.
///
/// Each half of 128 weights has 32 bytes of `qs`, in four planes of 2 bits.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, qs) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (group, (out, &scale)) in out.chunks_exact_mut(16).zip(scales).enumerate() {
        let (dl, ml) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        for (l, y) in out.iter_mut().enumerate() {
            *y = dl * f32::from(two_bits(qs, group * 16 + l)) - ml;
        }
    }
}

/// `hmask[32], qs[64], scales[12], d`: per 16 weights `d * (s - 32) * (q - (high bit ? 0 : 4))`.
///
/// Bit g of `hmask[l]` belongs to weight `32 g + l`: set means that nothing is subtracted.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (hmask, qs, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half_at(block, 108);
    for (group, out) in out.chunks_exact_mut(16).enumerate() {
        // Low nibbles of the 16 scales are in 8 bytes, their upper bit pairs in the four bytes after.
        let low = scales[group % 8] >> (group / 8 * 4) & 15;
        let high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
        let dl = d * (f32::from(low | high << 4) - 32.0);
        for (l, y) in out.iter_mut().enumerate() {
            let at = group * 16 + l;
            let offset = if hmask[at % 32] >> (at / 32) & 1 == 1 { 0.0 } else { 4.0 };
            *y = dl * (f32::from(two_bits(qs, at)) - offset);
        }
    }
}

/// `d, dmin, scales[12], qs[128]`: per 32 weights `d * s * q - dmin * m`.
///
/// Each 32 bytes of `qs` hold two groups: low nibbles, then high nibbles.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, qs) = (&block[4..16], &block[16..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(scales, group);
        let (dl, ml) = (d * f32::from(scale), dmin * f32::from(min));
        for (l, y) in out.iter_mut().enumerate() {
            *y = dl * f32::from(nibble(qs, group, l)) - ml;
        }
    }
}

/// `d, dmin, scales[12], qh[32], qs[128]`: as [`q4_k`]; bit g of `qh[l]` is the fifth bit of weight `32 g + l`.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, qh, qs) = (&block[4..16], &block[16..48], &block[48..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(scales, group);
        let (dl, ml) = (d * f32::from(scale), dmin * f32::from(min));
        for (l, y) in out.iter_mut().enumerate() {
            let fifth = (qh[l] >> group & 1) << 4;
            *y = dl * f32::from(nibble(qs, group, l) | fifth) - ml;
        }
    }
}

/// `ql[128], qh[64], i8 scales[16], d`: per 16 weights `d * s * (q - 32)`.
///
/// Each half of 128 weights has 64 bytes of `ql`, low then high nibbles, and 32 bytes of `qh` in four planes.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (ql, qh, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for (group, (out, &scale)) in out.chunks_exact_mut(16).zip(scales).enumerate() {
        let dl = d * f32::from(scale.cast_signed());
        for (l, y) in out.iter_mut().enumerate() {
            let at = group * 16 + l;
            let low = ql[at / 128 * 64 + at % 64] >> (at / 64 % 2 * 4) & 15;
            *y = dl * (f32::from(low | two_bits(qh, at) << 4) - 32.0);
        }
    }
}

/// `d, u16 scales_h, scales_l[4], qs[128]`: per 32 weights `d * (s - 32) * table[q]`.
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = half_at(block, 0);
    let scales_high = u16::from_le_bytes([block[2], block[3]]);
    let (scales_low, qs) = (&block[4..8], &block[8..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let low = scales_low[group / 2] >> (group % 2 * 4) & 15;
        let high = scales_high >> (group * 2) & 3;
        let dl = d * (f32::from(u16::from(low) | high << 4) - 32.0);
        for (l, y) in out.iter_mut().enumerate() {
            let byte = qs[group * 16 + l % 16];
            *y = dl * f32::from(IQ4_VALUES[usize::from(byte >> (l / 16 * 4) & 15)]);
        }
    }
}

/// The 2-bit number of weight `at`: 32 bytes hold 128 weights in four planes.
fn two_bits(qs: &[u8], at: usize) -> u8 {
    qs[at / 128 * 32 + at % 32] >> (at / 32 % 4 * 2) & 3
}

/// The 4-bit number of weight `l` of a group of 32: 32 bytes hold two groups.
fn nibble(qs: &[u8], group: usize, l: usize) -> u8 {
    qs[group / 2 * 32 + l] >> (group % 2 * 4) & 15
}

/// The 6-bit scale and minimum of a group of `Q4_K` and `Q5_K`.
///
/// The first four of each are the low six bits of bytes 0-3 and 4-7; the last four have their low nibbles in
/// bytes 8-11 and their upper two bits on top of bytes 0-3 and 4-7.
fn scale_and_min(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (scales[group] & 63, scales[group + 4] & 63);
    }
    let low = scales[group + 4];
    (low & 15 | scales[group - 4] >> 6 << 4, low >> 4 | scales[group] >> 6 << 4)
}
