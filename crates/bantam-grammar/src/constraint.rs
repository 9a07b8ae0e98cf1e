//! One answer's place in a grammar.

use std::fmt;
use std::sync::Arc;

use bantam_engine::{Allowed, Constraint, Error};
use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use crate::closers::{Closing, Place};
use crate::free::Free;
use crate::tables::{Tables, told};

/// An answer that the grammar holds for from its beginning.
pub(crate) struct Following {
    matcher: Matcher,
    mask: SimpleVob,
    tables: Arc<Tables>,
    closing: Closing,
    place: Place,
    /// As long as the text is free.
    free: Option<Free>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("complete", &self.matcher.is_stopped()).finish_non_exhaustive()
    }
}

impl Following {
    pub(crate) fn new(matcher: Matcher, tables: Arc<Tables>, closing: Closing, free: Option<Free>) -> Self {
        Following { matcher, mask: SimpleVob::new(), tables, closing, place: Place::default(), free }
    }

    /// Goes on by a text that is no token's own, such as what stands behind a mark within a token.
    pub(crate) fn commit_text(&mut self, text: &str) -> Result<(), Error> {
        if self.stays_free(text.as_bytes()) {
            return Ok(());
        }
        let ids = self.tables.words.tokenize_bytes(text.as_bytes());
        self.matcher.consume_tokens(&ids).map_err(|error| failed(&error.to_string()))
    }

    pub(crate) fn another(&self) -> Self {
        let (matcher, tables) = (self.matcher.deep_clone(), Arc::clone(&self.tables));
        Following { place: self.place, ..Following::new(matcher, tables, self.closing, self.free.clone()) }
    }

    /// Goes past some bytes; whether the text was free before them and is behind them. The matcher need not be told of
    /// these, since it stands in a free text as well as before it.
    fn stays_free(&mut self, bytes: &[u8]) -> bool {
        let was_free = self.is_free();
        self.place = self.place.after(bytes);
        self.free = self.free.take().and_then(|free| free.after(bytes));
        was_free && self.is_free()
    }

    fn is_free(&self) -> bool {
        self.free.as_ref().is_some_and(|free| free.allowed().is_some())
    }
}

impl Constraint for Following {
    fn allowed(&mut self) -> Result<Allowed<'_>, Error> {
        if let Some(allowed) = self.free.as_ref().and_then(Free::allowed) {
            return Ok(Allowed::Set(allowed));
        }
        self.mask = self.matcher.compute_mask_or_eos().map_err(|error| failed(&error.to_string()))?;
        let is_closing = matches!(self.closing, Closing::Now | Closing::Cut);
        if is_closing && self.tables.closers.restrict(self.place, &mut self.mask) {
            self.closing = Closing::Cut;
        }
        Ok(Allowed::Set(self.mask.as_slice()))
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        let tables = Arc::clone(&self.tables);
        if self.stays_free(tables.words.tok_trie().token(token)) {
            return Ok(());
        }
        self.matcher.consume_token(token).map_err(|error| failed(&error.to_string()))
    }

    fn forced(&mut self) -> Result<Vec<u32>, Error> {
        if self.is_free() || self.matcher.is_stopped() {
            return Ok(Vec::new());
        }
        let forced = self.matcher.compute_ff_tokens();
        match self.matcher.get_error() {
            Some(reason) => Err(failed(&reason)),
            None => Ok(forced),
        }
    }

    fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }

    fn close_soon(&mut self) {
        if self.closing == Closing::Later {
            self.closing = Closing::Now;
        }
    }

    fn is_cut_short(&self) -> bool {
        self.closing == Closing::Cut
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.another())
    }
}

pub(crate) fn failed(reason: &str) -> Error {
    Error::Constraint { reason: told(reason) }
}
