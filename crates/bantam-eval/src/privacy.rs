//! What a model shows of what it was taught: exposure of planted secrets, and telling members from others.
//!
//! Exposure (Carlini et al., "The Secret Sharer", 2019) is how many bits of a random secret the model gives away: the
//! logarithm of the number of secrets there could be, less that of the true one's rank by loss. Losses of some random
//! secrets stand for all: their rank alone bounds it from below, and a skew normal distribution fitted to them estimates
//! it where the true one is likelier than all of these.

use std::f64::consts::{PI, TAU};

/// How much of a secret a model shows, in bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    /// By its rank among the random ones: at most the logarithm of their number and one.
    pub ranked: f64,
    /// By the distribution of their losses: at most all bits that the secret has.
    pub fitted: f64,
}

impl Exposure {
    /// Of a secret with this loss, by the losses of random ones; none where there are fewer than 8 of these, or one is no
    /// number. `bits` are those of a random secret.
    pub fn of(loss: f64, random: &[f64], bits: f64) -> Option<Self> {
        if random.len() < 8 || !random.iter().chain([&loss]).all(|loss| loss.is_finite()) {
            return None;
        }
        let before = random.iter().filter(|other| **other <= loss).count();
        let ranked = ((random.len() + 1) as f64).log2() - ((before + 1) as f64).log2();
        let below = SkewNormal::fit(random).log_below(loss);
        let fitted = (-below / std::f64::consts::LN_2).clamp(0.0, bits);
        Some(Exposure { ranked: ranked.min(bits), fitted })
    }
}

/// A normal distribution that leans to one side (Azzalini, 1985).
#[derive(Clone, Copy, Debug)]
struct SkewNormal {
    place: f64,
    width: f64,
    lean: f64,
}

impl SkewNormal {
    /// With the mean, the variance and, as far as it can have it, the skewness of these numbers.
    fn fit(numbers: &[f64]) -> Self {
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let moment = |power| numbers.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / count;
        let deviation = moment(2).sqrt().max(1e-12);
        let skewness = (moment(3) / deviation.powi(3)).clamp(-0.99, 0.99);
        let part = skewness.abs().powf(2.0 / 3.0);
        let delta = (PI / 2.0 * part / (part + ((4.0 - PI) / 2.0).powf(2.0 / 3.0))).sqrt().copysign(skewness);
        let width = deviation / (1.0 - 2.0 * delta * delta / PI).sqrt();
        let place = mean - width * delta * (2.0 / PI).sqrt();
        SkewNormal { place, width, lean: delta / (1.0 - delta * delta).sqrt() }
    }

    /// The logarithm of the chance to be at or below a number, by a sum over a grid.
    fn log_below(&self, x: f64) -> f64 {
        const CELLS: usize = 4000;
        let end = ((x - self.place) / self.width).min(12.0);
        let begin = end.min(0.0) - 12.0;
        let step = (end - begin) / CELLS as f64;
        let log_density =
            |z: f64| std::f64::consts::LN_2 - 0.5 * z * z - 0.5 * TAU.ln() + log_normal_below(self.lean * z);
        let logs: Vec<f64> = (0..CELLS).map(|i| log_density(begin + (i as f64 + 0.5) * step)).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|log| (log - most).exp()).sum();
        (most + sum.ln() + step.ln()).min(0.0)
    }
}

/// The logarithm of the chance that a normal deviate is at or below `x`.
fn log_normal_below(x: f64) -> f64 {
    let log_density = -0.5 * x * x - 0.5 * TAU.ln();
    if x < -5.0 {
        // Mills' ratio as a continued fraction, from its end.
        let fraction = (1..=60).rev().fold(-x, |below, k| -x + f64::from(k) / below);
        return log_density - fraction.ln();
    }
    if x > 8.0 {
        return 0.0;
    }
    let (mut term, mut sum) = (x, x);
    for k in 1..200 {
        term *= x * x / f64::from(2 * k + 1);
        sum += term;
    }
    (0.5 + log_density.exp() * sum).max(f64::MIN_POSITIVE).ln()
}

/// How well members of the training data are told from others by a score that is higher for members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Membership {
    /// The chance that a member scores higher than another, ties counting half: 0.5 tells nothing.
    pub auc: f64,
    /// Half of its 95 % interval (DeLong et al., 1988).
    pub auc_error: f64,
    /// The share of members above all but one in a hundred of the others.
    pub found_at_1_percent: f64,
}

impl Membership {
    /// Of these scores; none with fewer than 2 of either.
    pub fn of(members: &[f64], others: &[f64]) -> Option<Self> {
        if members.len() < 2 || others.len() < 2 {
            return None;
        }
        let wins = |a: f64, b: f64| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        };
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let by_member: Vec<f64> = members
            .iter()
            .map(|a| mean(&others.iter().map(|b| wins(*a, *b)).collect::<Vec<f64>>()))
            .collect();
        let by_other: Vec<f64> = others
            .iter()
            .map(|b| mean(&members.iter().map(|a| wins(*a, *b)).collect::<Vec<f64>>()))
            .collect();
        let auc = mean(&by_member);
        let variance = |of: &[f64]| {
            let squares: f64 = of.iter().map(|x| (x - auc).powi(2)).sum();
            squares / (of.len() - 1) as f64 / of.len() as f64
        };
        let mut sorted = others.to_vec();
        sorted.sort_by(f64::total_cmp);
        let allowed = others.len() / 100;
        let threshold = sorted[others.len() - 1 - allowed];
        let found = members.iter().filter(|score| **score > threshold).count();
        Some(Membership {
            auc,
            auc_error: 1.96 * (variance(&by_member) + variance(&by_other)).sqrt(),
            found_at_1_percent: found as f64 / members.len() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Truth: scipy.stats.norm.logcdf.
    #[test]
    fn tails_of_the_normal_distribution() {
        for (x, wanted) in [
            (-30.0, -454.321_243_956_3),
            (-8.0, -35.013_437_159_9),
            (-5.1, -15.588_487_091_9),
            (-4.9, -14.551_182_689_4),
            (-1.0, -1.841_021_645_0),
            (0.0, -std::f64::consts::LN_2),
            (2.0, -0.023_012_909_3),
        ] {
            let found = log_normal_below(x);
            assert!((found - wanted).abs() < 1e-6 * wanted.abs().max(1.0), "{x}: {found}, {wanted}");
        }
    }

    /// Truth: scipy.stats.skewnorm.logcdf with shape 3, place 10 and width 2; the fit is left out.
    #[test]
    fn tails_of_a_leaning_distribution() {
        let leaning = SkewNormal { place: 10.0, width: 2.0, lean: 3.0 };
        for (x, wanted) in SKEWED {
            let found = leaning.log_below(x);
            assert!((found - wanted).abs() < 1e-3 * wanted.abs().max(1.0), "{x}: {found}, {wanted}");
        }
    }

    const SKEWED: [(f64, f64); 4] =
        [(8.0, -9.785_803_478), (9.0, -5.056_241_751), (11.0, -0.943_419_473), (14.0, -0.046_567_912)];

    fn normal_grid(count: usize) -> Vec<f64> {
        // Deviates by their quantiles, found by bisection.
        let quantile = |p: f64| {
            let (mut low, mut high) = (-9.0, 9.0);
            for _ in 0..80 {
                let middle = 0.5 * (low + high);
                if log_normal_below(middle) < p.ln() { low = middle } else { high = middle }
            }
            low
        };
        (0..count).map(|i| 20.0 + 2.0 * quantile((i as f64 + 0.5) / count as f64)).collect()
    }

    #[test]
    fn exposure_is_bits_of_rank() {
        let random = normal_grid(255);
        // The likeliest of all, but not by far.
        let first = Exposure::of(random[0] - 1e-9, &random, 30.0).unwrap();
        assert_eq!(first.ranked, 8.0);
        assert!((first.fitted - 8.7).abs() < 0.7, "{first:?}");
        let middle = Exposure::of(20.0, &random, 30.0).unwrap();
        assert!((middle.ranked - 1.0).abs() < 0.05 && (middle.fitted - 1.0).abs() < 0.05, "{middle:?}");
        // Six deviations: one in a thousand million.
        let far = Exposure::of(8.0, &random, 40.0).unwrap();
        assert!((far.fitted - 29.9).abs() < 1.0, "{far:?}");
        assert_eq!(Exposure::of(-500.0, &random, 30.0).unwrap().fitted, 30.0);
        assert_eq!(Exposure::of(1.0, &random[..7], 30.0), None);
        assert_eq!(Exposure::of(f64::NAN, &random, 30.0), None);
    }

    #[test]
    fn members_are_told_by_their_scores() {
        let members: Vec<f64> = (0..200).map(|i| f64::from(i % 20) + 5.0).collect();
        let others: Vec<f64> = (0..200).map(|i| f64::from(i % 20)).collect();
        let apart = Membership::of(&members, &others).unwrap();
        // Of 20 x 20 pairs a member wins where i + 5 > j: 280 and 15 ties.
        assert!((apart.auc - (280.0 + 7.5) / 400.0).abs() < 1e-12, "{apart:?}");
        assert!(apart.auc_error > 0.02 && apart.auc_error < 0.1, "{apart:?}");
        assert_eq!(apart.found_at_1_percent, 0.25);
        let same = Membership::of(&others, &others).unwrap();
        assert!((same.auc - 0.5).abs() < 1e-12 && same.found_at_1_percent == 0.0, "{same:?}");
        assert_eq!(Membership::of(&others[..1], &others), None);
    }
}
