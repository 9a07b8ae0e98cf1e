//! How a text that is to match a pattern can soon be one that does.

use std::collections::{HashMap, VecDeque};

use regex_automata::Input;
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;

/// A pattern that a string of JSON is to match somewhere, as in JSON Schema.
pub(crate) struct Pattern {
    dfa: DFA,
    chars_min: usize,
}

/// Where a text stands: the automaton's state, and how many characters there are, those beyond the least of them not
/// counted.
type Stand = (LazyStateID, usize);

impl Pattern {
    /// `None` where it is none, or too large. A string is to have `chars_min` characters, too.
    pub(crate) fn new(pattern: &str, chars_min: usize) -> Option<Self> {
        // A state must keep its number as long as a search lasts: rather than clear the cache, the search is given up.
        let config = DFA::config()
            .unicode_word_boundary(true)
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(0));
        let of_states = thompson::Config::new().nfa_size_limit(Some(NFA_BYTES_MAX));
        let dfa = DFA::builder().configure(config).thompson(of_states).build(pattern).ok()?;
        Some(Pattern { dfa, chars_min })
    }

    /// The fewest printable characters, none of which JSON has to escape, that make a text match which begins by `text`;
    /// `None` where there are none, or the search takes too long.
    pub(crate) fn end_of(&self, text: &str) -> Option<String> {
        let cache = &mut self.dfa.create_cache();
        let start = (self.state_behind(cache, text)?, text.chars().count().min(self.chars_min));
        let mut came_by: HashMap<Stand, Option<(Stand, u8)>> = HashMap::from([(start, None)]);
        let mut open = VecDeque::from([start]);
        while let Some(stand) = open.pop_front() {
            if self.holds(cache, stand)? {
                return Some(trace(&came_by, stand));
            }
            for byte in LIKED_BYTES.iter().copied() {
                let next = self.behind(cache, stand, byte)?;
                if !next.0.is_dead() && !came_by.contains_key(&next) {
                    came_by.insert(next, Some((stand, byte)));
                    open.push_back(next);
                }
            }
            if came_by.len() > STANDS_MAX {
                return None;
            }
        }
        None
    }

    fn state_behind(&self, cache: &mut Cache, text: &str) -> Option<LazyStateID> {
        let start = self.dfa.start_state_forward(cache, &Input::new(text)).ok()?;
        text.bytes().try_fold(start, |state, byte| self.step(cache, state, byte))
    }

    fn behind(&self, cache: &mut Cache, (state, chars): Stand, byte: u8) -> Option<Stand> {
        Some((self.step(cache, state, byte)?, (chars + 1).min(self.chars_min)))
    }

    /// What has matched once matches whatever comes behind it.
    fn step(&self, cache: &mut Cache, state: LazyStateID, byte: u8) -> Option<LazyStateID> {
        if state.is_match() { Some(state) } else { self.dfa.next_state(cache, state, byte).ok() }
    }

    /// Whether a text that ends here matches and is long enough.
    fn holds(&self, cache: &mut Cache, (state, chars): Stand) -> Option<bool> {
        let matches = state.is_match() || self.dfa.next_eoi_state(cache, state).ok()?.is_match();
        Some(matches && chars >= self.chars_min)
    }
}

/// The bytes by which a stand was come to from the first one.
fn trace(came_by: &HashMap<Stand, Option<(Stand, u8)>>, end: Stand) -> String {
    let before = |stand: &Stand| came_by.get(stand).copied().flatten();
    let steps = std::iter::successors(before(&end), |(stand, _)| before(stand));
    let mut text: Vec<char> = steps.map(|(_, byte)| char::from(byte)).collect();
    text.reverse();
    text.into_iter().collect()
}

/// Printable and written as they are in JSON; those that are tried first are taken where several would do.
const LIKED_BYTES: &[u8] =
    b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ -_.:/,@+#%&=?!~$*'()<>[]{}^|;`";

const CACHE_BYTES: usize = 8 << 20;
const NFA_BYTES_MAX: usize = 4 << 20;

/// So many places within the pattern are looked at.
const STANDS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_the_shortest_that_match() {
        let end = |pattern: &str, text: &str| Pattern::new(pattern, 0).unwrap().end_of(text);
        let cases = [
            ("", "", Some("")),
            ("[a-z]", "12", Some("a")),
            ("[a-z]", "1b2", Some("")),
            (r"\d{4}-\d{2}T", "20", Some("00-00T")),
            (r"\d{4}-\d{2}T", "on 2012-1", Some("0T")),
            (r"^\d{2}$", "1", Some("0")),
            (r"^\d{2}$", "123", None),
            (r"\.png$", ".png, a", Some(".png")),
            (r"^(a|bcd)+x$", "bc", Some("dx")),
            ("^é\"$", "", None),
            (r"\bat\b", "cat", Some(" at")),
        ];
        for (pattern, text, wanted) in cases {
            assert_eq!(end(pattern, text).as_deref(), wanted, "{pattern} behind {text:?}");
        }
        assert!(Pattern::new("(", 0).is_none());
        assert!(Pattern::new("((a{1000}){1000}){1000}", 0).is_none());
    }

    #[test]
    fn short_texts_are_made_as_long_as_they_must_be() {
        let pattern = Pattern::new("[0-9]", 5).unwrap();
        assert_eq!(pattern.end_of("").unwrap(), "aaaa0");
        assert_eq!(pattern.end_of("éé1").unwrap(), "aa");
        assert_eq!(Pattern::new("^[0-9]{3}$", 5).unwrap().end_of(""), None);
        assert_eq!(Pattern::new("a{100000}b", 0).and_then(|much| much.end_of("")), None);
    }
}
