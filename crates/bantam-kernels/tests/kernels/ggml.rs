//! Weights one at a time, by index, from the layouts of ggml's block structures (ggml-common.h of llama.cpp).

use bantam_kernels::Storage;

const IQ4: [i32; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// All weights of a row of blocks.
pub(crate) fn weights(storage: Storage, bytes: &[u8]) -> Vec<f32> {
    let blocks = bytes.chunks_exact(storage.block_bytes());
    blocks.flat_map(|block| (0..storage.block_len()).map(|i| weight(storage, block, i))).collect()
}

/// Weight `i` of a block; products and sums are rounded as ggml's scalar code rounds them.
fn weight(storage: Storage, b: &[u8], i: usize) -> f32 {
    let nibble = |begin: usize| i32::from(if i < 16 { b[begin + i] & 15 } else { b[begin + i - 16] >> 4 });
    let fifth = |begin: usize| i32::from(b[begin + i / 8] >> (i % 8) & 1) << 4;
    match storage {
        Storage::F32 => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        Storage::F16 => half(b, 0),
        Storage::BF16 => f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16),
        Storage::Q4_0 => half(b, 0) * (nibble(2) - 8) as f32,
        Storage::Q4_1 => half(b, 0) * nibble(4) as f32 + half(b, 2),
        Storage::Q5_0 => half(b, 0) * ((nibble(6) | fifth(2)) - 16) as f32,
        Storage::Q5_1 => half(b, 0) * (nibble(8) | fifth(4)) as f32 + half(b, 2),
        Storage::Q8_0 => half(b, 0) * f32::from(b[2 + i] as i8),
        Storage::Iq4Nl => half(b, 0) * IQ4[nibble(2) as usize] as f32,
        Storage::Q2K => q2_k(b, i),
        Storage::Q3K => q3_k(b, i),
        Storage::Q4K => q4_k(b, i, i32::from(b[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15)),
        Storage::Q5K => {
            let low = i32::from(b[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15);
            q4_k(b, i, low + i32::from(b[16 + i % 32] >> (i / 32) & 1) * 16)
        }
        Storage::Q6K => q6_k(b, i),
        Storage::Iq4Xs => iq4_xs(b, i),
    }
}

/// Half precision from its definition, not from a library: sign, five bits of exponent, ten of fraction.
fn half(b: &[u8], at: usize) -> f32 {
    let bits = u16::from_le_bytes([b[at], b[at + 1]]);
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

fn q2_k(b: &[u8], i: usize) -> f32 {
    let code = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    let pair = b[i / 16];
    half(b, 80) * f32::from(pair & 15) * f32::from(code) - half(b, 82) * f32::from(pair >> 4)
}

fn q3_k(b: &[u8], i: usize) -> f32 {
    let low = i32::from(b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3);
    let high = i32::from(b[i % 32] >> (i / 32) & 1);
    let unit = i / 16;
    let scale_low = if unit < 8 { b[96 + unit] & 15 } else { b[96 + unit - 8] >> 4 };
    let scale_high = b[104 + unit % 4] >> (unit / 4 * 2) & 3;
    let scale = i32::from(scale_low) + i32::from(scale_high) * 16 - 32;
    half(b, 108) * scale as f32 * (low - 4 + 4 * high) as f32
}

/// Q4_K and Q5_K, the code given.
fn q4_k(b: &[u8], i: usize, code: i32) -> f32 {
    let (unit, packed) = (i / 32, &b[4..16]);
    let (scale, minimum) = match unit {
        0..4 => (packed[unit] & 63, packed[4 + unit] & 63),
        _ => (
            packed[4 + unit] & 15 | (packed[unit - 4] & 192) >> 2,
            packed[4 + unit] >> 4 | (packed[unit] & 192) >> 2,
        ),
    };
    half(b, 0) * f32::from(scale) * code as f32 - half(b, 2) * f32::from(minimum)
}

fn q6_k(b: &[u8], i: usize) -> f32 {
    let (part, quarter, place) = (i / 128, i % 128 / 32, i % 32);
    let low = b[part * 64 + quarter % 2 * 32 + place] >> (quarter / 2 * 4) & 15;
    let high = b[128 + part * 32 + place] >> (quarter * 2) & 3;
    let code = i32::from(low) + i32::from(high) * 16 - 32;
    half(b, 208) * f32::from(b[192 + i / 16] as i8) * code as f32
}

fn iq4_xs(b: &[u8], i: usize) -> f32 {
    let (unit, place) = (i / 32, i % 32);
    let low = i32::from(b[4 + unit / 2] >> (unit % 2 * 4) & 15);
    let high = i32::from(b[2 + unit / 4] >> (unit % 4 * 2) & 3);
    let byte = b[8 + unit * 16 + place % 16];
    let index = if place < 16 { byte & 15 } else { byte >> 4 };
    half(b, 0) * (low + high * 16 - 32) as f32 * IQ4[usize::from(index)] as f32
}
