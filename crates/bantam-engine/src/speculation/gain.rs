//! How far guessing pays: what steps cost by their rows, and how many guesses were right of late.

use std::time::Duration;

use super::GUESSES_MAX;

/// What steps take, by their number of rows; measured, and before that supposed.
pub(crate) struct Costs {
    /// Seconds of a step with so many rows.
    measured: [Option<f64>; ROWS_MAX + 1],
}

/// Steps with more rows are not told apart.
const ROWS_MAX: usize = 32;
/// What a row adds to a step of one row, before it is measured: most processors read weights for longer than they
/// multiply with them.
const ROW_SHARE: f64 = 0.25;
/// Seconds of a step of one row, before it is measured.
const SUPPOSED: f64 = 0.01;
/// The weight of the newest measurement.
const NEWEST: f64 = 0.1;

impl Costs {
    pub(crate) fn new() -> Self {
        Costs { measured: [None; ROWS_MAX + 1] }
    }

    /// Takes in that a step of so many rows took so long.
    pub(crate) fn note(&mut self, rows: usize, took: Duration) {
        if took.is_zero() || rows > ROWS_MAX {
            return;
        }
        // A step that others interrupted must not count for long.
        let expected = if self.is_known() { self.of(rows) } else { f64::INFINITY };
        let seconds = took.as_secs_f64().min(2.0 * expected);
        let place = &mut self.measured[rows];
        *place = Some(place.map_or(seconds, |old| old + NEWEST * (seconds - old)));
    }

    /// Whether a step of one row was measured.
    pub(crate) fn is_known(&self) -> bool {
        self.measured[1].is_some()
    }

    /// Seconds of a step of so many rows.
    pub(crate) fn of(&self, rows: usize) -> f64 {
        let one = self.measured[1].unwrap_or(SUPPOSED);
        let nearest = (1..=rows.min(ROWS_MAX)).rev().find(|rows| self.measured[*rows].is_some());
        let (known, cost) = nearest.map_or((1, one), |rows| (rows, self.measured[rows].unwrap_or(one)));
        cost + (rows - known) as f64 * ROW_SHARE * one
    }
}

/// How often guesses of a sequence were right of late.
pub(crate) struct Acceptance {
    share: f64,
}

/// What a sequence begins with.
const SHARE_FIRST: f64 = 0.6;
/// Nothing is certain.
const SHARE_MAX: f64 = 0.98;
/// Where guessing does not pay, a sequence slowly becomes willing to try once more.
const FORGIVING: f64 = 0.01;

impl Acceptance {
    pub(crate) fn new() -> Self {
        Acceptance { share: SHARE_FIRST }
    }

    /// Takes in that the first `right` of `guessed` tokens were right. Those behind a wrong one tell nothing.
    pub(crate) fn note(&mut self, guessed: usize, right: usize) {
        for _ in 0..right {
            self.share += NEWEST * (SHARE_MAX - self.share);
        }
        if right < guessed {
            self.share -= 2.0 * NEWEST * self.share;
        }
    }

    /// How many of `available` guesses to compute in a step that has `rows` rows without them; making one takes `each`
    /// seconds.
    pub(crate) fn worth(&mut self, costs: &Costs, rows: usize, available: usize, each: f64) -> usize {
        let rate = |guesses: usize| {
            let tokens = (1.0 - self.share.powi(guesses as i32 + 1)) / (1.0 - self.share);
            tokens / (costs.of(rows + guesses) + each * guesses as f64)
        };
        let choices = 0..=available.min(GUESSES_MAX);
        let best = choices.max_by(|a, b| rate(*a).total_cmp(&rate(*b))).unwrap_or(0);
        if best == 0 && available > 0 {
            self.share += FORGIVING * (SHARE_FIRST - self.share);
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(of: impl Fn(usize) -> u64) -> Costs {
        let mut costs = Costs::new();
        (1..=16).for_each(|rows| costs.note(rows, Duration::from_micros(of(rows))));
        costs
    }

    fn acceptance(right: usize, of: usize) -> Acceptance {
        let mut acceptance = Acceptance::new();
        (0..30).for_each(|_| acceptance.note(of, right));
        acceptance
    }

    #[test]
    fn guesses_that_are_right_and_cheap_are_made_and_others_not() {
        let (flat, steep) = (costs(|_| 1000), costs(|rows| 1000 * rows as u64));
        assert_eq!(acceptance(5, 5).worth(&flat, 1, 20, 0.0), GUESSES_MAX);
        assert_eq!(acceptance(5, 5).worth(&flat, 1, 3, 0.0), 3);
        assert_eq!(acceptance(5, 5).worth(&steep, 1, 15, 0.0), 0, "a row costs as much as a step");
        assert_eq!(acceptance(5, 5).worth(&flat, 1, 15, 1e-3), 0, "a guess costs as much as a step");
        assert_eq!(acceptance(0, 3).worth(&costs(|rows| 1000 + 100 * rows as u64), 1, 15, 0.0), 0);
    }

    #[test]
    fn a_sequence_tries_once_more_some_day() {
        let costs = costs(|rows| 1000 + 300 * rows as u64);
        let mut acceptance = acceptance(0, 3);
        let tries = (0..1000).filter(|_| acceptance.worth(&costs, 1, 5, 0.0) > 0).count();
        assert!((1..1000).contains(&tries), "{tries}");
    }

    #[test]
    fn what_is_not_measured_is_supposed() {
        let mut costs = Costs::new();
        assert!(costs.of(4) > costs.of(1));
        costs.note(1, Duration::from_millis(8));
        assert_eq!(costs.of(5), 16e-3);
        costs.note(4, Duration::from_millis(9));
        assert_eq!(costs.of(5), 11e-3);
        costs.note(4, Duration::from_secs(9));
        assert!(costs.of(4) < 10e-3, "one slow step");
        costs.note(500, Duration::from_millis(9));
    }
}
