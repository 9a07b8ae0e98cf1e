//! What the tests of both formats share.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::PathBuf;

/// Made by `testdata/formats/make.py` with the `gguf` package.
pub(crate) const SMALL_GGUF: &[u8] = include_bytes!("../../../../testdata/formats/small.gguf");

/// Made by `testdata/formats/make.py` with the `safetensors` package.
pub(crate) const SMALL_SAFETENSORS: &[u8] = include_bytes!("../../../../testdata/formats/small.safetensors");

/// A folder of a test's own, which goes with it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Copies of `bytes`, each damaged in another way: bytes changed, numbers made extreme, the end cut off.
pub(crate) fn mutants(bytes: &[u8], count: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|seed| mutant(bytes, seed))
}

fn mutant(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: usize| {
        // xorshift64*, enough to spread the damage.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + below(3) {
        let at = below(bytes.len());
        match below(4) {
            0 => bytes[at] = below(256) as u8,
            1 => bytes[at] ^= 1 << below(8),
            2 => {
                let extreme = [0, 1, u64::MAX, 1 << 63, 1 << 32, u64::MAX - 31][below(6)].to_le_bytes();
                let len = extreme.len().min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&extreme[..len]);
            }
            _ => bytes.truncate(at + 1),
        }
    }
    bytes
}
