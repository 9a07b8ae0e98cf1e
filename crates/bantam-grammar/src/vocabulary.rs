//! What a model's tokens spell, in the form in which masks are computed; made when it is first needed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use bantam_text::Tokenizer;

use crate::error::Error;
use crate::grammar::Grammar;
use crate::spec::Spec;
use crate::strings::Strings;
use crate::tables::{Lexemes, Tables, told};

/// A model's vocabulary. Cloning is cheap: clones share what was made.
#[derive(Clone)]
pub struct Vocabulary(Arc<Shared>);

struct Shared {
    tokenizer: Tokenizer,
    vocab_size: usize,
    stop_tokens: Vec<u32>,
    tables: OnceLock<Result<Arc<Tables>, Error>>,
    /// The grammars compiled last, newest last.
    compiled: Mutex<Vec<(Spec, Grammar)>>,
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary").field("vocab_size", &self.0.vocab_size).finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// The vocabulary of a model that tells `vocab_size` tokens apart; `stop_tokens` end an answer. This is cheap:
    /// tables are made with the first grammar, in some tenths of a second.
    pub fn new(tokenizer: &Tokenizer, vocab_size: usize, stop_tokens: &[u32]) -> Self {
        let (tokenizer, stop_tokens) = (tokenizer.clone(), stop_tokens.to_vec());
        let (tables, compiled) = (OnceLock::new(), Mutex::default());
        Vocabulary(Arc::new(Shared { tokenizer, vocab_size, stop_tokens, tables, compiled }))
    }

    /// Its tokeniser.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.0.tokenizer
    }

    /// Compiles what an answer is to be. The last few results are kept. Takes milliseconds, and up to a second for what
    /// is near the limits.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or not supported.
    pub fn compile(&self, spec: &Spec) -> Result<Grammar, Error> {
        if let Some(known) = self.recall(spec) {
            return Ok(known);
        }
        let tables = self.tables()?;
        let refused = |reason: &str| Error::Refused { kind: spec.kind(), reason: told(reason) };
        let lexemes = if matches!(spec, Spec::Gbnf(_)) { Lexemes::Short } else { Lexemes::Chosen };
        let matcher = on_deep_stack(|| Ok(tables.matcher(spec.grammar()?, lexemes)));
        let matcher = matcher.ok_or_else(|| refused("reading it broke off"))??;
        if let Some(reason) = matcher.get_error() {
            return Err(refused(&reason));
        }
        let strings = Strings::new(spec, &tables.words);
        let grammar = Grammar::new(self.0.tokenizer.clone(), tables, matcher, strings);
        self.remember(spec, &grammar);
        Ok(grammar)
    }

    /// How Lark writes a token that is no text, by what it spells, such as `<|im_start|>`: by its id, since not all have
    /// names that Lark can hold. `None` if there is no such token.
    pub fn special(&self, text: &str) -> Option<String> {
        self.0.tokenizer.special_id(text).map(|id| format!("<[{id}]>"))
    }

    fn tables(&self) -> Result<Arc<Tables>, Error> {
        let shared = &self.0;
        let make = || {
            let made = catch_unwind(AssertUnwindSafe(|| {
                Tables::new(&shared.tokenizer, shared.vocab_size, &shared.stop_tokens)
            }));
            made.unwrap_or_else(|_| {
                Err(Error::Vocabulary { reason: "its pieces do not fit the trie".into() })
            })
        };
        shared.tables.get_or_init(|| make().map(Arc::new)).clone()
    }

    fn recall(&self, spec: &Spec) -> Option<Grammar> {
        let mut compiled = self.0.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let place = compiled.iter().position(|(known, _)| known == spec)?;
        let entry = compiled.remove(place);
        let grammar = entry.1.clone();
        compiled.push(entry);
        Some(grammar)
    }

    fn remember(&self, spec: &Spec, grammar: &Grammar) {
        let mut compiled = self.0.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if compiled.len() == COMPILED_MAX {
            compiled.remove(0);
        }
        compiled.push((spec.clone(), grammar.clone()));
    }
}

/// Grammars that are kept.
const COMPILED_MAX: usize = 16;

/// Bytes of stack for a compilation, which goes as deep as a schema does; what is not used costs nothing.
const STACK_BYTES: usize = 128 << 20;

/// Runs something on a stack that holds the deepest schema that is looked at.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).ok()?;
        thread.join().ok()
    })
}
