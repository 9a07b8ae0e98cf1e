//! The way of events from the engine's thread to whoever asked.
//!
//! A receiver that is slow holds back nobody but itself: its prompt's logits, which are large, are computed only
//! as it reads them; tokens are small and wait in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::Error;
use crate::inbox::Wake;
use crate::request::{Event, Reason};

/// What the two ends of a stream know of each other.
#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    /// Events with logits that were sent and not read.
    unread: AtomicUsize,
}

/// The events of one request, in order. Dropping it cancels the request.
pub struct Stream {
    events: Receiver<Event>,
    shared: Arc<Shared>,
    engine: Arc<dyn Wake>,
    ended: bool,
}

/// The engine's end of a stream.
pub(crate) struct Outlet {
    events: Sender<Event>,
    shared: Arc<Shared>,
}

/// Both ends; reading wakes the engine.
pub(crate) fn stream(engine: Arc<dyn Wake>) -> (Outlet, Stream) {
    let (sender, events) = channel();
    let shared = Arc::new(Shared::default());
    let outlet = Outlet { events: sender, shared: Arc::clone(&shared) };
    (outlet, Stream { events, shared, engine, ended: false })
}

impl Stream {
    /// The tokens of the whole answer, and why it ended.
    ///
    /// # Errors
    ///
    /// What the request failed with.
    pub fn answer(self) -> Result<(Vec<u32>, Reason), Error> {
        let mut ids = Vec::new();
        for event in self {
            match event {
                Event::Token { id, .. } => ids.push(id),
                Event::Done { reason, .. } => return Ok((ids, reason)),
                Event::Failed(error) => return Err(error),
                Event::Prompt { .. } | Event::Pooled(_) | Event::Shifted { .. } => {}
            }
        }
        Err(Error::Stopped)
    }

    /// Ends the request before the next step; its last event tells so.
    pub fn cancel(&self) {
        self.canceller()();
    }

    /// Something that cancels the request from elsewhere.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + 'static {
        let (shared, engine) = (Arc::clone(&self.shared), Arc::clone(&self.engine));
        move || {
            shared.cancelled.store(true, Ordering::Relaxed);
            engine.wake();
        }
    }
}

impl Iterator for Stream {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().unwrap_or(Event::Failed(Error::Stopped));
        if matches!(event, Event::Prompt { .. }) {
            self.shared.unread.fetch_sub(1, Ordering::Relaxed);
            self.engine.wake();
        }
        self.ended = matches!(event, Event::Done { .. } | Event::Failed(_));
        Some(event)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Outlet {
    /// Whether the request was cancelled, or nobody listens any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// Whether enough logits wait to be read.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.unread.load(Ordering::Relaxed) >= UNREAD_MAX
    }

    pub(crate) fn send(&self, event: Event) {
        if matches!(event, Event::Prompt { .. }) {
            self.shared.unread.fetch_add(1, Ordering::Relaxed);
        }
        // A stream that was dropped is cancelled, which the scheduler sees before the next step.
        let _ = self.events.send(event);
    }
}

/// One event is read while the next one is computed.
const UNREAD_MAX: usize = 2;
