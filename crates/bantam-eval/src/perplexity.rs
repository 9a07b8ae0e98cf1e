//! The exponential of the mean negative log-probability.

use bantam_engine::sampling::log_sum_exp;

/// Sums over scored tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    count: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl Perplexity {
    /// Adds a token's negative log-probability, in nats.
    pub fn add(&mut self, nll: f64) {
        self.count += 1;
        self.sum += nll;
        self.sum_of_squares += nll * nll;
    }

    /// Tokens so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Nats per token.
    pub fn mean_nll(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// The perplexity.
    pub fn value(&self) -> f64 {
        self.mean_nll().exp()
    }

    /// Its standard error, as llama.cpp prints it: that of the mean, times the perplexity.
    pub fn error(&self) -> f64 {
        if self.count < 2 {
            return f64::INFINITY;
        }
        let mean = self.mean_nll();
        let variance = (self.sum_of_squares / self.count as f64 - mean * mean).max(0.0);
        (variance / (self.count - 1) as f64).sqrt() * self.value()
    }
}

/// The negative log-probability of a token, in nats.
pub fn nll(logits: &[f32], token: u32) -> f64 {
    log_sum_exp(logits) - f64::from(logits[token as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_have_the_vocabulary_as_their_perplexity() {
        let mut perplexity = Perplexity::default();
        for _ in 0..10 {
            perplexity.add(log_sum_exp(&[3.5; 50]) - 3.5);
        }
        assert!((perplexity.value() - 50.0).abs() < 1e-9);
        assert!(perplexity.error() < 1e-6);
    }

    #[test]
    fn the_error_is_that_of_the_mean() {
        let mut perplexity = Perplexity::default();
        [1.0, 2.0, 3.0].into_iter().for_each(|nll| perplexity.add(nll));
        // The variance is 2/3, that of the mean 1/3.
        assert!((perplexity.error() - (1.0f64 / 3.0).sqrt() * 2.0f64.exp()).abs() < 1e-12);
    }
}
