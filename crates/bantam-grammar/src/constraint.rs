//! One answer's place in a grammar.

use std::fmt;
use std::sync::Arc;

use bantam_engine::{Allowed, Constraint, Error};
use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use crate::free::Free;
use crate::place::Place;
use crate::strings::Strings;
use crate::tables::{Tables, told};

/// An answer that the grammar holds for from its beginning.
pub(crate) struct Following {
    matcher: Matcher,
    mask: SimpleVob,
    tables: Arc<Tables>,
    /// Of JSON.
    strings: Option<Arc<Strings>>,
    /// Of JSON.
    place: Place,
    /// As long as the text is free.
    free: Option<Free>,
    ending: Ending,
}

/// What is known of how an answer can end.
#[derive(Clone, Debug, Default)]
struct Ending {
    /// The tokens by which it can, the next one last, where these are known; whatever else it does must leave time for
    /// as many.
    way: Vec<u32>,
    /// When to look for them again: when so many tokens are left. `None` before the first look.
    look_at: Option<usize>,
    /// Whether so few are left that each opened bracket counts.
    is_near: bool,
    /// Whether the string in which it stood at the last look could end at once.
    is_closable: bool,
    /// Whether it was led there and would have gone on.
    is_cut: bool,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("complete", &self.matcher.is_stopped()).finish_non_exhaustive()
    }
}

impl Following {
    pub(crate) fn new(
        matcher: Matcher,
        tables: Arc<Tables>,
        strings: Option<Arc<Strings>>,
        free: Option<Free>,
    ) -> Self {
        let (mask, place, ending) = (SimpleVob::new(), Place::default(), Ending::default());
        Following { matcher, mask, tables, strings, place, free, ending }
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
        self.with(self.matcher.deep_clone())
    }

    fn with(&self, matcher: Matcher) -> Self {
        let (tables, strings) = (Arc::clone(&self.tables), self.strings.clone());
        let (place, ending) = (self.place.clone(), self.ending.clone());
        Following { place, ending, ..Following::new(matcher, tables, strings, self.free.clone()) }
    }

    /// The tokens by which it can end from here, as far as these are known and no more than `most`.
    pub(crate) fn way_out(&self, most: usize) -> Option<Vec<u32>> {
        self.tables.closers.way(&self.matcher, self.place.clone(), self.strings.as_deref(), most)
    }

    /// What comes in place of a token behind which no end can be reached with `left` tokens.
    fn turn(&mut self, token: u32, left: usize) -> Option<u32> {
        if self.ending.way.is_empty() {
            let Some(way) = self.way_out(left) else {
                // There is no time for an end. What is written may come nearer to one.
                self.ending.look_at = Some(left - (left / LOOKS_SHARE).max(1));
                self.ending.is_near = false;
                return Some(token);
            };
            self.ending.way = way.into_iter().rev().collect();
        }
        self.ending.is_cut = true;
        self.ending.way.last().copied()
    }

    /// Goes on along the way that is known if a token does, in whatever tokens: those that must come are put together anew.
    fn follow(&mut self, token: u32) {
        let words = &self.tables.words;
        let mut bytes = words.tok_trie().token(token);
        while !bytes.is_empty() {
            let next = self.ending.way.pop().map(|id| words.tok_trie().token(id)).unwrap_or_default();
            if let Some(rest) = next.strip_prefix(bytes) {
                self.ending.way.extend(words.tokenize_bytes(rest).into_iter().rev());
                return;
            }
            match bytes.strip_prefix(next).filter(|_| !next.is_empty()) {
                Some(rest) => bytes = rest,
                None => return self.ending.way.clear(),
            }
        }
    }

    /// Whether it is time to see if an end can be reached behind a token.
    fn should_look(&self, token: u32, left: usize) -> bool {
        let is_due = self.ending.look_at.is_none_or(|look_at| left <= look_at);
        is_due || (self.ending.is_near && !(self.ending.is_closable && self.stays_in_string(token)))
    }

    fn stays_in_string(&self, token: u32) -> bool {
        let mut behind = self.place.clone();
        behind.pass(self.tables.words.tok_trie().token(token));
        self.place.string().is_some() && behind.string().is_some()
    }

    /// Goes past some bytes; whether the text was free before them and is behind them. The matcher need not be told of
    /// these, since it stands in a free text as well as before it.
    fn stays_free(&mut self, bytes: &[u8]) -> bool {
        let was_free = self.is_free();
        self.place.pass(bytes);
        self.free = self.free.take().and_then(|free| free.after(bytes));
        if self.is_free() || self.strings.is_none() {
            // Quotes of what is no JSON begin no strings.
            self.place = Place::default();
        }
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
        Ok(Allowed::Set(self.mask.as_slice()))
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        self.follow(token);
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

    fn in_time(&mut self, token: u32, left: usize) -> Result<Option<u32>, Error> {
        if self.ending.way.last() == Some(&token) || !self.should_look(token, left) {
            return Ok(Some(token));
        }
        let mut next = self.with(self.matcher.clone());
        next.commit(token)?;
        let Some(way) = next.way_out(left.saturating_sub(1)) else { return Ok(self.turn(token, left)) };
        let spare = left.saturating_sub(1 + way.len());
        let wait = if spare > NEAR_TOKENS { spare / LOOKS_SHARE } else { spare / LOOKS_SHARE_IN_STRING };
        self.ending.is_near = spare <= NEAR_TOKENS;
        let first = way.first().map(|id| self.tables.words.tok_trie().token(*id));
        self.ending.is_closable = first.is_some_and(|bytes| bytes.starts_with(b"\""));
        self.ending.look_at = Some(left.saturating_sub(1 + wait));
        self.ending.way = way.into_iter().rev().chain([token]).collect();
        Ok(Some(token))
    }

    fn is_cut_short(&self) -> bool {
        self.ending.is_cut
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.another())
    }
}

/// With no more tokens than these to spare, each token outside of strings is looked at, since it may open what takes
/// many to close.
const NEAR_TOKENS: usize = 96;
/// With more, the next look is when this share of them has gone.
const LOOKS_SHARE: usize = 4;
/// So it is within strings that can be closed by one token however long they become.
const LOOKS_SHARE_IN_STRING: usize = 8;

pub(crate) fn failed(reason: &str) -> Error {
    Error::Constraint { reason: told(reason) }
}
