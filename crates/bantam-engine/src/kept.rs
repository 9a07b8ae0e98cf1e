//! States of sequences that have ended, kept for requests that begin alike.
//!
//! All states of an engine are made for the same greatest length, so that rotary angles that depend on it are
//! the same in all of them: a state stands for its tokens and its adapter, whoever computed it.

use std::sync::Arc;

use bantam_model::{Adapter, State};

/// Kept states, least recently used first.
pub(crate) struct Kept {
    entries: Vec<Left>,
    bytes_max: usize,
}

/// What a sequence leaves.
pub(crate) struct Left {
    /// Prompt and answer; the state has taken in the first ones, or all.
    pub(crate) tokens: Vec<u32>,
    /// What changed the model; held, so that no other one can have its address.
    pub(crate) adapter: Option<Arc<Adapter>>,
    pub(crate) state: State,
}

/// What becomes of a kept state whose beginning is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Use {
    /// It is left alone.
    Nothing,
    /// It goes on as the new sequence's own.
    Whole,
    /// It stays, and the new sequence has a copy of its beginning.
    Copy,
}

/// How a state of `length` tokens is best used by a prompt that has the first `common` of them.
fn best_use(length: usize, common: usize) -> Use {
    let lost = length - common;
    if common == 0 || common * COPY_WORTH < length {
        Use::Nothing
    } else if lost <= common.min(LOST_MAX) {
        Use::Whole
    } else {
        Use::Copy
    }
}

/// A copy takes the whole state first; below this share of it, computing is as fast.
const COPY_WORTH: usize = 64;

/// A state that would lose no more than so many tokens is taken rather than copied: a conversation goes on.
const LOST_MAX: usize = 64;

impl Kept {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Kept { entries: Vec::new(), bytes_max }
    }

    /// Keeps a state, and lets go of those least recently used beyond the limit.
    pub(crate) fn keep(&mut self, mut left: Left) {
        left.tokens.truncate(left.state.length());
        if left.tokens.is_empty() {
            return;
        }
        self.entries.push(left);
        let mut bytes: usize = self.entries.iter().map(|entry| entry.state.bytes()).sum();
        while bytes > self.bytes_max {
            bytes -= self.entries.remove(0).state.bytes();
        }
    }

    /// The state of the same adapter with the longest common beginning, cut to it. At least the prompt's last token is left to compute,
    /// since its logits are needed.
    pub(crate) fn take(&mut self, prompt: &[u32], adapter: Option<&Arc<Adapter>>) -> Option<State> {
        let wanted = &prompt[..prompt.len().saturating_sub(1)];
        let common = |entry: &Left| entry.tokens.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        let alike = |entry: &Left| entry.adapter.as_ref().map(Arc::as_ptr) == adapter.map(Arc::as_ptr);
        let entries = self.entries.iter().enumerate().filter(|(_, entry)| alike(entry));
        let commons = entries.map(|(place, entry)| (place, common(entry)));
        let (place, common) = commons.max_by_key(|(_, common)| *common)?;
        let best = best_use(self.entries[place].tokens.len(), common);
        if best == Use::Nothing {
            return None;
        }
        let entry = self.entries.remove(place);
        let mut state = match best {
            Use::Copy => {
                let copy = entry.state.clone();
                self.entries.push(entry);
                copy
            }
            Use::Whole | Use::Nothing => entry.state,
        };
        state.truncate(common);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_taken_copied_or_left_by_what_it_would_lose() {
        assert_eq!(best_use(100, 100), Use::Whole);
        assert_eq!(best_use(100, 60), Use::Whole);
        assert_eq!(best_use(1000, 936), Use::Whole);
        assert_eq!(best_use(1000, 935), Use::Copy);
        assert_eq!(best_use(20, 9), Use::Copy, "it would lose more than it gives");
        assert_eq!(best_use(1000, 15), Use::Nothing, "only a begin-of-text token and a little more");
        assert_eq!(best_use(1000, 0), Use::Nothing);
    }
}
