//! Quantisers, and the exact dequantisers of the kernels under this crate's roof.

mod quantize;

use bantam_kernels::{Isa, Storage, matmul};

pub use quantize::quantize;

/// Writes the values of whole blocks to `out`, bit for bit as `gguf.quants` in Python does.
///
/// # Panics
///
/// If `bytes` is not exactly what `out.len()` weights need; a [`crate::Tensor`] always has as many.
pub fn dequantize(storage: Storage, bytes: &[u8], out: &mut [f32]) {
    matmul::dequantize(Isa::best(), storage, bytes, out);
}
