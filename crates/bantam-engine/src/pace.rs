//! How many rows a step may have so that it takes no longer than it should.

use std::time::Duration;

/// What rows cost in steps with prompts, measured.
pub(crate) struct Pace {
    row_s: Option<f64>,
}

/// Steps with fewer rows cost more for each; what they take says little of longer ones.
const ROWS_MIN: usize = 16;
/// The weight of the newest measurement.
const NEWEST: f64 = 0.2;

impl Pace {
    pub(crate) fn new() -> Self {
        Pace { row_s: None }
    }

    /// Takes in that a step of so many rows took so long.
    pub(crate) fn note(&mut self, rows: usize, took: Duration) {
        if rows < ROWS_MIN || took.is_zero() {
            return;
        }
        let row_s = took.as_secs_f64() / rows as f64;
        // A step that others interrupted must not count for long.
        let row_s = self.row_s.map_or(row_s, |known| known + NEWEST * (row_s.min(2.0 * known) - known));
        self.row_s = Some(row_s);
    }

    /// Rows of a step that takes about so long, from a few up to `most`; `most` before anything was measured.
    pub(crate) fn rows(&self, time: Duration, most: usize) -> usize {
        let Some(row_s) = self.row_s else { return most };
        ((time.as_secs_f64() / row_s) as usize).clamp(ROWS_MIN.min(most), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fit_the_time_as_far_as_is_known() {
        let mut pace = Pace::new();
        let bound = Duration::from_millis(100);
        assert_eq!(pace.rows(bound, 128), 128);
        pace.note(3, Duration::from_secs(1));
        assert_eq!(pace.rows(bound, 128), 128, "a short step says nothing");
        pace.note(128, Duration::ZERO);
        assert_eq!(pace.rows(bound, 128), 128, "and a clock that stands still neither");
        pace.note(100, Duration::from_millis(200));
        assert_eq!(pace.rows(bound, 128), 50);
        pace.note(50, Duration::from_secs(50));
        assert!((40..50).contains(&pace.rows(bound, 128)), "one slow step");
        (0..50).for_each(|_| pace.note(100, Duration::from_millis(1)));
        assert_eq!(pace.rows(bound, 128), 128);
        (0..200).for_each(|_| pace.note(100, Duration::from_secs(9)));
        assert_eq!((pace.rows(bound, 128), pace.rows(bound, 4)), (16, 4), "but never none");
    }
}
