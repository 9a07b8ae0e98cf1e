//! Log-probabilities under the model: the log-softmax of its logits as they are.

use super::candidates::Candidates;

/// The log-probability of a token, and the `count` likeliest tokens with theirs, likeliest first.
pub(crate) fn of(logits: &[f32], id: u32, count: usize) -> (f32, Vec<(u32, f32)>) {
    let normal = log_sum_exp(logits);
    let logprob = |logit: f32| (f64::from(logit) - normal) as f32;
    let top = if count > 0 { Candidates::likeliest(logits, count).into_list() } else { Vec::new() };
    (logprob(logits[id as usize]), top.into_iter().map(|c| (c.id, logprob(c.logit))).collect())
}

/// The logarithm of the sum of all `exp(logit)`, to 2.5e-7.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let greatest = greatest(logits);
    f64::from(greatest) + sum_exp(logits, |logit| logit - greatest).ln()
}

pub(super) fn greatest(logits: &[f32]) -> f32 {
    let (lanes, rest) = logits.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in lanes {
        for (most, logit) in most.iter_mut().zip(chunk) {
            *most = if *logit > *most { *logit } else { *most };
        }
    }
    most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of all `exp(exponent)`, added up in f64 by lanes; no exponent is above zero.
pub(super) fn sum_exp<T>(items: &[T], exponent: impl Fn(&T) -> f32) -> f64 {
    let (lanes, rest) = items.as_chunks::<LANES>();
    let mut sums = [0.0f64; LANES];
    for chunk in lanes {
        for (sum, item) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(exp(exponent(item)));
        }
    }
    rest.iter().map(|item| f64::from(exp(exponent(item)))).chain(sums).sum()
}

const LANES: usize = 8;

/// `exp` of a number from zero down, to 2e-7 of itself, in operations that compilers turn into vectors: this runs
/// over the whole vocabulary for every token, where the library's function takes as long as a small layer.
pub(super) fn exp(x: f32) -> f32 {
    // Below this, it is nothing beside the one that the greatest gives. A NaN stays one.
    let x = if x < -87.0 { -87.0 } else { x };
    // Adding and taking away this rounds to whole numbers.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let powers = shifted - ROUND;
    // ln 2 in two parts, the first short enough for an exact product.
    let rest = (x - powers * 0.693_359_4) + powers * 2.121_944_4e-4;
    // The series of exp up to the seventh power, within half an ln 2 of zero.
    let mut series = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * rest + factor;
    }
    let exponent = (shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits());
    series * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Random;

    #[test]
    fn exp_is_close_over_its_whole_range() {
        for step in 0..=87_000 {
            let x = -(step as f32) / 1000.0;
            let wanted = f64::from(x).exp();
            let off = (f64::from(exp(x)) - wanted).abs() / wanted;
            assert!(off < 2.5e-7, "exp({x}) is {off:e} off");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan() && log_sum_exp(&[0.0, f32::NAN, 1.0]).is_nan());
    }

    #[test]
    fn logprobs_are_the_log_softmax() {
        let mut random = Random::new(11);
        for count in [1, 7, 8, 50, 3001] {
            let logits: Vec<f32> = (0..count).map(|_| random.uniform() as f32 * 40.0 - 30.0).collect();
            let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
            let wanted: Vec<f64> = logits.iter().map(|l| f64::from(*l) - sum.ln()).collect();
            for id in [0, count / 2, count - 1] {
                let (found, _) = of(&logits, id as u32, 0);
                let wanted = wanted[id];
                assert!((f64::from(found) - wanted).abs() < 1e-5, "{found}, wanted {wanted}");
            }
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|a, b| wanted[*b].total_cmp(&wanted[*a]));
            let (_, top) = of(&logits, 0, 5);
            let ids: Vec<usize> = top.iter().map(|(id, _)| *id as usize).collect();
            assert_eq!(ids, order[..5.min(count)]);
        }
    }
}
