//! Exact scalar dequantisers for every storage, and reference quantisers for the simple ones.
//!
//! This is the truth that kernels are held to: products and sums in f32, in the order of ggml's reference
//! (`ggml-quants.c`), bit for bit equal to `gguf.quants` in Python. All layouts are little endian; nibbles are
//! low half of the block first. `d` and `m` are half precision unless said otherwise.

mod blocks256;
mod blocks32;
mod quantize;

use half::{bf16, f16};

use crate::Storage;

pub use quantize::quantize;

/// Writes the values of whole blocks to `out`.
///
/// # Panics
///
/// If `bytes` is not exactly what `out.len()` weights need; a [`crate::Tensor`] always has as many.
pub fn dequantize(storage: Storage, bytes: &[u8], out: &mut [f32]) {
    let wanted = storage.bytes_of(out.len());
    assert_eq!(Some(bytes.len()), wanted, "bytes for {} weights in {storage}", out.len());
    match storage {
        Storage::F32 => each_block(bytes, out, |b, [y]| *y = f32::from_le_bytes(*b)),
        Storage::F16 => each_block(bytes, out, |b, [y]| *y = f16::from_le_bytes(*b).to_f32()),
        Storage::BF16 => each_block(bytes, out, |b, [y]| *y = bf16::from_le_bytes(*b).to_f32()),
        Storage::Q4_0 => each_block(bytes, out, blocks32::q4_0),
        Storage::Q4_1 => each_block(bytes, out, blocks32::q4_1),
        Storage::Q5_0 => each_block(bytes, out, blocks32::q5_0),
        Storage::Q5_1 => each_block(bytes, out, blocks32::q5_1),
        Storage::Q8_0 => each_block(bytes, out, blocks32::q8_0),
        Storage::Iq4Nl => each_block(bytes, out, blocks32::iq4_nl),
        Storage::Q2K => each_block(bytes, out, blocks256::q2_k),
        Storage::Q3K => each_block(bytes, out, blocks256::q3_k),
        Storage::Q4K => each_block(bytes, out, blocks256::q4_k),
        Storage::Q5K => each_block(bytes, out, blocks256::q5_k),
        Storage::Q6K => each_block(bytes, out, blocks256::q6_k),
        Storage::Iq4Xs => each_block(bytes, out, blocks256::iq4_xs),
    }
}

/// Runs `decode` over blocks of `BYTES` bytes and `LEN` weights.
fn each_block<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (outs, _) = out.as_chunks_mut::<LEN>();
    for (block, values) in blocks.iter().zip(outs) {
        decode(block, values);
    }
}

/// The half precision number at a byte of a block.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The values of the 4-bit indices of `IQ4_NL` and `IQ4_XS` (`kvalues_iq4nl` in `ggml-common.h`).
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
