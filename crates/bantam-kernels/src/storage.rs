//! How weights lie in memory: the block layouts that products are computed on.

/// A storage of weights. Blocks of a row follow each other; a row is a whole number of blocks.
/// Layouts: ggml's block structures, see `blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the formats' own")]
pub enum Storage {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
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
    pub fn bytes_of(self, weights: usize) -> Option<usize> {
        if !weights.is_multiple_of(self.block_len()) {
            return None;
        }
        (weights / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl std::fmt::Display for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
