//! Keys and values as small integers with a scale for each 32 of a head.
//!
//! Before rounding a head is turned by a Hadamard matrix (as QuaRot does, Ashkboos et al., 2024): what stands out
//! in one place is spread over the head, so that no scale need serve a single number. The matrix is symmetric and
//! its own inverse. Queries are turned alike, which leaves scores as they are, and what comes of the values is
//! turned back once for each query.

use half::f16;

use super::page::{KvShape, PAGE};

/// Numbers of a head that share a scale.
pub(super) const GROUP: usize = 32;
/// Codes lie in pairs: those at places `j` and `j + PAIRS` of a group.
pub(super) const PAIRS: usize = GROUP / 2;

/// Bits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Eight,
    Four,
}

impl Width {
    /// Bytes of two codes.
    pub(super) const fn pair(self) -> usize {
        match self {
            Width::Eight => 2,
            Width::Four => 1,
        }
    }
}

/// Codes and scales of a page. The head's numbers are filled up to whole groups with zeros.
///
/// With 8 bits the second codes of pairs follow the first ones of a row; with 4 bits both share a byte, the first one
/// in the low half. Codes are signed.
#[derive(Clone, PartialEq)]
pub(super) struct Coded {
    pub(super) width: Width,
    /// For each head: `[groups][PAIRS][PAGE]` pairs of keys, then `[PAGE][groups][PAIRS]` pairs of values.
    codes: Vec<u8>,
    /// For each head: `[groups][PAGE]` of keys, then as many of values.
    scales: Vec<f16>,
}

/// One head of [`Coded`].
#[derive(Clone, Copy)]
pub(super) struct CodedHead<'a> {
    pub(super) keys: &'a [u8],
    pub(super) values: &'a [u8],
    pub(super) key_scales: &'a [f16],
    pub(super) value_scales: &'a [f16],
}

/// Bytes of codes, and the number of scales, of the keys of a head; the values have as many.
fn lens(shape: KvShape, width: Width) -> (usize, usize) {
    let pairs = PAGE * shape.padded_dim() / 2;
    (pairs * width.pair(), PAGE * shape.padded_dim() / GROUP)
}

impl Coded {
    pub(super) fn bytes_of_head(shape: KvShape, width: Width) -> usize {
        let (codes, scales) = lens(shape, width);
        2 * (codes + scales * size_of::<f16>())
    }

    pub(super) fn new(shape: KvShape, width: Width) -> Self {
        let (codes, scales) = lens(shape, width);
        let heads = shape.num_kv_heads;
        Coded { width, codes: vec![0; 2 * heads * codes], scales: vec![f16::ZERO; 2 * heads * scales] }
    }

    /// Codes, then scales.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.codes);
        self.scales.iter().for_each(|scale| out.extend(scale.to_le_bytes()));
    }

    /// As [`Coded::write_to`] wrote it, as many bytes as a page of this shape has.
    pub(super) fn read_from(shape: KvShape, width: Width, bytes: &[u8]) -> Self {
        let (codes, scales) = bytes.split_at(2 * shape.num_kv_heads * lens(shape, width).0);
        let scales = scales.as_chunks().0.iter().copied().map(f16::from_le_bytes);
        Coded { width, codes: codes.to_vec(), scales: scales.collect() }
    }

    pub(super) fn head(&self, shape: KvShape, head: usize) -> CodedHead<'_> {
        let (codes, scales) = lens(shape, self.width);
        let (keys, values) = self.codes[2 * head * codes..][..2 * codes].split_at(codes);
        let (key_scales, value_scales) = self.scales[2 * head * scales..][..2 * scales].split_at(scales);
        CodedHead { keys, values, key_scales, value_scales }
    }

    /// Puts the keys and values of one position, `[num_kv_heads][head_dim]` each, into place `slot`.
    pub(super) fn put(&mut self, shape: KvShape, slot: usize, keys: &[f32], values: &[f32]) {
        let (code_len, scale_len) = lens(shape, self.width);
        let codes = self.codes.chunks_exact_mut(2 * code_len);
        let heads = codes.zip(self.scales.chunks_exact_mut(2 * scale_len));
        let numbers = keys.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
        let mut turned = vec![0.0; shape.padded_dim()];
        for ((codes, scales), (keys, values)) in heads.zip(numbers) {
            let (key_codes, value_codes) = codes.split_at_mut(code_len);
            let (key_scales, value_scales) = scales.split_at_mut(scale_len);
            turn_into(&mut turned, keys);
            put_keys(self.width, slot, &turned, key_codes, key_scales);
            let codes = &mut value_codes[slot * (code_len / PAGE)..][..code_len / PAGE];
            turn_into(&mut turned, values);
            put_values(self.width, slot, &turned, codes, value_scales);
        }
    }
}

/// Fills a head up with zeros, and turns it.
fn turn_into(turned: &mut [f32], head: &[f32]) {
    turned[..head.len()].copy_from_slice(head);
    turned[head.len()..].fill(0.0);
    rotate(turned);
}

/// Puts the turned keys of one position of a head into the column `slot`.
fn put_keys(width: Width, slot: usize, keys: &[f32], codes: &mut [u8], scales: &mut [f16]) {
    let row = PAGE * width.pair();
    let groups = codes.chunks_exact_mut(PAIRS * row).zip(scales.chunks_exact_mut(PAGE));
    for (keys, (codes, scales)) in keys.as_chunks().0.iter().zip(groups) {
        let (scale, of_keys) = round(width, keys);
        scales[slot] = scale;
        for (j, row) in codes.chunks_exact_mut(row).enumerate() {
            let (first, second) = (of_keys[j], of_keys[j + PAIRS]);
            match width {
                Width::Eight => (row[slot], row[PAGE + slot]) = (first as u8, second as u8),
                Width::Four => row[slot] = nibbles(first, second),
            }
        }
    }
}

/// Puts the turned values of one position of a head into its row of codes, and their scales into the column `slot`.
fn put_values(width: Width, slot: usize, values: &[f32], codes: &mut [u8], scales: &mut [f16]) {
    let groups = codes.chunks_exact_mut(PAIRS * width.pair()).zip(scales.chunks_exact_mut(PAGE));
    for (values, (codes, scales)) in values.as_chunks().0.iter().zip(groups) {
        let (scale, of_values) = round(width, values);
        scales[slot] = scale;
        match width {
            Width::Eight => codes.copy_from_slice(bytemuck::cast_slice(&of_values)),
            Width::Four => {
                let (first, second) = of_values.split_at(PAIRS);
                for ((place, first), second) in codes.iter_mut().zip(first).zip(second) {
                    *place = nibbles(*first, *second);
                }
            }
        }
    }
}

fn nibbles(first: i8, second: i8) -> u8 {
    (first as u8 & 15) | (second as u8) << 4
}

/// Turns numbers by the Hadamard matrix over the root of its size, which is the greatest power of two that divides
/// their count.
pub(super) fn rotate(numbers: &mut [f32]) {
    let size = 1 << numbers.len().trailing_zeros();
    let norm = 1.0 / (size as f32).sqrt();
    for group in numbers.chunks_exact_mut(size) {
        let mut half = size / 2;
        while half > 0 {
            for part in group.chunks_exact_mut(2 * half) {
                let (low, high) = part.split_at_mut(half);
                for (low, high) in low.iter_mut().zip(high) {
                    (*low, *high) = (*low + *high, *low - *high);
                }
            }
            half /= 2;
        }
        group.iter_mut().for_each(|x| *x *= norm);
    }
}

/// Rounds 32 numbers to codes. A group with an infinity or a NaN has a NaN as its scale, so that it reaches the
/// logits.
fn round(width: Width, group: &[f32; GROUP]) -> (f16, [i8; GROUP]) {
    if group.iter().any(|x| !x.is_finite()) {
        return (f16::NAN, [0; GROUP]);
    }
    // The number of greatest magnitude takes the longer end of the codes, as in ggml's Q4_0.
    let most = group.iter().fold(0.0f32, |most, x| if x.abs() > most.abs() { *x } else { most });
    let (lowest, highest, scale) = match width {
        Width::Eight => (-127.0, 127.0, most.abs() / 127.0),
        Width::Four => (-8.0, 7.0, most / -8.0),
    };
    let scale = f16::from_f32(scale);
    let inverse = if scale.to_f32() == 0.0 { 0.0 } else { 1.0 / scale.to_f32() };
    (scale, group.map(|x| (x * inverse).round_ties_even().clamp(lowest, highest) as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_turned_twice_is_itself() {
        let numbers: Vec<f32> = (0..64).map(|i| ((i * 37) % 64) as f32 - 20.0).collect();
        let mut turned = numbers.clone();
        rotate(&mut turned);
        let energy = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        assert!((energy(&turned) / energy(&numbers) - 1.0).abs() < 1e-6);
        rotate(&mut turned);
        assert!(turned.iter().zip(&numbers).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn what_is_no_number_stays_visible() {
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let mut group = [1.0; GROUP];
            group[3] = bad;
            assert!(!round(Width::Four, &group).0.is_finite(), "{bad}");
        }
        assert_eq!(round(Width::Eight, &[0.0; 32]), (f16::ZERO, [0; GROUP]));
    }
}
