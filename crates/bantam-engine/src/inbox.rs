//! Where requests wait for the engine's thread, and the thread for requests: it sleeps while there is none.

use std::sync::{Condvar, Mutex, MutexGuard};

use crate::Error;

/// A queue with one taker, who can also be woken without anything being handed in.
pub(crate) struct Inbox<T> {
    content: Mutex<Content<T>>,
    news: Condvar,
}

struct Content<T> {
    items: Vec<T>,
    woken: bool,
    closed: bool,
}

/// Whether the taker has something else to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It has: what is there is taken, be it nothing.
    None,
    /// It has not: it sleeps until there is news.
    UntilNews,
}

/// What can be told that something may have changed.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self);
}

impl<T: Send> Wake for Inbox<T> {
    fn wake(&self) {
        self.lock().woken = true;
        self.news.notify_one();
    }
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        let content = Content { items: Vec::new(), woken: false, closed: false };
        Inbox { content: Mutex::new(content), news: Condvar::new() }
    }

    /// Hands something in.
    pub(crate) fn put(&self, item: T) -> Result<(), Error> {
        let mut content = self.lock();
        if content.closed {
            return Err(Error::Stopped);
        }
        content.items.push(item);
        self.news.notify_one();
        Ok(())
    }

    /// Takes in nothing more; what was not taken is let go.
    pub(crate) fn close(&self) {
        let mut content = self.lock();
        content.closed = true;
        let left = std::mem::take(&mut content.items);
        self.news.notify_one();
        drop(content);
        drop(left);
    }

    /// Everything handed in since the last call, in order; `None` once closed.
    pub(crate) fn take(&self, patience: Patience) -> Option<Vec<T>> {
        let mut content = self.lock();
        while patience == Patience::UntilNews && content.is_quiet() {
            content = self.news.wait(content).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        content.woken = false;
        if content.closed { None } else { Some(std::mem::take(&mut content.items)) }
    }

    /// No code of others runs under the lock, so what a panic left behind is sound.
    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        self.content.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> Content<T> {
    fn is_quiet(&self) -> bool {
        self.items.is_empty() && !self.woken && !self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_sleeper_wakes_for_items_wakes_and_the_end() {
        let inbox = Arc::new(Inbox::new());
        let taker = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || {
            let mut taken = Vec::new();
            let mut calls = 0;
            while let Some(items) = taker.take(Patience::UntilNews) {
                calls += 1;
                taken.extend(items);
            }
            (taken, calls)
        });
        for item in 0..100 {
            inbox.put(item).unwrap();
            inbox.wake();
        }
        while !inbox.lock().is_quiet() {
            std::thread::yield_now();
        }
        inbox.close();
        let (taken, calls) = thread.join().unwrap();
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert!((1..=200).contains(&calls), "{calls} calls");
        assert!(matches!(inbox.put(1), Err(Error::Stopped)));
    }

    #[test]
    fn without_patience_nothing_is_waited_for() {
        let inbox = Inbox::<u8>::new();
        assert_eq!(inbox.take(Patience::None), Some(Vec::new()));
        inbox.wake();
        assert_eq!(inbox.take(Patience::UntilNews), Some(Vec::new()));
        inbox.close();
        assert_eq!(inbox.take(Patience::UntilNews), None);
    }
}
