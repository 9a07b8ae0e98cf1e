//! A constraint whose time is counted.

use std::sync::Arc;
use std::time::Instant;

use bantam_engine::{Allowed, Constraint, Error};

use crate::counters::Counters;

/// A constraint of an answer of a model, for whose figures its time is taken. The engine holds it: it must not hold the model,
/// which has the engine.
pub(super) struct Timed {
    constraint: Box<dyn Constraint>,
    counters: Arc<Counters>,
}

impl std::fmt::Debug for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.constraint.fmt(f)
    }
}

impl Timed {
    pub(super) fn new(constraint: Box<dyn Constraint>, counters: Arc<Counters>) -> Self {
        Timed { constraint, counters }
    }
}

/// Counts the time of some work, and how many choices it was for.
fn timed<T>(counters: &Counters, choices: u64, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    counters.masks.add(choices);
    counters.mask_nanos.add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    done
}

impl Constraint for Timed {
    fn allowed(&mut self) -> Result<Allowed<'_>, Error> {
        timed(&self.counters, 1, || self.constraint.allowed())
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        timed(&self.counters, 0, || self.constraint.commit(token))
    }

    fn forced(&mut self) -> Result<Vec<u32>, Error> {
        timed(&self.counters, 0, || self.constraint.forced())
    }

    fn is_complete(&self) -> bool {
        self.constraint.is_complete()
    }

    fn in_time(&mut self, token: u32, left: usize) -> Result<Option<u32>, Error> {
        timed(&self.counters, 0, || self.constraint.in_time(token, left))
    }

    fn is_cut_short(&self) -> bool {
        self.constraint.is_cut_short()
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(Timed::new(self.constraint.fork(), Arc::clone(&self.counters)))
    }
}
