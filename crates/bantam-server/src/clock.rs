//! The time of day, and names that are new each time.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bantam_text::DateTime;

/// Seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    since_1970().0
}

/// Now, in UTC, for templates that tell the model the date.
pub(crate) fn now() -> DateTime {
    DateTime::from_unix_s(unix_s())
}

/// Now as RFC 3339 writes it, to the microsecond.
pub(crate) fn rfc3339_now() -> String {
    let (unix_s, micros) = since_1970();
    rfc3339(unix_s, micros)
}

/// The moment in so much time, as RFC 3339 writes it.
pub(crate) fn rfc3339_in(time: Duration) -> String {
    let (unix_s, micros) = since_1970();
    let then = Duration::new(unix_s, micros * 1000).saturating_add(time);
    rfc3339(then.as_secs(), then.subsec_micros())
}

/// A moment as RFC 3339 writes it.
pub(crate) fn rfc3339(unix_s: u64, micros: u32) -> String {
    let DateTime { year, month, day, hour, minute, second } = DateTime::from_unix_s(unix_s);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Sixteen hexadecimal digits that nobody has seen yet, behind a prefix. They name things and guard nothing.
pub(crate) fn id(prefix: &str) -> String {
    format!("{prefix}{:016x}", random())
}

/// Another number each time.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn since_1970() -> (u64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_the_calendar() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400, 5), "2000-02-29T00:00:00.000005Z");
        assert_eq!(rfc3339(4_107_542_399, 999_999), "2100-02-28T23:59:59.999999Z");
    }

    #[test]
    fn names_differ() {
        assert_ne!(id("x-"), id("x-"));
        assert_eq!(id("x-").len(), 18);
    }
}
