//! What is kept in memory between requests: responses, so that one can go on where another ended, and conversations.
//!
//! Each belongs to who made it, and is not there for anybody else. What was kept or changed longest ago is forgotten
//! when there are too many or they take too much, and all of them when the server ends.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::caller::Caller;

/// What takes a part of the memory that there is for its kind.
pub(crate) trait Weighed {
    /// About how much.
    fn bytes(&self) -> usize;
}

/// A response that is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) response: Value,
    /// The conversation with the answer, without instructions.
    pub(crate) messages: Vec<Value>,
    /// What was given last.
    pub(crate) items: Vec<Value>,
}

impl Weighed for Entry {
    fn bytes(&self) -> usize {
        let lists = self.messages.iter().chain(&self.items);
        lists.chain([&self.response]).map(bytes_of).sum()
    }
}

/// What a value takes as JSON, which is about what it takes in memory.
pub(crate) fn bytes_of(value: &Value) -> usize {
    value.to_string().len()
}

/// All of one kind that are kept, those changed longest ago first.
pub(crate) struct Stored<T> {
    slots: Mutex<VecDeque<Slot<T>>>,
    count_max: usize,
    bytes_max: usize,
}

struct Slot<T> {
    id: String,
    /// Who alone may see it.
    caller: Caller,
    bytes: usize,
    entry: T,
}

impl<T: Weighed> Stored<T> {
    /// At most so many, which take at most so much together.
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Stored { slots: Mutex::default(), count_max, bytes_max }
    }

    fn slots(&self) -> MutexGuard<'_, VecDeque<Slot<T>>> {
        // Whoever panicked had changed nothing by halves.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at one that whoever asks may see.
    pub(crate) fn look<R>(&self, id: &str, look: impl FnOnce(&T) -> R) -> Option<R> {
        let (slots, caller) = (self.slots(), Caller::current());
        place(&slots, caller, id).map(|at| look(&slots[at].entry))
    }

    /// One that whoever asks may see.
    pub(crate) fn find(&self, id: &str) -> Option<T>
    where
        T: Clone,
    {
        self.look(id, T::clone)
    }

    /// What is found first in those that whoever asks may see, the newest first.
    pub(crate) fn search<R>(&self, find: impl Fn(&T) -> Option<R>) -> Option<R> {
        let (slots, caller) = (self.slots(), Caller::current());
        slots.iter().rev().filter(|slot| slot.caller == caller).find_map(|slot| find(&slot.entry))
    }

    /// Whether it was there.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let (mut slots, caller) = (self.slots(), Caller::current());
        place(&slots, caller, id).and_then(|at| slots.remove(at)).is_some()
    }

    /// Keeps one, if it is not too large, in the place of the oldest.
    pub(crate) fn keep(&self, caller: Caller, id: &str, entry: T) {
        let bytes = entry.bytes();
        if bytes <= self.bytes_max {
            let mut slots = self.slots();
            slots.push_back(Slot { id: id.to_owned(), caller, bytes, entry });
            self.make_room(&mut slots);
        }
    }

    /// Changes one, which is the newest from then on; `None` if it is not there.
    pub(crate) fn change<R>(&self, caller: Caller, id: &str, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut slots = self.slots();
        let mut slot = place(&slots, caller, id).and_then(|at| slots.remove(at))?;
        let changed = change(&mut slot.entry);
        slot.bytes = slot.entry.bytes();
        slots.push_back(slot);
        self.make_room(&mut slots);
        Some(changed)
    }

    fn make_room(&self, slots: &mut VecDeque<Slot<T>>) {
        let mut total: usize = slots.iter().map(|slot| slot.bytes).sum();
        while (total > self.bytes_max || slots.len() > self.count_max)
            && let Some(slot) = slots.pop_front()
        {
            total -= slot.bytes;
        }
    }
}

fn place<T>(slots: &VecDeque<Slot<T>>, caller: Caller, id: &str) -> Option<usize> {
    slots.iter().position(|slot| slot.id == id && slot.caller == caller)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighed for String {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    const ME: Caller = Caller(0);

    fn stored(ids: &[&str]) -> Stored<String> {
        let stored = Stored::new(3, 100);
        ids.iter().for_each(|id| stored.keep(ME, id, "x".into()));
        stored
    }

    fn has(stored: &Stored<String>) -> Vec<&'static str> {
        ["a", "b", "c", "d", "e"].into_iter().filter(|id| stored.find(id).is_some()).collect()
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let stored = stored(&["a", "b", "c", "d"]);
        assert_eq!(has(&stored), ["b", "c", "d"]);
        stored.keep(ME, "e", "x".repeat(99));
        assert_eq!(has(&stored), ["d", "e"]);
        stored.keep(ME, "a", "x".repeat(101));
        assert_eq!(has(&stored), ["d", "e"], "what is too large takes nobody's place");
        assert!(stored.remove("e") && !stored.remove("e"));
    }

    #[test]
    fn what_changes_becomes_the_newest_and_is_measured_again() {
        let stored = stored(&["a", "b", "c"]);
        assert_eq!(stored.change(ME, "a", |text| text.push('y')), Some(()));
        stored.keep(ME, "d", "x".into());
        assert_eq!(has(&stored), ["a", "c", "d"]);
        stored.change(ME, "c", |text| *text = "x".repeat(98));
        assert_eq!(has(&stored), ["c", "d"]);
        assert_eq!(stored.change(ME, "b", |_| ()), None);
    }

    #[test]
    fn nobody_has_what_another_made() {
        let stored = stored(&["a"]);
        stored.keep(Caller(7), "b", "x".into());
        assert_eq!((has(&stored), stored.remove("b")), (vec!["a"], false));
        assert_eq!(stored.change(ME, "b", |_| ()), None);
        assert_eq!(stored.change(Caller(7), "b", |_| ()), Some(()));
    }
}
