//! How the learning rate goes with the steps.

/// The rate of each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub rate: f32,
    /// Steps in which the rate rises in a line to the highest.
    pub warmup_steps: u64,
    /// All steps.
    pub steps: u64,
    /// How it falls afterwards.
    pub decay: Decay,
}

/// How the rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    Constant,
    /// In a line, to zero after the last step.
    Linear,
    /// As half a wave, to this share of the highest rate after the last step (Loshchilov and Hutter, 2017).
    Cosine {
        /// From 0 to 1.
        floor: f32,
    },
    /// Stays, and falls in a line to zero over this share of the steps at the end (WSD, Hu et al., 2024).
    AtTheEnd {
        /// From 0 to 1.
        share: f32,
    },
}

impl Schedule {
    /// The rate of a step, counted from zero.
    pub fn at(&self, step: u64) -> f32 {
        if step < self.warmup_steps {
            return self.rate * (step + 1) as f32 / self.warmup_steps as f32;
        }
        let left = self.steps.saturating_sub(step) as f64;
        let all = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let factor = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => left / all,
            Decay::Cosine { floor } => {
                let floor = f64::from(floor);
                floor + (1.0 - floor) * 0.5 * (1.0 - (std::f64::consts::PI * (left / all)).cos())
            }
            Decay::AtTheEnd { share } => (left / (self.steps as f64 * f64::from(share)).max(1.0)).min(1.0),
        };
        (f64::from(self.rate) * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(decay: Decay) -> Vec<f32> {
        let schedule = Schedule { rate: 1.0, warmup_steps: 2, steps: 10, decay };
        (0..11).map(|step| (schedule.at(step) * 1000.0).round() / 1000.0).collect()
    }

    #[test]
    fn rates_of_ten_steps() {
        assert_eq!(rates(Decay::Constant), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let line = [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0];
        assert_eq!(rates(Decay::Linear), line);
        let wave = [0.5, 1.0, 1.0, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038, 0.0];
        assert_eq!(rates(Decay::Cosine { floor: 0.0 }), wave);
        assert_eq!(rates(Decay::Cosine { floor: 0.1 })[10], 0.1);
        let end = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0];
        assert_eq!(rates(Decay::AtTheEnd { share: 0.4 }), end);
    }
}
