//! What masks over a vocabulary are computed from.

use std::sync::Arc;

use bantam_text::Tokenizer;
use llguidance::api::{GrammarInit, TopLevelGrammar};
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{Logger, Matcher, ParserFactory};

use crate::closing::Closers;
use crate::error::Error;
use crate::words::Words;

/// What all grammars over a vocabulary share.
pub(crate) struct Tables {
    factory: ParserFactory,
    pub(crate) words: TokEnv,
    /// Bits of all tokens but those that end an answer.
    pub(crate) unstopped: Vec<u32>,
    /// What brings an answer to its end.
    pub(crate) closers: Closers,
}

impl Tables {
    pub(crate) fn new(tokenizer: &Tokenizer, vocab_size: usize, stop_tokens: &[u32]) -> Result<Self, Error> {
        let words: TokEnv = Arc::new(Words::new(tokenizer, vocab_size, stop_tokens));
        let mut factory = ParserFactory::new_simple(&words)
            .map_err(|error| Error::Vocabulary { reason: error.to_string() })?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.verbose_errors = false;
        limits.max_grammar_size = GRAMMAR_SIZE_MAX;
        let mut unstopped = vec![u32::MAX; vocab_size.div_ceil(32)];
        for stop in stop_tokens.iter().filter(|stop| (**stop as usize) < vocab_size) {
            unstopped[*stop as usize / 32] &= !(1 << (stop % 32));
        }
        let closers = Closers::new(&words);
        Ok(Tables { factory, words, unstopped, closers })
    }

    /// What follows a grammar from its beginning.
    pub(crate) fn matcher(&self, grammar: TopLevelGrammar, lexemes: Lexemes) -> Matcher {
        let mut limits = self.factory.limits().clone();
        if lexemes == Lexemes::Short {
            limits.step_max_items = SHORT_ITEMS_MAX;
        }
        let (grammar, quiet) = (GrammarInit::Serialized(grammar), Logger::new(0, 0));
        let abilities = InferenceCapabilities::default();
        Matcher::new(self.factory.create_parser_from_init_ext(grammar, quiet, abilities, limits))
    }
}

/// What a grammar's texts are cut into.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lexemes {
    /// What whoever wrote it chose.
    Chosen,
    /// Single characters, where there is no other way.
    Short,
}

/// Places in a grammar that a mask may be computed from, where one character of a token after the other leads to some:
/// a twentieth of a microsecond each.
const SHORT_ITEMS_MAX: usize = 1_000_000;

/// Symbols of a grammar, at most.
const GRAMMAR_SIZE_MAX: usize = 200_000;

/// The first line of what the parser says, without its own marks. Of a pattern it says what is wrong in the last.
pub(crate) fn told(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    let line = line.strip_prefix("panic: ").unwrap_or(line).trim();
    match reason.lines().filter_map(|line| line.trim().strip_prefix("error: ")).next_back() {
        Some(why) if line.ends_with(':') => format!("{line} {why}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_pattern_is_told() {
        let parsed = "invalid regex \"(\": regex parse error:\n    (\n    ^\nerror: unclosed group\n<state>";
        assert_eq!(told(parsed), "invalid regex \"(\": regex parse error: unclosed group");
        assert_eq!(told("panic: too deep\nerror: x"), "too deep");
    }
}
