//! How much memory a model takes, and how much of it can be done without.
//!
//! All of it is predicted before anything is loaded: what a model may take at most, not what it happens to use. So
//! the sum over all models that are loaded stays below the budget whatever is asked of them.

/// Bytes that a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The weights.
    pub weights_bytes: u64,
    /// Activations and logits of a step, vocabulary, small change.
    pub work_bytes: u64,
    /// The state of one sequence that fills its context.
    pub sequence_bytes: u64,
    /// Sequences that are to run together.
    pub sequences_max: usize,
    /// What ended sequences leave for those that begin alike.
    pub kept_bytes_max: u64,
}

/// How much of what it could use a model is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Sequences that run together, at least one.
    pub sequences_max: usize,
    /// What ended sequences may leave.
    pub kept_bytes_max: u64,
}

impl Need {
    /// Bytes with this much.
    pub fn bytes(&self, fit: Fit) -> u64 {
        let states = self.sequence_bytes.saturating_mul(fit.sequences_max as u64);
        self.fixed_bytes().saturating_add(states).saturating_add(fit.kept_bytes_max)
    }

    /// Bytes without which it cannot run at all.
    pub fn least_bytes(&self) -> u64 {
        self.bytes(Fit { sequences_max: 1, kept_bytes_max: 0 })
    }

    /// As much as there is room for; `None` if it cannot run in it.
    pub fn within(&self, room_bytes: u64) -> Option<Fit> {
        let left = room_bytes.checked_sub(self.fixed_bytes())?;
        let places = left.checked_div(self.sequence_bytes).unwrap_or(u64::MAX);
        let sequences_max = usize::try_from(places).unwrap_or(usize::MAX).min(self.sequences_max.max(1));
        let left = left - self.sequence_bytes.saturating_mul(sequences_max as u64);
        let fit = Fit { sequences_max, kept_bytes_max: self.kept_bytes_max.min(left) };
        (sequences_max > 0).then_some(fit)
    }

    /// Whether as many sequences can run together as are wanted.
    pub(crate) fn has_all_sequences(&self, fit: &Fit) -> bool {
        fit.sequences_max >= self.sequences_max
    }

    fn fixed_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.work_bytes)
    }

    /// What it is made of, for people.
    pub(crate) fn told(&self) -> String {
        format!(
            "{} ({} of weights, {} for one answer's context, {} to work with)",
            bytes(self.least_bytes()),
            bytes(self.weights_bytes),
            bytes(self.sequence_bytes),
            bytes(self.work_bytes)
        )
    }
}

/// `1.25 GB`, in powers of ten.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e6 => format!("{:.0} kB", b / 1e3),
        b if b < 1e9 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: Need =
        Need { weights_bytes: 100, work_bytes: 10, sequence_bytes: 20, sequences_max: 4, kept_bytes_max: 50 };

    #[test]
    fn what_can_be_done_without_goes_first() {
        let within = |room| NEED.within(room).map(|fit| (fit.sequences_max, fit.kept_bytes_max));
        assert_eq!(within(1000), Some((4, 50)));
        assert_eq!(within(240), Some((4, 50)));
        assert_eq!(within(239), Some((4, 49)));
        assert_eq!(within(190), Some((4, 0)));
        assert_eq!(within(189), Some((3, 19)));
        assert_eq!(within(130), Some((1, 0)));
        assert_eq!(within(129), None);
        assert_eq!(within(0), None);
    }

    #[test]
    fn what_is_given_never_takes_more_than_the_room() {
        let extremes = Need { sequence_bytes: u64::MAX, weights_bytes: u64::MAX, ..NEED };
        assert_eq!(extremes.within(u64::MAX - 1), None);
        let stateless = Need { sequence_bytes: 0, ..NEED };
        for room in 0..300 {
            for need in [NEED, stateless, Need { sequences_max: 0, ..NEED }] {
                assert!(need.within(room).is_none_or(|fit| need.bytes(fit) <= room), "{room}");
            }
        }
    }
}
