//! What was done so far, in numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bantam_engine::Usage;

use crate::deadline::Pace;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, sorted into buckets by their upper limits.
#[derive(Debug, Default)]
pub(crate) struct Times {
    buckets: [Counter; LIMITS_S.len()],
    count: Counter,
    sum_micros: Counter,
}

/// Some of vLLM's limits, so that its dashboards find theirs.
const LIMITS_S: [f64; 12] = [0.01, 0.02, 0.04, 0.08, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 40.0, 160.0];

impl Times {
    fn note(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = LIMITS_S.iter().position(|limit| seconds <= *limit) {
            self.buckets[bucket].add(1);
        }
        self.count.add(1);
        self.sum_micros.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Limits with how many were at most so long, in rising order.
    pub(crate) fn up_to(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        LIMITS_S.iter().zip(&self.buckets).map(move |(limit, bucket)| {
            below += bucket.value();
            (*limit, below)
        })
    }

    /// Of all so far; none before the first.
    pub(crate) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.sum_s() / (self.count().max(1) as f64))
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.value()
    }

    pub(crate) fn sum_s(&self) -> f64 {
        self.sum_micros.value() as f64 / 1e6
    }
}

/// What was done for one model.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) prompt_tokens: Counter,
    pub(crate) reused_tokens: Counter,
    pub(crate) generated_tokens: Counter,
    /// New tokens that a grammar forced.
    pub(crate) forced_tokens: Counter,
    /// Choices under a grammar, and the time that it took to know what may be chosen.
    pub(crate) masks: Counter,
    pub(crate) mask_nanos: Counter,
    /// Answers that the model ended, or a stop string.
    pub(crate) stopped: Counter,
    /// Answers that reached their length.
    pub(crate) cut: Counter,
    /// Answers that failed, or that nobody waited for.
    pub(crate) failed: Counter,
    /// From the request to the first token.
    pub(crate) first_token: Times,
    /// From the request to the end.
    pub(crate) whole: Times,
    /// What prompts take.
    pub(crate) pace: Pace,
}

impl Counters {
    /// An answer is done.
    pub(crate) fn done(&self, usage: &Usage, is_cut: bool, first_token: Duration, whole: Duration) {
        self.prompt_tokens.add(usage.prompt_tokens as u64);
        self.reused_tokens.add(usage.reused_tokens as u64);
        self.generated_tokens.add(usage.generated_tokens as u64);
        self.forced_tokens.add(usage.forced_tokens as u64);
        if is_cut { &self.cut } else { &self.stopped }.add(1);
        self.first_token.note(first_token);
        self.whole.note(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_in_all_buckets_above_them() {
        let times = Times::default();
        [5, 30, 30, 999_000].iter().for_each(|ms| times.note(Duration::from_millis(*ms)));
        let below: Vec<u64> = times.up_to().map(|(_, count)| count).collect();
        assert_eq!(below[..4], [1, 1, 3, 3]);
        assert_eq!((below[11], times.count()), (3, 4), "one is beyond the last limit");
        assert!((times.sum_s() - 999.065).abs() < 1e-9);
    }
}
