//! How weights lie in memory: the block layouts that products are computed on.

/// How the numbers of a matrix lie in memory. Blocks of a row follow each other; a row is a whole number of
/// blocks. Layouts: ggml's block structures, see `blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Every storage.
    pub const ALL: [Storage; 15] = [
        Storage::F32,
        Storage::F16,
        Storage::BF16,
        Storage::Q4_0,
        Storage::Q4_1,
        Storage::Q5_0,
        Storage::Q5_1,
        Storage::Q8_0,
        Storage::Q2K,
        Storage::Q3K,
        Storage::Q4K,
        Storage::Q5K,
        Storage::Q6K,
        Storage::Iq4Nl,
        Storage::Iq4Xs,
    ];

    /// Weights in a block.
    pub const fn block_len(self) -> usize {
        match self {
            Storage::F32 | Storage::F16 | Storage::BF16 => 1,
            Storage::Q4_0
            | Storage::Q4_1
            | Storage::Q5_0
            | Storage::Q5_1
            | Storage::Q8_0
            | Storage::Iq4Nl => 32,
            Storage::Q2K | Storage::Q3K | Storage::Q4K | Storage::Q5K | Storage::Q6K | Storage::Iq4Xs => 256,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Storage::F32 => 4,
            Storage::F16 | Storage::BF16 => 2,
            Storage::Q4_0 | Storage::Iq4Nl => 18,
            Storage::Q4_1 => 20,
            Storage::Q5_0 => 22,
            Storage::Q5_1 => 24,
            Storage::Q8_0 => 34,
            Storage::Q2K => 84,
            Storage::Q3K => 110,
            Storage::Q4K => 144,
            Storage::Q5K => 176,
            Storage::Q6K => 210,
            Storage::Iq4Xs => 136,
        }
    }

    /// The name that files and people use.
    pub const fn name(self) -> &'static str {
        match self {
            Storage::F32 => "F32",
            Storage::F16 => "F16",
            Storage::BF16 => "BF16",
            Storage::Q4_0 => "Q4_0",
            Storage::Q4_1 => "Q4_1",
            Storage::Q5_0 => "Q5_0",
            Storage::Q5_1 => "Q5_1",
            Storage::Q8_0 => "Q8_0",
            Storage::Q2K => "Q2_K",
            Storage::Q3K => "Q3_K",
            Storage::Q4K => "Q4_K",
            Storage::Q5K => "Q5_K",
            Storage::Q6K => "Q6_K",
            Storage::Iq4Nl => "IQ4_NL",
            Storage::Iq4Xs => "IQ4_XS",
        }
    }

    /// Whether weights are integer codes with a scale for each block.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Bytes that `weights` in a row take; `None` unless they are a whole number of blocks and the
    /// product fits.
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
