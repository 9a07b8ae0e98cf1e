//! What an engine tells of itself while it runs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What an engine does, as it is after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of the states of running and ended sequences.
    pub state_bytes: usize,
    /// The most that they were so far.
    pub state_bytes_peak: usize,
    /// The most that they may be.
    pub state_bytes_max: usize,
    /// Sequences that run.
    pub running: usize,
    /// Sequences that wait.
    pub waiting: usize,
    /// How often a sequence was paused for want of memory, so far.
    pub pauses: u64,
}

/// [`Figures`] for several threads.
#[derive(Default)]
pub(crate) struct Gauges {
    state_bytes: AtomicUsize,
    state_bytes_peak: AtomicUsize,
    running: AtomicUsize,
    waiting: AtomicUsize,
    pauses: AtomicU64,
}

impl Gauges {
    pub(crate) fn set_bytes(&self, state_bytes: usize) {
        self.state_bytes.store(state_bytes, Ordering::Relaxed);
        self.state_bytes_peak.fetch_max(state_bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_sequences(&self, running: usize, waiting: usize) {
        self.running.store(running, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    pub(crate) fn count_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self, state_bytes_max: usize) -> Figures {
        Figures {
            state_bytes: self.state_bytes.load(Ordering::Relaxed),
            state_bytes_peak: self.state_bytes_peak.load(Ordering::Relaxed),
            state_bytes_max,
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            pauses: self.pauses.load(Ordering::Relaxed),
        }
    }
}
