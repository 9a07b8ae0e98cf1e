//! States of sequences that have ended, kept for requests that begin alike.

use bantam_model::State;

/// Kept states, least recently used first.
pub(crate) struct Kept {
    entries: Vec<Entry>,
    bytes_max: usize,
}

struct Entry {
    /// Those that the state has taken in.
    tokens: Vec<u32>,
    state: State,
}

impl Kept {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Kept { entries: Vec::new(), bytes_max }
    }

    /// Keeps a state, and lets go of the oldest ones beyond the limit.
    pub(crate) fn keep(&mut self, mut tokens: Vec<u32>, state: State) {
        tokens.truncate(state.length());
        if tokens.is_empty() {
            return;
        }
        self.entries.push(Entry { tokens, state });
        while self.entries.len() > 1 && self.bytes() > self.bytes_max {
            self.entries.remove(0);
        }
        if self.bytes() > self.bytes_max {
            self.entries.clear();
        }
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.state.bytes()).sum()
    }

    /// The state with the longest common beginning, cut to it. At least the prompt's last token is left to compute,
    /// since its logits are needed.
    pub(crate) fn take(&mut self, prompt: &[u32]) -> Option<State> {
        let common = |entry: &Entry| {
            let most = prompt.len() - 1;
            entry.tokens.iter().zip(&prompt[..most]).take_while(|(a, b)| a == b).count()
        };
        let (place, length) =
            self.entries.iter().map(common).enumerate().max_by_key(|(_, length)| *length)?;
        if length == 0 {
            return None;
        }
        // A conversation goes on from its whole state; one that only begins alike leaves the kept one whole.
        if length == self.entries[place].tokens.len()
            || length + SHARED_MIN >= self.entries[place].tokens.len()
        {
            let mut state = self.entries.remove(place).state;
            state.truncate(length);
            return Some(state);
        }
        let mut state = self.entries[place].state.clone();
        state.truncate(length);
        Some(state)
    }
}

/// A kept state that would lose no more than so many tokens is taken rather than copied.
const SHARED_MIN: usize = 64;
