//! Chance that cannot be foreseen: ChaCha20 (RFC 8439) under a secret key, and what is drawn from it.
//!
//! A step's examples and its noise are a function of the key and the step's number alone, so that a run that was stopped
//! goes on with the same bits.

/// A secret key and what follows from it.
#[derive(Clone)]
pub struct Noise {
    key: [u32; 8],
}

/// What a stream is for; each has numbers of its own.
#[derive(Clone, Copy)]
enum Purpose {
    Sampling = 1,
    Gaussian = 2,
}

impl Noise {
    /// Under this key, which whoever knows it can take the noise off again.
    pub fn new(key: [u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Noise { key: words }
    }

    /// The places of the examples of a step: each of `count` with the same chance, on its own.
    pub fn chosen(&self, step: u64, count: usize, rate: f64) -> Vec<usize> {
        let mut stream = self.stream(Purpose::Sampling, step);
        (0..count).filter(|_| stream.unit() < rate).collect()
    }

    /// Normal deviates of a step.
    pub(super) fn gaussian(&self, step: u64) -> Gaussian {
        Gaussian { stream: self.stream(Purpose::Gaussian, step), second: None }
    }

    fn stream(&self, purpose: Purpose, step: u64) -> Stream {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&CONSTANTS);
        state[4..12].copy_from_slice(&self.key);
        (state[13], state[14], state[15]) = (purpose as u32, step as u32, (step >> 32) as u32);
        Stream { state, block: [0; 16], used: 16 }
    }
}

impl std::fmt::Debug for Noise {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noise")
    }
}

/// "expand 32-byte k"
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The blocks under one key and nonce; 256 GiB of them.
struct Stream {
    state: [u32; 16],
    block: [u32; 16],
    used: usize,
}

impl Stream {
    fn word(&mut self) -> u32 {
        if self.used == 16 {
            self.block = block(&self.state);
            self.state[12] = self.state[12].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// From 0 to below 1, in steps of 2^-53.
    fn unit(&mut self) -> f64 {
        let bits = u64::from(self.word()) << 32 | u64::from(self.word());
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn block(state: &[u32; 16]) -> [u32; 16] {
    let mut x = *state;
    for _ in 0..10 {
        for [a, b, c, d] in QUARTERS {
            (x[a], x[d]) = mixed(x[a], x[b], x[d], 16);
            (x[c], x[b]) = mixed(x[c], x[d], x[b], 12);
            (x[a], x[d]) = mixed(x[a], x[b], x[d], 8);
            (x[c], x[b]) = mixed(x[c], x[d], x[b], 7);
        }
    }
    for (x, before) in x.iter_mut().zip(state) {
        *x = x.wrapping_add(*before);
    }
    x
}

/// Columns, then diagonals.
const QUARTERS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

fn mixed(sum: u32, add: u32, turn: u32, by: u32) -> (u32, u32) {
    let sum = sum.wrapping_add(add);
    (sum, (turn ^ sum).rotate_left(by))
}

/// Normal deviates by Box and Muller, in f64.
pub(super) struct Gaussian {
    stream: Stream,
    second: Option<f64>,
}

impl Gaussian {
    /// The next, with mean 0 and deviation 1.
    pub(super) fn draw(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        // Above 0, so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.stream.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.stream.unit()).sin_cos();
        self.second = Some(radius * sin);
        radius * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2.
    #[test]
    fn the_block_of_the_rfc() {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let mut state = Noise::new(key).stream(Purpose::Sampling, 0).state;
        (state[12], state[13], state[14], state[15]) = (1, 0x0900_0000, 0x4a00_0000, 0);
        let found = block(&state);
        assert_eq!(found[..4], [0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3]);
        assert_eq!(found[12..], [0xd19c_12b5, 0xb94e_16de, 0xe883_d0cb, 0x4e3c_50a2]);
    }

    #[test]
    fn deviates_are_normal_and_steps_differ() {
        let noise = Noise::new([7; 32]);
        let draws = |step| {
            let mut gaussian = noise.gaussian(step);
            (0..20_000).map(|_| gaussian.draw()).collect::<Vec<f64>>()
        };
        let (first, second) = (draws(0), draws(1));
        assert_ne!(first[..4], second[..4]);
        assert_eq!(first, draws(0));
        let moment = |power| first.iter().map(|x| x.powi(power)).sum::<f64>() / first.len() as f64;
        // Within five deviations of each mean.
        for (power, wanted, error) in
            [(1, 0.0, 1.0), (2, 1.0, 2f64.sqrt()), (3, 0.0, 15f64.sqrt()), (4, 3.0, 96f64.sqrt())]
        {
            let bound = 5.0 * error / (first.len() as f64).sqrt();
            assert!((moment(power) - wanted).abs() < bound, "{power}: {}", moment(power));
        }
    }

    #[test]
    fn examples_come_at_their_rate() {
        let noise = Noise::new([1; 32]);
        let counts: Vec<usize> = (0..100).map(|step| noise.chosen(step, 1000, 0.05).len()).collect();
        let mean = counts.iter().sum::<usize>() as f64 / 100.0;
        assert!((mean - 50.0).abs() < 3.5, "{mean}");
        assert!(counts.iter().any(|count| *count != counts[0]));
        assert_eq!(noise.chosen(3, 10, 1.0), (0..10).collect::<Vec<_>>());
    }
}
