//! Regular expressions of tokenisers.
//!
//! Nearly all of them are plain but for one look-ahead, `\s+(?!\S)|\s+` at the end: a run of spaces leaves
//! its last one to the word that follows. [`Pattern`] knows that form and runs it on an automaton, in linear
//! time; what else needs look-around goes to a backtracking engine with a bound on its steps.

use std::ops::Range;

use regex_automata::meta;

use crate::error::Error;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    source: String,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// Linear. A match of the second of two patterns is a run of spaces that gives its last one back.
    Automaton(Box<meta::Regex>),
    Backtracking(Box<fancy_regex::Regex>),
}

/// Memory for one compiled automaton, in bytes: bounds what a hostile pattern can take.
const AUTOMATON_BYTES_MAX: usize = 8 << 20;
const PATTERN_BYTES_MAX: usize = 16 << 10;

impl Pattern {
    pub(crate) fn new(source: &str) -> Result<Self, Error> {
        if source.len() > PATTERN_BYTES_MAX {
            return Err(Error::pattern(source, format!("longer than {PATTERN_BYTES_MAX} bytes")));
        }
        let spaces = source.strip_suffix(r"|\s+(?!\S)|\s+").or_else(|| source.strip_suffix(r"|\s+(?!\S)"));
        let patterns = match spaces {
            Some(words) => vec![words, r"\s+"],
            None => vec![source],
        };
        let config = meta::Config::new()
            .nfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .hybrid_cache_capacity(AUTOMATON_BYTES_MAX);
        let engine = match meta::Builder::new().configure(config).build_many(&patterns) {
            Ok(automaton) => Engine::Automaton(Box::new(automaton)),
            Err(_) => Engine::Backtracking(Box::new(backtracking(source)?)),
        };
        Ok(Self { source: source.to_owned(), engine })
    }

    /// A pattern that matches exactly `text`.
    pub(crate) fn literal(text: &str) -> Result<Self, Error> {
        Self::new(&fancy_regex::escape(text))
    }

    /// The matches in `text`, in order. An error where the engine gives up.
    pub(crate) fn matches(&self, text: &str) -> Result<Vec<Range<usize>>, Error> {
        match &self.engine {
            Engine::Automaton(regex) => Ok(matches_linear(regex, text)),
            Engine::Backtracking(regex) => regex
                .find_iter(text)
                .map(|found| found.map(|m| m.range()).map_err(|e| Error::pattern(&self.source, e)))
                .collect(),
        }
    }

    pub(crate) fn replace_all(&self, text: &str, with: &str) -> Result<String, Error> {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for found in self.matches(text)? {
            out.push_str(&text[done..found.start]);
            out.push_str(with);
            done = found.end;
        }
        out.push_str(&text[done..]);
        Ok(out)
    }
}

fn backtracking(source: &str) -> Result<fancy_regex::Regex, Error> {
    fancy_regex::RegexBuilder::new(source)
        .delegate_size_limit(AUTOMATON_BYTES_MAX)
        .backtrack_limit(1_000_000)
        .build()
        .map_err(|e| Error::pattern(source, e))
}

fn matches_linear(regex: &meta::Regex, text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::with_capacity(text.len() / 4);
    let mut input = regex_automata::Input::new(text);
    while let Some(m) = regex.search(&input) {
        let mut range = m.range();
        if m.pattern().as_usize() == 1 {
            range.end = without_last_space(text, range.clone());
        }
        // An empty match would be found again for ever; it splits nothing, so step over the next character.
        let next = if range.is_empty() { after_char(text, range.end) } else { range.end };
        if !range.is_empty() {
            found.push(range);
        }
        if next > text.len() {
            break;
        }
        input.set_start(next);
    }
    found
}

/// The end of `\s+(?!\S)|\s+` matched at `range`, which holds only whitespace.
fn without_last_space(text: &str, range: Range<usize>) -> usize {
    let last = text[range.clone()].chars().next_back().map_or(0, char::len_utf8);
    let is_alone = range.len() == last;
    if range.end == text.len() || is_alone { range.end } else { range.end - last }
}

fn after_char(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(at + 1, |c| at + c.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QWEN: &str =
        r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    #[test]
    fn the_fast_form_equals_the_backtracking_one() {
        let fast = Pattern::new(QWEN).unwrap();
        assert!(matches!(fast.engine, Engine::Automaton(_)));
        let slow = Pattern {
            source: QWEN.into(),
            engine: Engine::Backtracking(Box::new(backtracking(QWEN).unwrap())),
        };
        for text in
            ["", " ", "a  b", "  a\n\n  b \u{3000}\u{3000}c", "x \t\r\n y's 12  ", "é\u{a0}\u{a0}ü", "   "]
        {
            assert_eq!(fast.matches(text).unwrap(), slow.matches(text).unwrap(), "{text:?}");
        }
    }

    #[test]
    fn a_pattern_that_explodes_is_an_error() {
        let pattern = Pattern::new(r"(?:(?:a+)+(?=b)c)|x").unwrap();
        assert!(pattern.matches(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn a_huge_repetition_is_refused() {
        assert!(Pattern::new(r"(?:\p{L}{1000}){1000}").is_err());
    }

    #[test]
    fn empty_matches_end() {
        assert_eq!(Pattern::new("x*").unwrap().matches("éxéx").unwrap(), [2..3, 5..6]);
    }
}
