//! The tokens that may still be chosen, and the filters that take some away.
//!
//! Candidates are kept likeliest first as far as a filter needs it; a vocabulary is never sorted whole. What a filter
//! leaves is in order, or in the order of ids where no filter needed one.

use std::cmp::Ordering;

use super::logprobs::{exp, greatest, sum_exp};

/// A token that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
}

/// Tokens that may be chosen; those whose logit is minus infinity may not.
#[derive(Clone)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// So many at the front are in order, likeliest first; the rest are less likely than all of them.
    ordered: usize,
}

/// Likeliest first; of equal ones, the lowest id.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

impl Candidates {
    /// Every token.
    pub(super) fn all(logits: &[f32]) -> Self {
        let list = logits.iter().zip(0..).map(|(logit, id)| Candidate { id, logit: *logit });
        Candidates { list: list.filter(|c| c.logit > f32::NEG_INFINITY).collect(), ordered: 0 }
    }

    /// The `k` likeliest tokens, in order; one pass with a short list.
    pub(super) fn likeliest(logits: &[f32], k: usize) -> Self {
        let k = k.clamp(1, logits.len().max(1));
        let mut list = Vec::with_capacity(2 * k);
        let mut least = f32::NEG_INFINITY;
        for (logit, id) in logits.iter().zip(0..) {
            // An equal one that comes later has a higher id, and loses.
            if *logit > least {
                list.push(Candidate { id, logit: *logit });
                if list.len() == 2 * k {
                    least = list.select_nth_unstable_by(k - 1, order).1.logit;
                    list.truncate(k);
                }
            }
        }
        list.sort_unstable_by(order);
        list.truncate(k);
        Candidates { ordered: list.len(), list }
    }

    pub(super) fn into_list(self) -> Vec<Candidate> {
        self.list
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The shortest front whose probabilities reach `p`; always one.
    pub(super) fn top_p(&mut self, p: f32) {
        if p < 1.0 {
            let kept = self.reaching(f64::from(p));
            self.list.truncate(kept);
            self.ordered = kept;
        }
    }

    /// Those at least `p` times as probable as the likeliest.
    pub(super) fn min_p(&mut self, p: f32) {
        if p > 0.0 {
            let least = self.greatest() + p.ln();
            // The order of what stays is kept, so the front stays in order.
            let ordered = self.list[..self.ordered].iter().filter(|c| c.logit >= least).count();
            self.list.retain(|c| c.logit >= least);
            self.ordered = ordered;
        }
    }

    /// The tokens whose surprise is closest to the expected one, until their probabilities reach `p`.
    pub(super) fn typical(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let (greatest, sum) = self.normal(1.0);
        // The surprise is this much more than the distance from the greatest logit.
        let log_sum = sum.ln();
        let below = |c: &Candidate| greatest - c.logit;
        let probability = |c: &Candidate| f64::from(exp(-below(c))) / sum;
        let expected: f64 = self.list.iter().map(|c| probability(c) * (log_sum + f64::from(below(c)))).sum();
        let off = |c: &Candidate| (log_sum + f64::from(below(c)) - expected).abs();
        let mut by_off: Vec<(f64, Candidate)> = self.list.iter().map(|c| (off(c), *c)).collect();
        let nearest =
            |a: &(f64, Candidate), b: &(f64, Candidate)| a.0.total_cmp(&b.0).then(order(&a.1, &b.1));
        let kept = reaching(&mut by_off, 0, f64::from(p), nearest, |(_, c)| probability(c));
        self.list = by_off[..kept].iter().map(|(_, candidate)| *candidate).collect();
        self.ordered = 0;
    }

    /// Draws one, or none from none: `uniform` lies between 0 and 1, and probabilities are laid side by side in the
    /// order that the filters leave, which follows from the logits alone.
    pub(super) fn draw(&self, temperature: f32, uniform: f64) -> Option<u32> {
        let (greatest, sum) = self.normal(temperature);
        let mut reached = 0.0;
        let drawn = self.list.iter().find(|c| {
            reached += f64::from(exp((c.logit - greatest) / temperature));
            reached > uniform * sum
        });
        drawn.or(self.list.last()).map(|candidate| candidate.id)
    }

    fn greatest(&self) -> f32 {
        match self.ordered {
            0 => self.list.iter().map(|c| c.logit).fold(f32::NEG_INFINITY, f32::max),
            _ => self.list[0].logit,
        }
    }

    /// What probabilities are made with: the greatest logit, and the sum of all `exp((logit - greatest) / temperature)`.
    fn normal(&self, temperature: f32) -> (f32, f64) {
        let greatest = self.greatest();
        (greatest, sum_exp(&self.list, |c| (c.logit - greatest) / temperature))
    }

    /// Puts the likeliest in order until their probabilities reach a share of one; how many that are.
    fn reaching(&mut self, share: f64) -> usize {
        let (greatest, sum) = self.normal(1.0);
        let probability = |c: &Candidate| f64::from(exp(c.logit - greatest)) / sum;
        reaching(&mut self.list, self.ordered, share, order, probability)
    }
}

/// Puts items in order from the front on, of which `ordered` are so already, until their weights reach `share`;
/// how many that are, at least one if there is any.
fn reaching<T>(
    list: &mut [T],
    mut ordered: usize,
    share: f64,
    order: impl Fn(&T, &T) -> Ordering,
    weight: impl Fn(&T) -> f64,
) -> usize {
    let mut reached = 0.0;
    for place in 0..list.len() {
        if place == ordered {
            // Most often a few dozen are enough.
            ordered = (8 * place).max(64).min(list.len());
            let (rest, more) = (&mut list[place..], ordered - place);
            if more < rest.len() {
                rest.select_nth_unstable_by(more - 1, &order);
            }
            rest[..more].sort_unstable_by(&order);
        }
        reached += weight(&list[place]);
        if reached >= share {
            return place + 1;
        }
    }
    list.len()
}

/// The likeliest token; of equal ones, the lowest id; none if all are forbidden.
pub(super) fn likeliest(logits: &[f32]) -> Option<u32> {
    let greatest = greatest(logits);
    let place = logits.iter().position(|logit| *logit == greatest);
    place.filter(|_| greatest > f32::NEG_INFINITY).map(|place| place as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Random;

    /// Rounded, so that some are equal.
    fn logits(seed: u64, count: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..count).map(|_| (random.uniform() * 80.0).round() as f32 / 10.0).collect()
    }

    fn sorted(logits: &[f32]) -> Vec<Candidate> {
        let mut all = Candidates::all(logits).list;
        all.sort_by(order);
        all
    }

    #[test]
    fn the_likeliest_are_the_front_of_everything_sorted() {
        for seed in 0..60 {
            let logits = logits(seed, 1 + seed as usize * 11);
            for k in [1, 2, 3, 40, 1000, usize::MAX] {
                let wanted = &sorted(&logits)[..k.min(logits.len())];
                assert_eq!(Candidates::likeliest(&logits, k).list, wanted, "top {k}, seed {seed}");
            }
        }
        let rising: Vec<f32> = (0..500).map(|i| i as f32).collect();
        assert_eq!(Candidates::likeliest(&rising, 7).list, &sorted(&rising)[..7]);
    }

    #[test]
    fn a_share_is_reached_in_order_without_sorting_all() {
        let logits = logits(5, 5000);
        for share in [0.0, 0.01, 0.3, 0.9, 0.999, 1.0] {
            let mut candidates = Candidates::all(&logits);
            let count = candidates.reaching(share);
            assert_eq!(&candidates.list[..count], &sorted(&logits)[..count], "share {share}");
        }
    }

    #[test]
    fn the_likeliest_of_equals_has_the_lowest_id() {
        let mut logits = vec![1.0; 40];
        (logits[17], logits[3], logits[30]) = (5.0, 5.0, 7.0);
        assert_eq!(likeliest(&logits), Some(30));
        assert_eq!(likeliest(&logits[..30]), Some(3));
        let ids: Vec<u32> = Candidates::likeliest(&logits, 4).list.iter().map(|c| c.id).collect();
        assert_eq!(ids, [30, 3, 17, 0]);
    }

    #[test]
    fn forbidden_tokens_are_no_candidates() {
        const NEVER: f32 = f32::NEG_INFINITY;
        assert_eq!(likeliest(&[NEVER, -1e30, NEVER]), Some(1));
        assert_eq!(likeliest(&[NEVER; 3]), None);
        assert_eq!(Candidates::all(&[NEVER, -5.0, NEVER]).draw(1.0, 0.999), Some(1));
        assert_eq!(Candidates::likeliest(&[NEVER, -5.0, NEVER], 3).draw(1.0, 0.0), Some(1));
        assert_eq!(Candidates::all(&[NEVER; 3]).draw(1.0, 0.5), None);
    }
}
