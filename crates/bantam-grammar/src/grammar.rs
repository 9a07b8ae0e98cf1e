//! A compiled grammar, of which each answer gets a constraint of its own.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bantam_engine::Constraint;
use bantam_text::Tokenizer;
use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use crate::constraint::Following;
use crate::free::Free;
use crate::start::{Start, Waiting};
use crate::strings::Strings;
use crate::tables::Tables;

/// A compiled grammar. Cloning is cheap.
#[derive(Clone)]
pub struct Grammar {
    compiled: Arc<Compiled>,
    /// Answers are free up to this text.
    mark: Option<Arc<str>>,
}

struct Compiled {
    tokenizer: Tokenizer,
    tables: Arc<Tables>,
    /// At the beginning; what answers do to theirs stays with them.
    matcher: Matcher,
    /// Of JSON.
    strings: Option<Arc<Strings>>,
    /// The tokens that may come first, if they were asked for.
    first: OnceLock<Option<Arc<SimpleVob>>>,
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

impl Grammar {
    pub(crate) fn new(
        tokenizer: Tokenizer,
        tables: Arc<Tables>,
        matcher: Matcher,
        strings: Option<Strings>,
    ) -> Self {
        let (strings, first) = (strings.map(Arc::new), OnceLock::new());
        let compiled = Compiled { tokenizer, tables, matcher, strings, first };
        Grammar { compiled: Arc::new(compiled), mark: None }
    }

    /// The same, for one that stands behind any text without `mark` in it or a beginning of it at its end as it does
    /// before: a free text costs no more than one that is held to nothing.
    #[must_use]
    pub fn free_until(self, mark: &str) -> Self {
        Grammar { mark: (!mark.is_empty()).then(|| mark.into()), ..self }
    }

    /// A constraint for one answer, from where the grammar is to hold.
    pub fn constraint(&self, start: &Start) -> Box<dyn Constraint> {
        let Compiled { tokenizer, tables, matcher, strings, .. } = &*self.compiled;
        let free = self.mark.clone().and_then(|mark| Some(Free::new(mark, self.compiled.first()?)));
        let following = Following::new(matcher.deep_clone(), Arc::clone(tables), strings.clone(), free);
        match start {
            Start::Now => Box::new(following),
            Start::After(_) | Start::MayThink { .. } => {
                Box::new(Waiting::new(following, start, Arc::clone(tables), tokenizer))
            }
        }
    }

    /// Whether a whole text is what the grammar asks for, judged by its bytes and not by the tokens that it came in.
    pub fn accepts(&self, text: &str) -> bool {
        let Compiled { tables, matcher, .. } = &*self.compiled;
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

impl Compiled {
    /// The tokens that may come first; `None` where finding out takes too much.
    fn first(&self) -> Option<Arc<SimpleVob>> {
        let first = || self.matcher.deep_clone().compute_mask_or_eos().ok().map(Arc::new);
        self.first.get_or_init(first).clone()
    }
}
