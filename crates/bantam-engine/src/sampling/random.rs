//! A counter-based generator: number `n` of a seed is a function of both, so that a sequence draws the same
//! numbers whatever happens around it.

/// Philox 4x32 with ten rounds (Salmon et al., 2011).
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    counter: u64,
}

impl Random {
    /// The generator of a seed, at its beginning.
    pub fn new(seed: u64) -> Self {
        Random { key: [seed as u32, (seed >> 32) as u32], counter: 0 }
    }

    /// A number from 0 up to but not including 1, from the next 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let block = philox([self.counter as u32, (self.counter >> 32) as u32, 0, 0], self.key);
        self.counter += 1;
        let bits = u64::from(block[0]) << 32 | u64::from(block[1]);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..10 {
        let product = |i: usize, x: u32| u64::from(MULTIPLIERS[i]) * u64::from(x);
        let (a, b) = (product(0, counter[0]), product(1, counter[2]));
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 library, `kat_vectors`, philox4x32 10.
    #[test]
    fn philox_gives_the_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }

    #[test]
    fn numbers_are_uniform() {
        let mut random = Random::new(7);
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            counts[(random.uniform() * 10.0) as usize] += 1;
        }
        // Five standard deviations of a count of 1000.
        assert!(counts.iter().all(|c| c.abs_diff(1000) < 150), "{counts:?}");
    }
}
