//! What steps of the sampled Gaussian mechanism give away together, by its Rényi divergences.
//!
//! The divergence of order `a` of one step is `ln E[((1 - q) + q e^((2 z - 1) / (2 s²)))^a] / (a - 1)` over `z ~ N(0, s²)`
//! (Mironov, Talwar and Zhang, 2019), for one example more or less; steps add up; the least epsilon over all orders counts
//! (conversion of Canonne, Kamath and Steinke, 2020). The expectation is a sum over a fine grid, for any real order.

/// The sampled Gaussian mechanism.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accountant {
    /// The chance of each example to be in a step.
    pub sampling_rate: f64,
    /// The noise's deviation, in multiples of the length of one example's gradient.
    pub noise_multiplier: f64,
    /// How many.
    pub steps: u64,
}

impl Accountant {
    /// The least epsilon for which the steps are (epsilon, delta) private as far as can be shown this way; infinite
    /// without noise.
    pub fn epsilon(&self, delta: f64) -> f64 {
        if self.steps == 0 || self.sampling_rate == 0.0 {
            return 0.0;
        }
        let of_order = |order: f64| {
            let divergence = self.steps as f64 * self.divergence(order);
            divergence + (-1.0 / order).ln_1p() - (delta * order).ln() / (order - 1.0)
        };
        orders().map(of_order).fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// The least noise with which so many steps stay within an epsilon; none where no noise of at most 1000 is enough.
    pub fn noise_for(sampling_rate: f64, steps: u64, epsilon: f64, delta: f64) -> Option<f64> {
        let at = |noise_multiplier| Accountant { sampling_rate, noise_multiplier, steps }.epsilon(delta);
        let (mut low, mut high) = (0.05, 1.0);
        while at(high) > epsilon {
            (low, high) = (high, 2.0 * high);
            if high > 1000.0 {
                return None;
            }
        }
        // To a part in ten thousand, from above.
        while high / low > 1.0001 {
            let middle = (low * high).sqrt();
            if at(middle) > epsilon { low = middle } else { high = middle }
        }
        Some(high)
    }

    /// The Rényi divergence of one step.
    fn divergence(&self, order: f64) -> f64 {
        let (q, s) = (self.sampling_rate, self.noise_multiplier);
        if s == 0.0 {
            return f64::INFINITY;
        }
        if q >= 1.0 {
            return order / (2.0 * s * s);
        }
        // The ratio's logarithm bends within s² of one place; the whole has its weight between 0 and the order.
        let step = s.min(s * s) / 16.0;
        let (begin, end) = (-12.0 * s, order + 12.0 * s);
        let count = ((end - begin) / step).ceil() as usize;
        let mut sum = LogSum::default();
        for i in 0..=count {
            let z = begin + i as f64 * step;
            let ratio = log_mixture(q, (2.0 * z - 1.0) / (2.0 * s * s));
            sum.add(order * ratio - z * z / (2.0 * s * s));
        }
        let density = step.ln() - s.ln() - 0.5 * std::f64::consts::TAU.ln();
        ((sum.value() + density) / (order - 1.0)).max(0.0)
    }
}

/// `ln((1 - q) + q e^x)`
fn log_mixture(q: f64, x: f64) -> f64 {
    if x > 30.0 { x + q.ln() + ((1.0 - q) / q * (-x).exp()).ln_1p() } else { (q * x.exp_m1()).ln_1p() }
}

/// The logarithm of a sum, from the logarithms of what is added.
struct LogSum {
    most: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        LogSum { most: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    fn add(&mut self, x: f64) {
        if x <= self.most {
            self.sum += (x - self.most).exp();
        } else {
            self.sum = self.sum * (self.most - x).exp() + 1.0;
            self.most = x;
        }
    }

    fn value(&self) -> f64 {
        self.most + self.sum.ln()
    }
}

/// Close together where budgets of 1 to 10 have their least epsilon.
fn orders() -> impl Iterator<Item = f64> {
    let fine = (1..100).map(|i| 1.0 + f64::from(i) / 10.0);
    let coarse = (11..64).map(f64::from);
    fine.chain(coarse).chain([80.0, 96.0, 128.0, 192.0, 256.0, 512.0])
}
