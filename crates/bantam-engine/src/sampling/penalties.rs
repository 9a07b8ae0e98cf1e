//! Changes of logits for what was said before: sparse, touching only tokens that occurred.

use std::collections::HashMap;

use super::{Dry, Sampling};

/// Applies bias, penalties and DRY for a history, newest token last.
pub(super) fn apply(sampling: &Sampling, history: &[u32], logits: &mut [f32]) {
    for (token, bias) in &sampling.logit_bias {
        if let Some(logit) = logits.get_mut(*token as usize) {
            *logit += bias;
        }
    }
    repetition(sampling, history, logits);
    if sampling.dry.multiplier > 0.0 {
        dry(&sampling.dry, history, logits);
    }
}

fn repetition(sampling: &Sampling, history: &[u32], logits: &mut [f32]) {
    let Sampling { repeat_penalty, frequency_penalty, presence_penalty, .. } = *sampling;
    if repeat_penalty == 1.0 && frequency_penalty == 0.0 && presence_penalty == 0.0 {
        return;
    }
    let recent = &history[history.len().saturating_sub(sampling.repeat_last_n)..];
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for token in recent {
        *counts.entry(*token).or_default() += 1;
    }
    for (token, count) in counts {
        let Some(logit) = logits.get_mut(token as usize) else { continue };
        *logit = if *logit > 0.0 { *logit / repeat_penalty } else { *logit * repeat_penalty };
        *logit -= count as f32 * frequency_penalty + presence_penalty;
    }
}

/// For each place where the history's end occurred before, the token that followed there would prolong the
/// run. The longest run counts for each token. Time is linear: the Z algorithm on the reversed history.
fn dry(dry: &Dry, history: &[u32], logits: &mut [f32]) {
    let recent = &history[history.len().saturating_sub(dry.last_n.unwrap_or(usize::MAX))..];
    // A run does not reach across a breaker, so what can be prolonged begins behind the last one.
    let live = recent.iter().rev().take_while(|token| !dry.breakers.contains(token)).count();
    if live == 0 {
        return;
    }
    let reversed: Vec<u32> = recent.iter().rev().copied().collect();
    let matches = prefix_matches(&reversed);
    let mut longest: HashMap<u32, usize> = HashMap::new();
    for (place, length) in matches.iter().enumerate().skip(1) {
        let run = (*length).min(live);
        if run >= dry.allowed_length.max(1) {
            // In reversed order, the token that followed the earlier occurrence stands before it.
            let next = reversed[place - 1];
            let best = longest.entry(next).or_default();
            *best = run.max(*best);
        }
    }
    for (token, run) in longest {
        // The power is bounded so that it cannot overflow.
        let exponent = (run - dry.allowed_length).min(1000) as f32;
        let penalty = dry.multiplier * dry.base.powf(exponent).min(1e30);
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit -= penalty;
        }
    }
}

/// For each place, how many items from there on equal those from the beginning on (the Z function).
fn prefix_matches(items: &[u32]) -> Vec<usize> {
    let mut lengths = vec![0; items.len()];
    let (mut left, mut right) = (0, 0);
    for i in 1..items.len() {
        let mut length = if i < right { lengths[i - left].min(right - i) } else { 0 };
        while i + length < items.len() && items[length] == items[i + length] {
            length += 1;
        }
        lengths[i] = length;
        if i + length > right {
            (left, right) = (i, i + length);
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DRY by its definition: for each earlier place, the length of the run that ends there and at the end.
    fn naive(dry: &Dry, history: &[u32], logits: &mut [f32]) {
        let n = history.len();
        let mut longest: HashMap<u32, usize> = HashMap::new();
        for end in 0..n.saturating_sub(1) {
            let mut run = 0;
            while run <= end
                && history[end - run] == history[n - 1 - run]
                && !dry.breakers.contains(&history[n - 1 - run])
            {
                run += 1;
            }
            let best = longest.entry(history[end + 1]).or_default();
            *best = run.max(*best);
        }
        for (token, run) in longest {
            if run >= dry.allowed_length.max(1) {
                logits[token as usize] -= dry.multiplier * dry.base.powi((run - dry.allowed_length) as i32);
            }
        }
    }

    #[test]
    fn dry_is_what_its_definition_says() {
        for seed in 0..200u64 {
            let mut random = crate::sampling::Random::new(seed);
            let length = 1 + (random.uniform() * 40.0) as usize;
            let history: Vec<u32> = (0..length).map(|_| (random.uniform() * 3.0) as u32).collect();
            let breakers = if seed % 2 == 0 { vec![] } else { vec![2] };
            let settings =
                Dry { multiplier: 0.8, allowed_length: 1 + seed as usize % 3, breakers, ..Dry::default() };
            let (mut found, mut wanted) = ([0.0; 3], [0.0; 3]);
            dry(&settings, &history, &mut found);
            naive(&settings, &history, &mut wanted);
            for (f, w) in found.iter().zip(&wanted) {
                assert!((f - w).abs() <= 1e-4 * w.abs(), "{history:?}: {found:?}, wanted {wanted:?}");
            }
        }
    }

    #[test]
    fn penalties_touch_what_was_seen_lately() {
        let sampling = Sampling {
            repeat_penalty: 2.0,
            frequency_penalty: 0.5,
            presence_penalty: 0.25,
            repeat_last_n: 3,
            logit_bias: vec![(4, 10.0), (99, 1.0)],
            ..Sampling::default()
        };
        let mut logits = [4.0, -4.0, 1.0, 1.0, 0.0];
        apply(&sampling, &[3, 0, 0, 1], &mut logits);
        // Token 3 is too long ago.
        assert_eq!(logits, [4.0 / 2.0 - 1.25, -8.0 - 0.75, 1.0, 1.0, 10.0]);
    }
}
