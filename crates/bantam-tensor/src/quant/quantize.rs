//! Reference quantisers: the rounding of ggml's `quantize_row_*_ref`, for the storages without group scales.

use half::{bf16, f16};

use crate::{Error, Storage};

/// The bytes of these weights in another storage, rounded as ggml's reference does.
///
/// # Errors
///
/// [`Error::UnsupportedStorage`] for the storages that need a search (`Q2_K` to `IQ4_XS`), and
/// [`Error::Tensor`] if the weights are not whole blocks.
pub fn quantize(storage: Storage, weights: &[f32]) -> Result<Vec<u8>, Error> {
    if storage.bytes_of(weights.len()).is_none() {
        let (len, block) = (weights.len(), storage.block_len());
        return Err(Error::tensor("to quantise", format!("{len} weights are not whole blocks of {block}")));
    }
    match storage {
        Storage::F32 => Ok(weights.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Storage::F16 => Ok(weights.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()),
        Storage::BF16 => Ok(weights.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect()),
        Storage::Q4_0 => Ok(each_block(weights, q4_0)),
        Storage::Q4_1 => Ok(each_block(weights, q4_1)),
        Storage::Q5_0 => Ok(each_block(weights, q5_0)),
        Storage::Q5_1 => Ok(each_block(weights, q5_1)),
        Storage::Q8_0 => Ok(each_block(weights, q8_0)),
        _ => Err(Error::UnsupportedStorage { name: format!("{storage} to quantise to") }),
    }
}

fn each_block(weights: &[f32], encode: impl Fn(&[f32; 32], &mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    for block in weights.as_chunks().0 {
        encode(block, &mut out);
    }
    out
}

fn q4_0(x: &[f32; 32], out: &mut Vec<u8>) {
    let d = extreme(x) / -8.0;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    // The cast truncates and saturates, which is the reference's rounding after the half was added.
    push_nibbles(&x.map(|x| ((x * inverse + 8.5) as u8).min(15)), out);
}

fn q4_1(x: &[f32; 32], out: &mut Vec<u8>) {
    let (min, max) = range(x);
    let d = (max - min) / 15.0;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(f16::from_f32(min).to_le_bytes());
    push_nibbles(&x.map(|x| (((x - min) * inverse + 0.5) as u8).min(15)), out);
}

fn q5_0(x: &[f32; 32], out: &mut Vec<u8>) {
    let d = extreme(x) / -16.0;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    push_five_bits(&x.map(|x| ((x * inverse + 16.5) as u8).min(31)), out);
}

fn q5_1(x: &[f32; 32], out: &mut Vec<u8>) {
    let (min, max) = range(x);
    let d = (max - min) / 31.0;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(f16::from_f32(min).to_le_bytes());
    push_five_bits(&x.map(|x| (((x - min) * inverse + 0.5) as u8).min(31)), out);
}

fn q8_0(x: &[f32; 32], out: &mut Vec<u8>) {
    let d = extreme(x).abs() / 127.0;
    let inverse = inverse(d);
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(x.map(|x| ((x * inverse).round() as i8).cast_unsigned()));
}

/// The first weight of the largest magnitude, with its sign.
fn extreme(x: &[f32; 32]) -> f32 {
    x.iter().fold(0.0, |best: f32, &x| if x.abs() > best.abs() { x } else { best })
}

fn range(x: &[f32; 32]) -> (f32, f32) {
    x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), &x| (min.min(x), max.max(x)))
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn push_nibbles(q: &[u8; 32], out: &mut Vec<u8>) {
    let (low, high) = q.split_at(16);
    out.extend(low.iter().zip(high).map(|(low, high)| low & 15 | high << 4));
}

fn push_five_bits(q: &[u8; 32], out: &mut Vec<u8>) {
    let fifth = q.iter().enumerate().fold(0_u32, |bits, (j, q)| bits | u32::from(q >> 4) << j);
    out.extend(fifth.to_le_bytes());
    push_nibbles(q, out);
}
