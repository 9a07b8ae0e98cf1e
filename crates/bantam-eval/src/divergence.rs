//! How far one model's predictions are from another's.

use bantam_engine::sampling::log_sum_exp;

use crate::perplexity::Perplexity;
use crate::predictions::Row;

/// Sums over scored tokens of a base model's predictions `p` and another's `q`.
#[derive(Clone, Debug, Default)]
pub struct Divergence {
    divergences: Vec<f32>,
    base: Perplexity,
    other: Perplexity,
    /// Sum of the products of both negative log-probabilities, for their covariance.
    products: f64,
    same_top: u64,
    shift: f64,
    squared_shift: f64,
}

/// What [`Divergence`] amounts to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DivergenceReport {
    /// Scored tokens.
    pub tokens: usize,
    /// Mean of `KL(p || q)`, nats per token.
    pub mean: f64,
    /// Its standard error.
    pub mean_error: f64,
    /// The greatest.
    pub greatest: f64,
    /// 99 of 100 tokens lie below.
    pub percentile_99: f64,
    /// 999 of 1000 tokens lie below.
    pub percentile_999: f64,
    /// Share of tokens where both think the same token likeliest.
    pub same_top: f64,
    /// Mean change of the right token's probability.
    pub mean_shift: f64,
    /// Root of the mean square of that change.
    pub rms_shift: f64,
    /// Perplexity of the base, whose file holds no logit further than 16 below the greatest.
    pub base_perplexity: f64,
    /// Perplexity of the other, its logits cut off likewise.
    pub perplexity: f64,
    /// The other's perplexity by the base's.
    pub ratio: f64,
    /// Its standard error, which knows that both saw the same text.
    pub ratio_error: f64,
}

/// A file of predictions holds no logit further than this from the greatest; base probabilities below `exp` of it are
/// left out.
const LEAST_LOG_P: f32 = -16.0;

impl Divergence {
    /// Adds a position: the base's predictions, the other's logits, and the token that came.
    pub fn add(&mut self, base: &Row, logits: &[f32], token: u32) {
        let normal = log_sum_exp(logits);
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The base's predictions were cut off there too: else a token that hardly anyone expects would count for one
        // and not for the other.
        let least = f64::from(greatest + LEAST_LOG_P) - normal;
        let (mut sum, mut base_top, mut base_top_log_p) = (0.0, 0, f32::NEG_INFINITY);
        let mut of_token = (0.0, 0.0);
        for (id, (log_p, logit)) in base.log_probabilities().zip(logits).enumerate() {
            let log_q = f64::from(*logit) - normal;
            if log_p > LEAST_LOG_P {
                sum += f64::from(log_p).exp() * (f64::from(log_p) - log_q);
            }
            if log_p > base_top_log_p {
                (base_top, base_top_log_p) = (id, log_p);
            }
            if id == token as usize {
                of_token = (f64::from(log_p), log_q.max(least));
            }
        }
        self.divergences.push(sum as f32);
        self.base.add(-of_token.0);
        self.other.add(-of_token.1);
        self.products += of_token.0 * of_token.1;
        let shift = of_token.1.exp() - of_token.0.exp();
        self.shift += shift;
        self.squared_shift += shift * shift;
        self.same_top += u64::from(logits.get(base_top) == Some(&greatest));
    }

    /// What it amounts to; `None` before the first position.
    pub fn report(&self) -> Option<DivergenceReport> {
        let tokens = self.divergences.len();
        if tokens == 0 {
            return None;
        }
        let n = tokens as f64;
        let mut ordered = self.divergences.clone();
        ordered.sort_by(f32::total_cmp);
        let percentile = |share: f64| f64::from(ordered[((n - 1.0) * share).round() as usize]);
        let sum: f64 = self.divergences.iter().copied().map(f64::from).sum();
        let squares: f64 = self.divergences.iter().map(|d| f64::from(*d).powi(2)).sum();
        let mean = sum / n;
        let (base, other) = (self.base.mean_nll(), self.other.mean_nll());
        let covariance = (self.products / n - base * other) / (n - 1.0).max(1.0);
        let variance_of = |p: &Perplexity| (p.error() / p.value()).powi(2);
        let spread = variance_of(&self.base) + variance_of(&self.other) - 2.0 * covariance;
        let ratio = (other - base).exp();
        Some(DivergenceReport {
            tokens,
            mean,
            mean_error: ((squares / n - mean * mean).max(0.0) / (n - 1.0).max(1.0)).sqrt(),
            greatest: percentile(1.0),
            percentile_99: percentile(0.99),
            percentile_999: percentile(0.999),
            same_top: self.same_top as f64 / n,
            mean_shift: self.shift / n,
            rms_shift: (self.squared_shift / n).sqrt(),
            base_perplexity: self.base.value(),
            perplexity: self.other.value(),
            ratio,
            ratio_error: spread.max(0.0).sqrt() * ratio,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(seed: u32, n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i as u64 * 2_654_435_761 + u64::from(seed) * 40_503) % 1000) as f32 / 100.0)
            .collect()
    }

    #[test]
    fn a_model_does_not_diverge_from_itself() {
        let mut divergence = Divergence::default();
        for seed in 0..20 {
            let x = logits(seed, 101);
            divergence.add(&Row::of(&x), &x, seed);
        }
        let report = divergence.report().unwrap();
        // What remains is the rounding of the file: half of a 65535th of the span of 10.
        assert!(report.mean.abs() < 8e-5 && report.greatest < 8e-5, "{report:?}");
        assert_eq!(report.same_top, 1.0);
        assert!((report.ratio - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_token_that_the_file_cannot_hold_counts_for_both_alike() {
        let mut divergence = Divergence::default();
        let mut x = logits(3, 101);
        x[7] = -60.0;
        divergence.add(&Row::of(&x), &x, 7);
        let report = divergence.report().unwrap();
        assert!((report.ratio - 1.0).abs() < 1e-3, "{report:?}");
    }

    #[test]
    fn the_divergence_is_that_of_the_definition() {
        let (p, q) = (logits(1, 40), logits(2, 40));
        let normalised = |x: &[f32]| {
            let normal = log_sum_exp(x);
            x.iter().map(|v| f64::from(*v) - normal).collect::<Vec<f64>>()
        };
        let (log_p, log_q) = (normalised(&p), normalised(&q));
        let wanted: f64 = log_p.iter().zip(&log_q).map(|(p, q)| p.exp() * (p - q)).sum();
        let mut divergence = Divergence::default();
        divergence.add(&Row::of(&p), &q, 3);
        let found = divergence.report().unwrap();
        assert!((found.mean - wanted).abs() < 1e-3 * wanted, "{} for {wanted}", found.mean);
        assert!((found.perplexity.ln() + log_q[3]).abs() < 1e-6);
    }
}
