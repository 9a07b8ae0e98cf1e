//! Numbers that only look like chance: a function of a seed and of how many were drawn.

/// SplitMix64 (Steele et al., 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 up to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From the normal distribution (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f32 {
        // Away from zero, whose logarithm is none.
        let (radius, turn) = (1.0 - self.unit(), self.unit());
        ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
    }

    /// From `-bound` up to `bound`.
    pub(crate) fn between(&mut self, bound: f32) -> f32 {
        let unit = (self.bits() >> 40) as f32 / (1_u64 << 23) as f32;
        (unit - 1.0) * bound
    }
}
