//! One sequence's sampler: settings, history, and its own random numbers.

use super::candidates::{Candidates, likeliest, top};
use super::random::Random;
use super::{Sampling, penalties};

/// Chooses the tokens of one sequence.
pub struct Sampler {
    sampling: Sampling,
    random: Random,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its id.
    pub id: u32,
    /// The logarithm of its probability under the model.
    pub logprob: f32,
    /// The likeliest tokens and theirs.
    pub top: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler at the beginning of its random numbers.
    pub fn new(sampling: Sampling) -> Self {
        let random = Random::new(sampling.seed);
        Sampler { sampling, random }
    }

    /// Chooses from logits after a history, newest token last; tells the `top_logprobs` likeliest too.
    pub fn choose(&mut self, logits: &[f32], history: &[u32], top_logprobs: usize) -> Choice {
        let normal = log_sum_exp(logits);
        let logprob = |logit: f32| (f64::from(logit) - normal) as f32;
        let likely = if top_logprobs > 0 { top(logits, top_logprobs) } else { Vec::new() };
        let id = self.pick(logits, history);
        Choice {
            id,
            logprob: logprob(logits[id as usize]),
            top: likely.into_iter().map(|c| (c.id, logprob(c.logit))).collect(),
        }
    }

    fn pick(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        let mut changed = logits.to_vec();
        let s = &self.sampling;
        penalties::apply(s, history, &mut changed);
        if s.temperature == 0.0 {
            return likeliest(&changed);
        }
        let mut candidates = Candidates::new(&changed);
        candidates.top_k(s.top_k);
        candidates.typical(s.typical);
        candidates.top_p(s.top_p);
        candidates.min_p(s.min_p);
        candidates.draw(s.temperature, self.random.uniform())
    }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - greatest).exp()).sum();
    f64::from(greatest) + sum.ln()
}
