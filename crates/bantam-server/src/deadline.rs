//! How long an answer may take. What cannot begin in time by what was measured is refused with the numbers; what has
//! begun ends with what there is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::{Fault, Kind};
use crate::fields::Fields;

/// The time that a request gives for its answers, from its arrival on; zero and below are no limit.
///
/// # Errors
///
/// What is no whole number.
pub(crate) fn read(fields: &Fields<'_>) -> Result<Option<Duration>, Fault> {
    for name in [FIELD, "t_max_predict_ms"] {
        if let Some(ms) = fields.integer(name)? {
            return Ok(u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis));
        }
    }
    Ok(None)
}

/// The field, for which a header may stand.
pub(crate) const FIELD: &str = "timeout_ms";
pub(crate) const HEADER: &str = "x-timeout-ms";

/// What prompts took lately, with what was reused: short ones tell what each prompt takes whatever its length, longer
/// ones what each of their tokens adds.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    base_s: Measured,
    token_s: Measured,
}

/// Shorter prompts cost more for each token, which says nothing of long ones.
const TOKENS_MIN: usize = 32;
/// The weight of the newest measurement.
const NEWEST: f64 = 0.2;

impl Pace {
    /// Takes in that a prompt of so many tokens took so long.
    pub(crate) fn note(&self, tokens: usize, took: Duration) {
        let took_s = took.as_secs_f64();
        match tokens {
            _ if took.is_zero() => {}
            0..TOKENS_MIN => self.base_s.note(took_s),
            // Where short ones waited for others, it is longer ones that tell.
            tokens => self.token_s.note((took_s - self.base_s.get()).max(took_s / 2.0) / tokens as f64),
        }
    }

    /// Believes a little less in what was measured: who refuses all measures nothing more.
    fn doubt(&self) {
        self.base_s.doubt();
        self.token_s.doubt();
    }

    /// How long a prompt will take; no time before anything was measured.
    fn predict(&self, tokens: usize) -> Duration {
        let seconds = self.base_s.get() + self.token_s.get() * tokens as f64;
        Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
    }
}

/// A figure that follows what is measured. Of two measurements at the same time one may get lost.
#[derive(Debug, Default)]
struct Measured(AtomicU64);

impl Measured {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn note(&self, now: f64) {
        let known = self.get();
        self.set(if known > 0.0 { known + NEWEST * (now - known) } else { now });
    }

    fn doubt(&self) {
        self.set(self.get() * (1.0 - NEWEST));
    }

    fn set(&self, figure: f64) {
        self.0.store(figure.to_bits(), Ordering::Relaxed);
    }
}

/// Refuses a prompt whose answer would begin only after its time.
///
/// # Errors
///
/// 503 if it is the `wait` for others that takes too long, 400 if the prompt alone does.
pub(crate) fn admit(limit: Duration, wait: Duration, tokens: usize, pace: &Pace) -> Result<(), Fault> {
    let prompt = pace.predict(tokens);
    if wait + prompt <= limit {
        return Ok(());
    }
    let message = format!(
        "`{FIELD}` is {}: by what was measured, waiting takes about {} ms and a prompt of {tokens} tokens {} ms",
        limit.as_millis(),
        wait.as_millis(),
        prompt.as_millis()
    );
    let kind = if prompt <= limit {
        Kind::Busy { retry_after_s: wait.as_secs().clamp(1, 60) }
    } else {
        pace.doubt();
        Kind::Invalid
    };
    Err(Fault { param: Some(FIELD.into()), code: Some("deadline_too_short"), ..Fault::new(kind, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_cannot_begin_in_time_is_refused_with_the_numbers() {
        let pace = Pace::default();
        assert!(admit(SECOND, Duration::ZERO, 1_000_000, &pace).is_ok(), "nothing was measured");
        pace.note(100, SECOND);
        assert!(admit(SECOND, Duration::ZERO, 100, &pace).is_ok());
        let too_long = admit(SECOND, Duration::ZERO, 250, &pace).unwrap_err();
        assert_eq!(too_long.kind, Kind::Invalid);
        assert!(["1000", "250 tokens", "2500 ms"].iter().all(|part| too_long.message.contains(part)));
        let busy = admit(SECOND, 5 * SECOND, 50, &pace).unwrap_err();
        assert_eq!(busy.kind, Kind::Busy { retry_after_s: 5 });
    }

    #[test]
    fn one_slow_prompt_does_not_shut_out_all_that_follow() {
        let pace = Pace::default();
        pace.note(1, 10 * SECOND);
        let refused = (0..100).take_while(|_| admit(SECOND, Duration::ZERO, 1, &pace).is_err()).count();
        assert!((5..20).contains(&refused), "{refused}");
    }

    #[test]
    fn short_prompts_say_nothing_of_long_ones() {
        let pace = Pace::default();
        (0..50).for_each(|_| pace.note(3, SECOND / 10));
        assert_eq!(pace.predict(6000), SECOND / 10, "no long one was seen");
        pace.note(1000, SECOND);
        (0..50).for_each(|_| pace.note(3, SECOND / 10));
        assert!((5.4..5.6).contains(&pace.predict(6000).as_secs_f64()), "{:?}", pace.predict(6000));
    }

    #[test]
    fn the_pace_follows_what_is_measured() {
        let pace = Pace::default();
        pace.note(10, Duration::ZERO);
        assert_eq!(pace.predict(10), Duration::ZERO);
        pace.note(10, SECOND);
        (0..50).for_each(|_| pace.note(10, 3 * SECOND));
        assert!((2.9..3.1).contains(&pace.predict(10).as_secs_f64()));
    }
}
