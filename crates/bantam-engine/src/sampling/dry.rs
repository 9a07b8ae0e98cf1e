//! DRY, "do not repeat yourself": a penalty that grows with the length of a repeated run of tokens.
//!
//! By p-e-w (oobabooga/text-generation-webui, pull request 5677); the details are those of llama.cpp's
//! `llama_sampler_dry`.

use std::collections::HashMap;

/// A token that would prolong a run which has occurred before loses
/// `multiplier * base^(length of the run - allowed_length)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dry {
    /// Zero switches it off.
    pub multiplier: f32,
    /// How fast it grows with the run.
    pub base: f32,
    /// The shortest run whose continuation costs anything.
    pub allowed_length: usize,
    /// So many of the last tokens are searched; all if `None`.
    pub last_n: Option<usize>,
    /// Sequences of tokens that no run reaches across. One of a single token is never penalised itself.
    pub breakers: Vec<Vec<u32>>,
}

impl Default for Dry {
    fn default() -> Self {
        Dry { multiplier: 0.0, base: 1.75, allowed_length: 2, last_n: None, breakers: Vec::new() }
    }
}

/// Takes the penalties for a history, newest token last, from the logits.
pub(super) fn apply(dry: &Dry, history: &[u32], logits: &mut [f32]) {
    let recent = &history[history.len().saturating_sub(dry.last_n.unwrap_or(usize::MAX))..];
    for (token, run) in longest_runs(dry, recent) {
        let penalty = dry.multiplier * dry.base.powf((run - dry.allowed_length) as f32);
        if let Some(logit) = logits.get_mut(token as usize).filter(|_| !is_breaker(dry, token)) {
            *logit -= penalty.min(PENALTY_MAX);
        }
    }
}

/// A larger penalty is no different, and would end in an infinite logit.
const PENALTY_MAX: f32 = 1e30;

/// For each place where the history's end occurred before, the token that followed there would prolong the run. The
/// longest run for each such token. Time is linear: the Z algorithm on the reversed history.
fn longest_runs(dry: &Dry, recent: &[u32]) -> HashMap<u32, usize> {
    let live = tokens_behind_breaker(&dry.breakers, recent);
    let mut longest: HashMap<u32, usize> = HashMap::new();
    if recent.len() <= dry.allowed_length || live < dry.allowed_length {
        return longest;
    }
    let reversed: Vec<u32> = recent.iter().rev().copied().collect();
    for (place, length) in prefix_matches(&reversed).into_iter().enumerate().skip(1) {
        let run = length.min(live);
        if run >= dry.allowed_length {
            // In reversed order, the token that followed the earlier occurrence stands before it.
            let best = longest.entry(reversed[place - 1]).or_default();
            *best = run.max(*best);
        }
    }
    longest
}

/// How many tokens stand behind the breaker that begins last; of several that begin there, the longest counts.
fn tokens_behind_breaker(breakers: &[Vec<u32>], recent: &[u32]) -> usize {
    let ends = (0..recent.len()).rev().filter_map(|begin| {
        let rest = &recent[begin..];
        let found = breakers.iter().filter(|breaker| !breaker.is_empty() && rest.starts_with(breaker));
        found.map(|breaker| rest.len() - breaker.len()).min()
    });
    ends.into_iter().next().unwrap_or(recent.len())
}

fn is_breaker(dry: &Dry, token: u32) -> bool {
    dry.breakers.iter().any(|breaker| breaker[..] == [token])
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
    use crate::sampling::Random;

    /// DRY by its definition: for each earlier place, how far back it agrees with the end, counting no further
    /// than the tokens behind the last breaker.
    fn naive(dry: &Dry, history: &[u32], logits: &mut [f32]) {
        let n = history.len();
        let mut live = n;
        'begin: for begin in (0..n).rev() {
            for length in (1..=n - begin).rev() {
                if dry.breakers.contains(&history[begin..begin + length].to_vec()) {
                    live = n - begin - length;
                    break 'begin;
                }
            }
        }
        for (token, logit) in logits.iter_mut().enumerate() {
            let after = (0..n - 1).filter(|end| history[end + 1] == token as u32);
            let run = |end: usize| {
                (0..=end).take_while(|back| history[end - back] == history[n - 1 - back]).count().min(live)
            };
            let longest = after.map(run).max().filter(|run| *run >= dry.allowed_length);
            if let Some(longest) = longest
                && n > dry.allowed_length
                && !dry.breakers.contains(&vec![token as u32])
            {
                *logit -= dry.multiplier * dry.base.powi((longest - dry.allowed_length) as i32);
            }
        }
    }

    #[test]
    fn dry_is_what_its_definition_says() {
        let mut touched = 0;
        for seed in 0..400u64 {
            let mut random = Random::new(seed);
            let length = 1 + (random.uniform() * 30.0) as usize;
            let history: Vec<u32> = (0..length).map(|_| (random.uniform() * 3.0) as u32).collect();
            let breakers = [vec![], vec![vec![2]], vec![vec![2, 0], vec![1, 1, 0], vec![2, 0, 1]]];
            let dry = Dry {
                multiplier: 0.8,
                allowed_length: seed as usize % 4,
                breakers: breakers[seed as usize % 3].clone(),
                ..Dry::default()
            };
            let (mut found, mut wanted) = ([0.0; 3], [0.0; 3]);
            apply(&dry, &history, &mut found);
            naive(&dry, &history, &mut wanted);
            touched += usize::from(wanted != [0.0; 3]);
            for (f, w) in found.iter().zip(&wanted) {
                assert!((f - w).abs() <= 1e-4 * w.abs(), "{dry:?} {history:?}: {found:?}, wanted {wanted:?}");
            }
        }
        assert!(touched > 100, "only {touched} histories repeat themselves");
    }

    /// The worked example in the comments of llama.cpp's sampler: after `a b c c b c y a b c` the runs that the
    /// next token would prolong are `c`: 3, `b`: 1, `y`: 2.
    #[test]
    fn runs_are_those_of_the_reference_example() {
        let history = [0, 1, 2, 2, 1, 2, 3, 0, 1, 2];
        let dry = Dry { multiplier: 1.0, base: 2.0, allowed_length: 1, ..Dry::default() };
        let runs = longest_runs(&dry, &history);
        assert_eq!(runs, HashMap::from([(2, 3), (1, 1), (3, 2)]));
        let mut logits = [0.0; 4];
        apply(&dry, &history, &mut logits);
        assert_eq!(logits, [0.0, -1.0, -4.0, -2.0]);
        let mut logits = [0.0; 4];
        apply(&Dry { breakers: vec![vec![0, 1]], ..dry }, &history, &mut logits);
        assert_eq!(logits, [0.0, -1.0, -1.0, -1.0], "only one token stands behind the breaker");
    }

    #[test]
    fn only_the_window_is_searched_and_penalties_stay_finite() {
        let history: Vec<u32> = std::iter::repeat_n([0, 1], 5000).flatten().collect();
        let dry = Dry { multiplier: 2.0, ..Dry::default() };
        let mut logits = [0.0; 2];
        apply(&dry, &history, &mut logits);
        assert!(logits[0] < -1e29 && logits[0].is_finite() && logits[1] == 0.0, "{logits:?}");
        for (last_n, penalised) in [(0, false), (3, false), (4, true)] {
            let mut logits = [0.0; 2];
            apply(&Dry { last_n: Some(last_n), ..dry.clone() }, &history, &mut logits);
            assert_eq!(logits[0] < 0.0, penalised, "window of {last_n}");
        }
    }
}
