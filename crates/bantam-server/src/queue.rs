//! Who may come in, and whose turn it is.
//!
//! A request holds one place from its admission to its end; beyond the places there are, it is refused at once. Its
//! answers take turns, of which there are as many as sequences run together. A request waits for one turn at a time and
//! turns go round in the order of waiting, so that one with many answers cannot starve the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::{Fault, Kind};

/// The queue before one model.
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    places_max: usize,
    turns: Arc<Semaphore>,
    turns_max: usize,
}

/// A right to be here, or to run, until it is dropped.
pub(crate) type Permit = OwnedSemaphorePermit;

impl Queue {
    /// A queue for so many sequences that run together, before which so many requests may wait.
    pub(crate) fn new(running_max: usize, waiting_max: usize) -> Self {
        let turns_max = running_max.clamp(1, Semaphore::MAX_PERMITS);
        let places_max = turns_max.saturating_add(waiting_max).min(Semaphore::MAX_PERMITS);
        Queue {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            turns: Arc::new(Semaphore::new(turns_max)),
            turns_max,
        }
    }

    /// Comes in, or is told that it is full.
    pub(crate) fn enter(&self) -> Result<Permit, Fault> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let waiting = self.places_max - self.turns_max;
            let kind = Kind::Busy { retry_after_s: (self.places_max / self.turns_max).clamp(1, 30) as u64 };
            Fault::new(kind, format!("{waiting} requests are waiting already: try again later"))
        })
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Result<Permit, Fault> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        turn.map_err(|_| Fault::new(Kind::Stopping, "the server is being stopped"))
    }

    /// Requests that are in.
    pub(crate) fn inside(&self) -> usize {
        self.places_max - self.places.available_permits()
    }

    /// Sequences that run.
    pub(crate) fn running(&self) -> usize {
        self.turns_max - self.turns.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_places_it_is_full() {
        let queue = Queue::new(2, 1);
        let inside: Vec<Permit> = (0..3).map(|_| queue.enter().unwrap()).collect();
        let fault = queue.enter().unwrap_err();
        assert_eq!((fault.kind.status().as_u16(), fault.kind.retry_after_s()), (503, Some(1)));
        assert_eq!(queue.inside(), 3);
        drop(inside);
        assert!(queue.enter().is_ok());
        assert!(Queue::new(0, usize::MAX).enter().is_ok());
    }
}
