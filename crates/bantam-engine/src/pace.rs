//! How many rows a step may have so that it takes no longer than it should.

use std::time::Duration;

/// What steps cost, measured.
#[derive(Default)]
pub(crate) struct Pace {
    /// Seconds of a step without prompts, which one with prompts takes too.
    base_s: Option<f64>,
    /// What each row of a prompt adds.
    row_s: Option<f64>,
}

/// Steps with fewer rows cost more for each; what they take says little of longer ones.
const ROWS_MIN: usize = 16;
/// The weight of the newest measurement.
const NEWEST: f64 = 0.2;

impl Pace {
    /// Takes in what a step without prompts took.
    pub(crate) fn note_base(&mut self, took: Duration) {
        update(&mut self.base_s, took.as_secs_f64());
    }

    /// Takes in that a step with so many rows, of prompts most of them, took so long.
    pub(crate) fn note(&mut self, rows: usize, took: Duration) {
        if rows >= ROWS_MIN {
            let own = took.as_secs_f64() - self.base_s.unwrap_or(0.0);
            update(&mut self.row_s, own / rows as f64);
        }
    }

    /// Rows of prompts, from a few up to `most`, with which a step takes about so long; or twice as long as without
    /// them where it takes long as it is, since fewer rows would not make it short. `most` before anything was measured.
    pub(crate) fn rows(&self, time: Duration, most: usize) -> usize {
        let Some(row_s) = self.row_s else { return most };
        let base_s = self.base_s.unwrap_or(0.0);
        let left_s = (time.as_secs_f64() - base_s).max(base_s);
        ((left_s / row_s) as usize).clamp(ROWS_MIN.min(most), most)
    }
}

/// Moves towards a measurement. A step that others interrupted must not count for long, nor a clock that stands still at
/// all.
fn update(known: &mut Option<f64>, seconds: f64) {
    if seconds > 0.0 {
        *known = Some(known.map_or(seconds, |known| known + NEWEST * (seconds.min(2.0 * known) - known)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_fit_the_time_as_far_as_is_known() {
        let mut pace = Pace::default();
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

    #[test]
    fn where_steps_are_slow_anyway_prompts_go_on() {
        let (mut pace, bound) = (Pace::default(), Duration::from_millis(100));
        pace.note_base(Duration::from_millis(60));
        pace.note(100, Duration::from_millis(160));
        assert!((58..=61).contains(&pace.rows(bound, 128)), "as many as take another 60 ms");
        (0..50).for_each(|_| pace.note_base(Duration::from_millis(500)));
        (0..50).for_each(|_| pace.note(100, Duration::from_millis(600)));
        assert!((480..=520).contains(&pace.rows(bound, 1000)), "as many as take as long again");
    }
}
