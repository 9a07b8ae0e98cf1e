//! The tokens that may still be chosen, and the filters that take some away.
//!
//! Candidates are kept likeliest first as far as a filter needs it; a vocabulary is never sorted whole.

/// A token that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
}

/// Tokens that may be chosen.
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// So many at the front are in order, likeliest first; the rest are less likely than all of them.
    ordered: usize,
}

/// Likeliest first; of equal ones, the lowest id.
fn order(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

impl Candidates {
    pub(super) fn new(logits: &[f32]) -> Self {
        let list = logits.iter().enumerate().map(|(id, logit)| Candidate { id: id as u32, logit: *logit });
        Candidates { list: list.collect(), ordered: 0 }
    }

    /// Puts the `count` likeliest in order at the front.
    fn order_front(&mut self, count: usize) {
        let count = count.min(self.list.len());
        if count <= self.ordered {
            return;
        }
        let rest = &mut self.list[self.ordered..];
        let more = count - self.ordered;
        if more < rest.len() {
            rest.select_nth_unstable_by(more - 1, order);
        }
        rest[..more].sort_unstable_by(order);
        self.ordered = count;
    }

    /// The probabilities' common divisor: the sum of `exp(logit - greatest)`, and the greatest.
    fn normal(&mut self) -> (f64, f32) {
        self.order_front(1);
        let greatest = self.list[0].logit;
        (self.list.iter().map(|c| f64::from(c.logit - greatest).exp()).sum(), greatest)
    }

    pub(super) fn top_k(&mut self, k: usize) {
        if k > 0 && k < self.list.len() {
            self.order_front(k);
            self.list.truncate(k);
        }
    }

    /// The shortest front whose probabilities reach `p`; always one.
    pub(super) fn top_p(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let (sum, greatest) = self.normal();
        let (mut reached, mut kept) = (0.0, 0);
        while kept < self.list.len() {
            if kept >= self.ordered {
                // Most often a few dozen tokens are enough.
                self.order_front((2 * kept).max(64));
            }
            reached += f64::from(self.list[kept].logit - greatest).exp() / sum;
            kept += 1;
            if reached >= f64::from(p) {
                break;
            }
        }
        self.list.truncate(kept);
        self.ordered = kept;
    }

    /// Those at least `p` times as probable as the likeliest.
    pub(super) fn min_p(&mut self, p: f32) {
        if p <= 0.0 {
            return;
        }
        self.order_front(1);
        let least = self.list[0].logit + p.ln();
        // The order of what stays is kept, so the front stays in order.
        let kept_of_front = self.list[..self.ordered].iter().filter(|c| c.logit >= least).count();
        let first = self.list[0];
        self.list.retain(|c| c.logit >= least);
        if self.list.is_empty() {
            self.list.push(first);
        }
        self.ordered = kept_of_front.max(1);
    }

    /// The tokens whose surprise is closest to the expected one, until their probabilities reach `p`.
    pub(super) fn typical(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let (sum, greatest) = self.normal();
        let log_p = |c: &Candidate| f64::from(c.logit - greatest) - sum.ln();
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        let entropy: f64 = -self.list.iter().map(|c| finite(log_p(c).exp() * log_p(c))).sum::<f64>();
        let distance = |c: &Candidate| (-log_p(c) - entropy).abs();
        self.list.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then(order(a, b)));
        let (mut reached, mut kept) = (0.0, 0);
        for candidate in &self.list {
            reached += log_p(candidate).exp();
            kept += 1;
            if reached >= f64::from(p) {
                break;
            }
        }
        self.list.truncate(kept);
        self.ordered = 0;
    }

    /// Draws one: `uniform` lies between 0 and 1, and probabilities are laid side by side, likeliest first.
    pub(super) fn draw(mut self, temperature: f32, uniform: f64) -> u32 {
        for candidate in &mut self.list {
            candidate.logit /= temperature;
        }
        let (sum, greatest) = self.normal();
        let (mut reached, mut place) = (0.0, 0);
        loop {
            if place >= self.ordered {
                self.order_front((2 * place).max(64));
            }
            reached += f64::from(self.list[place].logit - greatest).exp() / sum;
            if reached > uniform || place + 1 == self.list.len() {
                return self.list[place].id;
            }
            place += 1;
        }
    }
}

/// The likeliest token; of equal ones, the lowest id.
pub(super) fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// The likeliest tokens and their logits, likeliest first.
pub(super) fn top(logits: &[f32], count: usize) -> Vec<Candidate> {
    let mut candidates = Candidates::new(logits);
    candidates.order_front(count);
    candidates.list.truncate(count);
    candidates.list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Random;

    fn logits(seed: u64, count: usize) -> Vec<f32> {
        let mut random = Random::new(seed);
        // Rounded, so that some are equal.
        (0..count).map(|_| (random.uniform() * 80.0).round() as f32 / 10.0).collect()
    }

    /// Everything sorted, probabilities beside.
    fn sorted(logits: &[f32]) -> Vec<(u32, f64)> {
        let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = logits.iter().map(|l| f64::from(l - greatest).exp()).sum();
        let mut all: Vec<(u32, f64)> =
            logits.iter().enumerate().map(|(i, l)| (i as u32, f64::from(l - greatest).exp() / sum)).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all
    }

    fn ids(candidates: &Candidates) -> Vec<u32> {
        let mut ids: Vec<u32> = candidates.list.iter().map(|c| c.id).collect();
        ids.sort();
        ids
    }

    fn ids_of(all: &[(u32, f64)]) -> Vec<u32> {
        let mut ids: Vec<u32> = all.iter().map(|x| x.0).collect();
        ids.sort();
        ids
    }

    #[test]
    fn filters_keep_what_their_definitions_keep() {
        for seed in 0..60 {
            let logits = logits(seed, 5 + seed as usize * 7);
            let all = sorted(&logits);
            let k = 1 + seed as usize % 20;
            let mut c = Candidates::new(&logits);
            c.top_k(k);
            assert_eq!(ids(&c), ids_of(&all[..k.min(all.len())]), "top-k {k}, seed {seed}");

            let p = 0.05 + 0.9 * seed as f64 / 60.0;
            let mut reached = 0.0;
            let kept = all
                .iter()
                .take_while(|x| {
                    let more = reached < p;
                    reached += x.1;
                    more
                })
                .count();
            let mut c = Candidates::new(&logits);
            c.top_p(p as f32);
            assert_eq!(c.list.len(), kept, "top-p {p}, seed {seed}");
            assert_eq!(ids(&c), ids_of(&all[..kept]));

            let m = 0.3f64;
            let kept: Vec<(u32, f64)> = all.iter().copied().filter(|x| x.1 >= m * all[0].1 - 1e-9).collect();
            let mut c = Candidates::new(&logits);
            c.min_p(m as f32);
            assert_eq!(ids(&c), ids_of(&kept), "min-p, seed {seed}");
        }
    }

    #[test]
    fn typical_keeps_the_tokens_nearest_to_the_entropy() {
        for seed in 0..30 {
            let logits = logits(seed, 40);
            let all = sorted(&logits);
            let entropy: f64 = -all.iter().map(|x| x.1 * x.1.ln()).sum::<f64>();
            let mut by_distance = all.clone();
            by_distance.sort_by(|a, b| (-a.1.ln() - entropy).abs().total_cmp(&(-b.1.ln() - entropy).abs()));
            let mut c = Candidates::new(&logits);
            c.typical(0.6);
            let reached: f64 = all.iter().filter(|x| ids(&c).contains(&x.0)).map(|x| x.1).sum();
            assert!(reached >= 0.6 - 1e-6);
            let farthest_kept = by_distance
                .iter()
                .filter(|x| ids(&c).contains(&x.0))
                .map(|x| (-x.1.ln() - entropy).abs())
                .fold(0.0, f64::max);
            let nearest_left = by_distance
                .iter()
                .filter(|x| !ids(&c).contains(&x.0))
                .map(|x| (-x.1.ln() - entropy).abs())
                .fold(f64::MAX, f64::min);
            assert!(farthest_kept <= nearest_left + 1e-6);
        }
    }

    #[test]
    fn draws_have_the_distribution_of_the_softmax() {
        let logits = [1.0f32, 2.0, 0.0, 3.0];
        let temperature = 0.7;
        let scaled: Vec<f32> = logits.iter().map(|l| l / temperature).collect();
        let wanted = sorted(&scaled);
        let (mut random, draws) = (Random::new(3), 20_000);
        let mut counts = [0u32; 4];
        for _ in 0..draws {
            counts[Candidates::new(&logits).draw(temperature, random.uniform()) as usize] += 1;
        }
        for (id, p) in wanted {
            let deviation = (f64::from(draws) * p * (1.0 - p)).sqrt();
            let off = f64::from(counts[id as usize]) - f64::from(draws) * p;
            assert!(off.abs() < 5.0 * deviation, "token {id}: {off} off, {deviation} expected");
        }
    }

    #[test]
    fn the_likeliest_of_equals_has_the_lowest_id() {
        assert_eq!(likeliest(&[1.0, 5.0, 5.0]), 1);
        assert_eq!(top(&[1.0, 5.0, 5.0, 7.0], 3).iter().map(|c| c.id).collect::<Vec<_>>(), [3, 1, 2]);
    }
}
