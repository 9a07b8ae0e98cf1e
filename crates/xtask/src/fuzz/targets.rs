//! The readers of foreign bytes, and valid inputs to start from.
//!
//! A new reader is one line of [`TARGETS`] with a function that makes its seeds and one that runs it.

use bantam_tensor::Bytes;
use bantam_tensor::format::{gguf, safetensors};

use crate::safetensors::file as safetensors_file;

/// A reader under test.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Small valid inputs.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Reads, and uses what was read. An error is as good as a value.
    pub(crate) run: fn(&[u8]),
}

pub(crate) const TARGETS: [Target; 2] = [
    Target { name: "gguf", seeds: gguf_seeds, run: read_gguf },
    Target { name: "safetensors", seeds: safetensors_seeds, run: read_safetensors },
];

fn read_gguf(input: &[u8]) {
    if let Ok(file) = gguf::File::parse(&Bytes::from(input.to_vec())) {
        for tensor in file.tensors() {
            tensor.to_f32();
        }
    }
}

fn read_safetensors(input: &[u8]) {
    if let Ok(file) = safetensors::File::parse(&Bytes::from(input.to_vec())) {
        for tensor in file.tensors() {
            tensor.to_f32();
        }
    }
}

fn safetensors_seeds() -> Vec<Vec<u8>> {
    let two = [("a.weight".into(), vec![2, 3], vec![1.0; 6]), ("b".into(), vec![4], vec![0.5; 4])];
    vec![safetensors_file([]), safetensors_file(two)]
}

/// Written byte by byte and not by our own writer, so that a fault of both does not hide.
fn gguf_seeds() -> Vec<Vec<u8>> {
    let pairs = [
        pair("general.architecture", 8, &text("llama")),
        pair("general.alignment", 4, &32_u32.to_le_bytes()),
        pair("llama.rope.freq_base", 6, &10_000_f32.to_le_bytes()),
        pair("tokenizer.ggml.add_bos_token", 7, &[1]),
        pair("tokenizer.ggml.tokens", 9, &array(8, &[text("<s>"), text("a"), text("\u{2581}b")])),
        pair(
            "tokenizer.ggml.scores",
            9,
            &array(6, &[0.0, -1.0, -2.0_f32].map(|score| score.to_le_bytes().to_vec())),
        ),
    ];
    // Storage 0 is F32; 8 is Q8_0 and 12 is Q4_K, whose blocks hold 32 and 256 weights in 34 and 144 bytes.
    let tensors = [("a", 0, [2, 4], 32), ("b", 8, [32, 2], 68), ("c", 12, [256, 1], 144)];
    vec![gguf_file(&[], &[]), gguf_file(&pairs, &[]), gguf_file(&pairs, &tensors)]
}

/// (name, storage, axes with the innermost first, bytes).
type TensorInfo<'a> = (&'a str, u32, [u64; 2], usize);

fn gguf_file(pairs: &[Vec<u8>], tensors: &[TensorInfo<'_>]) -> Vec<u8> {
    let mut file = [b"GGUF".as_slice(), &3_u32.to_le_bytes()].concat();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((pairs.len() as u64).to_le_bytes());
    file.extend(pairs.concat());
    let mut data: Vec<u8> = Vec::new();
    for (name, storage, axes, bytes) in tensors {
        file.extend(text(name));
        file.extend(2_u32.to_le_bytes());
        file.extend(axes.iter().flat_map(|axis| axis.to_le_bytes()));
        file.extend(storage.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        data.resize((data.len() + bytes).next_multiple_of(32), 0x3c);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), kind.to_le_bytes().as_slice(), value].concat()
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

fn array(kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes(), &values.concat()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of files that were never valid would stop at the first byte.
    #[test]
    fn seeds_are_valid() {
        for seed in gguf_seeds() {
            gguf::File::parse(&Bytes::from(seed)).unwrap();
        }
        for seed in safetensors_seeds() {
            safetensors::File::parse(&Bytes::from(seed)).unwrap();
        }
    }
}
