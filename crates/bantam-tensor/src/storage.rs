//! How numbers lie in memory: one value per way, and the sizes of its blocks.
//!
//! The layouts themselves are in [`crate::quant`]. Sizes after ggml (`ggml-common.h`).

use crate::Error;

/// How the numbers of a tensor lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Storage {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    BF16,
    /// 4 bits and a scale per 32 weights.
    Q4_0,
    /// 4 bits, a scale and a minimum per 32 weights.
    Q4_1,
    /// 5 bits and a scale per 32 weights.
    Q5_0,
    /// 5 bits, a scale and a minimum per 32 weights.
    Q5_1,
    /// 8 bits and a scale per 32 weights.
    Q8_0,
    /// 2 bits; 4-bit scales and minima per 16 of 256 weights.
    Q2K,
    /// 3 bits; 6-bit scales per 16 of 256 weights.
    Q3K,
    /// 4 bits; 6-bit scales and minima per 32 of 256 weights.
    Q4K,
    /// 5 bits; 6-bit scales and minima per 32 of 256 weights.
    Q5K,
    /// 6 bits; 8-bit scales per 16 of 256 weights.
    Q6K,
    /// 4-bit indices into a table of 16 values; a scale per 32 weights.
    Iq4Nl,
    /// The same table; 6-bit scales per 32 of 256 weights.
    Iq4Xs,
}

impl Storage {
    /// Every storage, in the order of declaration.
    pub const ALL: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
    ];

    /// Weights per block; 1 where every number stands alone.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Iq4Nl => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K | Self::Iq4Xs => 256,
        }
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 | Self::Iq4Nl => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Iq4Xs => 136,
        }
    }

    /// The name used by ggml and in messages: `Q4_K`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Iq4Nl => "IQ4_NL",
            Self::Iq4Xs => "IQ4_XS",
        }
    }

    /// The `ggml_type` that GGUF files write.
    pub const fn gguf_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::BF16 => 30,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2K => 10,
            Self::Q3K => 11,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Iq4Nl => 20,
            Self::Iq4Xs => 23,
        }
    }

    /// The storage of a `ggml_type`; every other type is refused by its own name.
    pub fn from_gguf(id: u32) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|storage| storage.gguf_id() == id);
        found.ok_or_else(|| Error::UnsupportedStorage { name: foreign_gguf_name(id) })
    }

    /// The storage of a safetensors `dtype`; integers, `F64` and the 8-bit floats are refused by name.
    pub fn from_safetensors(dtype: &str) -> Result<Self, Error> {
        match dtype {
            "F32" => Ok(Self::F32),
            "F16" => Ok(Self::F16),
            "BF16" => Ok(Self::BF16),
            other => {
                let name = crate::error::Quoted(other).to_string();
                Err(Error::UnsupportedStorage { name: format!("{name} (safetensors)") })
            }
        }
    }

    /// Bytes of this many weights; `None` unless they are whole blocks whose size fits in memory.
    pub const fn bytes_of(self, weights: usize) -> Option<usize> {
        if !weights.is_multiple_of(self.block_len()) {
            return None;
        }
        (weights / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
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
