//! What GGUF and safetensors call a storage.

use bantam_kernels::Storage;

use crate::Error;
use crate::error::Quoted;

/// The `ggml_type` that GGUF files write.
pub const fn gguf_id(storage: Storage) -> u32 {
    match storage {
        Storage::F32 => 0,
        Storage::F16 => 1,
        Storage::BF16 => 30,
        Storage::Q4_0 => 2,
        Storage::Q4_1 => 3,
        Storage::Q5_0 => 6,
        Storage::Q5_1 => 7,
        Storage::Q8_0 => 8,
        Storage::Q2K => 10,
        Storage::Q3K => 11,
        Storage::Q4K => 12,
        Storage::Q5K => 13,
        Storage::Q6K => 14,
        Storage::Iq4Nl => 20,
        Storage::Iq4Xs => 23,
    }
}

/// The storage of a `ggml_type`; every other type is refused by its own name.
pub fn from_gguf_id(id: u32) -> Result<Storage, Error> {
    let found = Storage::ALL.into_iter().find(|storage| gguf_id(*storage) == id);
    found.ok_or_else(|| Error::UnsupportedStorage { name: foreign_gguf_name(id) })
}

/// The storage of a safetensors `dtype`; integers, `F64` and the 8-bit floats are refused by name.
pub fn from_safetensors_dtype(dtype: &str) -> Result<Storage, Error> {
    match dtype {
        "F32" => Ok(Storage::F32),
        "F16" => Ok(Storage::F16),
        "BF16" => Ok(Storage::BF16),
        other => Err(Error::UnsupportedStorage { name: format!("{} (safetensors)", Quoted(other)) }),
    }
}

/// The name of a `ggml_type` that is not a [`Storage`].
fn foreign_gguf_name(id: u32) -> String {
    let name = match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0",
        4 => "Q4_2 (retired)",
        5 => "Q4_3 (retired)",
        31 => "Q4_0_4_4 (retired)",
        32 => "Q4_0_4_8 (retired)",
        33 => "Q4_0_8_8 (retired)",
        36 => "IQ4_NL_4_4 (retired)",
        37 => "IQ4_NL_4_8 (retired)",
        38 => "IQ4_NL_8_8 (retired)",
        _ => return format!("with the unknown GGUF type id {id}"),
    };
    name.to_owned()
}
