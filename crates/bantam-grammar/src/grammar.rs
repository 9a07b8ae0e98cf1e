//! A compiled grammar, of which each answer gets a constraint of its own.

use std::fmt;
use std::sync::Arc;

use bantam_engine::Constraint;
use bantam_text::Tokenizer;
use llguidance::Matcher;

use crate::closers::Closing;
use crate::constraint::Following;
use crate::start::{Start, Waiting};
use crate::tables::Tables;

/// A compiled grammar. Cloning is cheap.
#[derive(Clone)]
pub struct Grammar(Arc<Compiled>);

struct Compiled {
    tokenizer: Tokenizer,
    tables: Arc<Tables>,
    /// At the beginning; what answers do to theirs stays with them.
    matcher: Matcher,
    closing: Closing,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

impl Grammar {
    pub(crate) fn new(tokenizer: Tokenizer, tables: Arc<Tables>, matcher: Matcher, closing: Closing) -> Self {
        Grammar(Arc::new(Compiled { tokenizer, tables, matcher, closing }))
    }

    /// A constraint for one answer, from where the grammar is to hold.
    pub fn constraint(&self, start: &Start) -> Box<dyn Constraint> {
        let Compiled { tokenizer, tables, matcher, closing } = &*self.0;
        let following = Following::new(matcher.deep_clone(), Arc::clone(tables), *closing);
        match start {
            Start::Now => Box::new(following),
            Start::After(_) | Start::MayThink { .. } => {
                Box::new(Waiting::new(following, start, Arc::clone(tables), tokenizer))
            }
        }
    }

    /// Whether a whole text is what the grammar asks for, judged by its bytes and not by the tokens that it came in.
    pub fn accepts(&self, text: &str) -> bool {
        let Compiled { tables, matcher, .. } = &*self.0;
        let mut matcher = matcher.deep_clone();
        let ids = tables.words.tokenize_bytes(text.as_bytes());
        if tables.words.tok_trie().decode_raw(&ids) != text.as_bytes() {
            return false;
        }
        // At its end a matcher takes nothing more, be it nothing at all.
        let taken = matcher.try_consume_tokens(&ids).is_ok_and(|count| count == ids.len());
        taken && (matcher.is_stopped() && !matcher.is_error() || matcher.is_accepting().unwrap_or(false))
    }
}
