//! Random numbers, the machines that results must agree on, and distances.

use bantam_kernels::{Isa, Machine, Storage};

/// SplitMix64 (Steele et al., 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Between 0 and 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Nearly normal: the sum of twelve uniform numbers has variance one.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    pub(crate) fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// Weights: all bits at random, but for scales (and minima), which are between 1/64 and 1/16 in magnitude.
    pub(crate) fn weights(&mut self, storage: Storage, count: usize) -> Vec<u8> {
        let bytes = storage.bytes_of(count).expect("whole blocks");
        match storage {
            Storage::F32 => self.normals(count).iter().flat_map(|x| x.to_le_bytes()).collect(),
            Storage::F16 => {
                let half = |x: &f32| half::f16::from_f32(*x).to_le_bytes();
                self.normals(count).iter().flat_map(half).collect()
            }
            Storage::BF16 => {
                let half = |x: &f32| half::bf16::from_f32(*x).to_le_bytes();
                self.normals(count).iter().flat_map(half).collect()
            }
            quantized => {
                let mut blocks: Vec<u8> = (0..bytes).map(|_| self.bits() as u8).collect();
                for block in blocks.chunks_exact_mut(quantized.block_bytes()) {
                    for offset in halves(quantized) {
                        let sign = if self.bits() & 1 == 0 { 1.0 } else { -1.0 };
                        let scale = half::f16::from_f32(sign * (1.0 + 3.0 * self.uniform()) / 64.0);
                        block[*offset..][..2].copy_from_slice(&scale.to_le_bytes());
                    }
                }
                blocks
            }
        }
    }
}

/// Where the half-precision numbers of a block lie.
fn halves(storage: Storage) -> &'static [usize] {
    match storage {
        Storage::Q4_1 | Storage::Q5_1 | Storage::Q4K | Storage::Q5K => &[0, 2],
        Storage::Q2K => &[80, 82],
        Storage::Q3K => &[108],
        Storage::Q6K => &[208],
        _ => &[0],
    }
}

/// The truth first: scalar code on one thread. Then every instruction set on one, two and three threads.
pub(crate) fn machines() -> Vec<Machine> {
    let mut machines = vec![Machine::new(Isa::SCALAR, 1), Machine::new(Isa::SCALAR, 3)];
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::SCALAR) {
        machines.extend((1..4).map(|threads| Machine::new(isa, threads)));
    }
    machines
}

/// Runs `work` on every machine and asserts that all give the same bits; gives them.
pub(crate) fn same_on_all(what: &str, work: impl Fn(&Machine) -> Vec<f32>) -> Vec<f32> {
    let machines = machines();
    let truth = work(&machines[0]);
    for machine in &machines[1..] {
        let where_ = format!("{what} on {} with {} threads", machine.isa(), machine.threads());
        assert_same(&where_, &truth, &work(machine));
    }
    truth
}

/// Asserts equality bit by bit. NaNs are all alike, since no rule fixes their payloads.
pub(crate) fn assert_same(what: &str, expected: &[f32], found: &[f32]) {
    assert_eq!(expected.len(), found.len(), "{what}");
    for (i, (e, f)) in expected.iter().zip(found).enumerate() {
        let same = e.to_bits() == f.to_bits() || e.is_nan() && f.is_nan();
        assert!(same, "{what}: number {i} is {f:e} and not {e:e}");
    }
}

pub(crate) fn widened(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// The squared error over the squared truth.
pub(crate) fn nmse(truth: &[f64], found: &[f32]) -> f64 {
    assert_eq!(truth.len(), found.len());
    let error: f64 = truth.iter().zip(found).map(|(t, f)| (t - f64::from(*f)).powi(2)).sum();
    error / truth.iter().map(|t| t * t).sum::<f64>()
}
