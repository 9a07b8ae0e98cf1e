//! One sequence's sampler: settings and its own random numbers.

use super::candidates::{Candidates, likeliest};
use super::{Random, Sampling};
use crate::{Allowed, Error};

/// Chooses the tokens of one sequence.
#[derive(Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
}

impl Sampler {
    /// A sampler at the beginning of its random numbers.
    pub fn new(sampling: Sampling) -> Self {
        let random = Random::new(sampling.seed);
        Sampler { sampling, random }
    }

    /// Chooses from logits, `[vocab_size]`, after a history, newest token last.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToChoose`].
    pub fn choose(&mut self, logits: &[f32], history: &[u32]) -> Result<u32, Error> {
        self.choose_among(logits, Allowed::All, history)
    }

    /// As [`Self::choose`], from some tokens only. A single one is taken as it is, and costs no random number.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToChoose`].
    pub fn choose_among(
        &mut self,
        logits: &[f32],
        allowed: Allowed<'_>,
        history: &[u32],
    ) -> Result<u32, Error> {
        if let Some(id) = allowed.only().filter(|id| (*id as usize) < logits.len()) {
            return Ok(id);
        }
        let mut logits = self.sampling.penalised(history, logits);
        allowed.restrict(&mut logits);
        let id = if self.sampling.temperature == 0.0 {
            likeliest(&logits)
        } else {
            self.sampling.candidates(&logits).draw(self.sampling.temperature, self.random.uniform())
        };
        id.ok_or(Error::NothingToChoose)
    }
}

impl Sampling {
    /// The tokens that the filters leave.
    fn candidates(&self, logits: &[f32]) -> Candidates {
        let mut candidates = match self.top_k {
            0 => Candidates::all(logits),
            k => Candidates::likeliest(logits, k),
        };
        if !candidates.is_empty() {
            candidates.typical(self.typical);
            candidates.top_p(self.top_p);
            candidates.min_p(self.min_p);
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    impl Candidates {
        fn ids(&self) -> impl Iterator<Item = u32> {
            self.clone().into_list().into_iter().map(|candidate| candidate.id)
        }
    }

    /// What the settings leave, by their definitions: everything sorted, in f64, renormalised after each filter.
    fn naive(s: &Sampling, logits: &[f32]) -> Vec<(u32, f64)> {
        let mut left: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|l| f64::from(*l).exp())).collect();
        left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if s.top_k > 0 {
            left.truncate(s.top_k);
        }
        normalise(&mut left);
        if s.typical < 1.0 {
            let entropy: f64 = left.iter().map(|(_, p)| -p * p.ln()).sum();
            // Equal probabilities stay in the order of their ids.
            left.sort_by(|a, b| (-a.1.ln() - entropy).abs().total_cmp(&(-b.1.ln() - entropy).abs()));
            reach(&mut left, s.typical);
            left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        }
        if s.top_p < 1.0 {
            reach(&mut left, s.top_p);
        }
        let most = left[0].1;
        left.retain(|(_, p)| *p >= most * f64::from(s.min_p) * (1.0 - 1e-6));
        left.iter_mut().for_each(|(_, p)| *p = p.powf(1.0 / f64::from(s.temperature)));
        normalise(&mut left);
        left
    }

    fn normalise(left: &mut [(u32, f64)]) {
        let sum: f64 = left.iter().map(|(_, p)| p).sum();
        left.iter_mut().for_each(|(_, p)| *p /= sum);
    }

    fn reach(left: &mut Vec<(u32, f64)>, share: f32) {
        let mut reached = 0.0;
        let kept = left.iter().position(|(_, p)| {
            reached += p;
            reached >= f64::from(share)
        });
        left.truncate(kept.map_or(left.len(), |last| last + 1));
        normalise(left);
    }

    fn logits(seed: u64, count: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        // Rounded, so that some are equal.
        (0..count).map(|_| (random.uniform() * 80.0).round() as f32 / 10.0 - 3.0).collect()
    }

    fn settings(random: &mut Random) -> Sampling {
        let mut maybe = |value: f64, neutral: f64| {
            let share = random.uniform();
            if share < 0.4 { neutral } else { value * random.uniform() }
        };
        Sampling {
            top_k: maybe(50.0, 0.0) as usize,
            typical: maybe(1.0, 1.0) as f32,
            top_p: maybe(1.0, 1.0) as f32,
            min_p: maybe(1.0, 0.0) as f32,
            temperature: 0.3 + maybe(2.0, 0.0) as f32,
            ..Sampling::default()
        }
    }

    #[test]
    fn filters_keep_what_their_definitions_keep() {
        let mut random = Random::new(1);
        for round in 0..400 {
            let logits = logits(round, 1 + round as usize * 3);
            let s = settings(&mut random);
            let wanted = naive(&s, &logits);
            let mut found: Vec<u32> = s.candidates(&logits).ids().collect();
            found.sort_unstable();
            let mut ids: Vec<u32> = wanted.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            assert_eq!(found, ids, "{s:?} of {} tokens", logits.len());
        }
    }

    /// The draw is the inverse of the distribution's sum: just inside each token's share, that token comes.
    #[test]
    fn shares_are_the_renormalised_probabilities() {
        let mut random = Random::new(2);
        for round in 0..200 {
            let logits = logits(round, 1 + round as usize * 2);
            let s = settings(&mut random);
            let probabilities: HashMap<u32, f64> = naive(&s, &logits).into_iter().collect();
            let candidates = s.candidates(&logits);
            let mut begin = 0.0;
            for id in candidates.ids() {
                let p = probabilities[&id];
                // Quotients of logits are f32, good to a millionth of a share.
                for uniform in [begin + p * 0.01, begin + p * 0.99].into_iter().filter(|_| p > 1e-3) {
                    assert_eq!(candidates.draw(s.temperature, uniform), Some(id), "{s:?}");
                }
                begin += p;
            }
            assert!((begin - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn tokens_are_as_frequent_as_they_are_probable() {
        let logits = logits(3, 200);
        let s = Sampling {
            temperature: 0.9,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.02,
            seed: 77,
            ..Sampling::default()
        };
        let wanted = naive(&s, &logits);
        let mut sampler = Sampler::new(s);
        let draws = 40_000;
        let mut counts = vec![0u32; logits.len()];
        for _ in 0..draws {
            counts[sampler.choose(&logits, &[]).unwrap() as usize] += 1;
        }
        let expected = |p: f64| p * f64::from(draws);
        let chi_square: f64 = wanted
            .iter()
            .map(|(id, p)| (f64::from(counts[*id as usize]) - expected(*p)).powi(2) / expected(*p))
            .sum();
        let freedom = wanted.len() as f64 - 1.0;
        assert!(freedom > 10.0 && wanted.iter().all(|(_, p)| expected(*p) > 5.0), "a test that can fail");
        // Mean and deviation of chi-square are `freedom` and `sqrt(2 freedom)`.
        assert!(chi_square < freedom + 4.0 * (2.0 * freedom).sqrt(), "{chi_square} for {freedom}");
        assert_eq!(wanted.iter().map(|(id, _)| counts[*id as usize]).sum::<u32>(), draws);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let logits = logits(4, 100);
        let tokens = |seed| {
            let mut sampler = Sampler::new(Sampling { temperature: 1.0, seed, ..Sampling::default() });
            (0..50).map(|_| sampler.choose(&logits, &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(tokens(9), tokens(9));
        assert_ne!(tokens(9), tokens(10));
        assert_ne!(tokens(9), tokens(9 + (1 << 32)), "all 64 bits count");
    }

    #[test]
    fn without_temperature_penalties_still_count() {
        let mut logits = vec![0.0; 20];
        (logits[4], logits[5]) = (3.0, 2.9);
        let mut sampler = Sampler::new(Sampling { presence_penalty: 0.5, ..Sampling::default() });
        assert_eq!(sampler.choose(&logits, &[1, 2]).unwrap(), 4);
        assert_eq!(sampler.choose(&logits, &[1, 4]).unwrap(), 5);
        for temperature in [0.0, 1.0] {
            let logit_bias = (0..20).map(|id| (id, f32::NEG_INFINITY)).collect();
            let nothing = Sampling { logit_bias, temperature, ..Sampling::default() };
            let chosen = Sampler::new(nothing).choose(&logits, &[]);
            assert!(matches!(chosen, Err(Error::NothingToChoose)), "{chosen:?}");
        }
    }
}
