//! How an answer that runs out of tokens comes to its end: by tokens that meet its grammar soon, as far as a fixed order
//! of preferences finds them.
//!
//! Only what the grammar allows is ever taken, so that the way is an end of the answer wherever one is found. It is
//! short and not the shortest: that would take a search through the grammar.

use std::cmp::Reverse;
use std::collections::HashMap;

use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokEnv};

use crate::place::Place;

/// What a vocabulary has to end an answer with.
pub(crate) struct Closers {
    words: TokEnv,
    /// What ends a JSON string.
    quote: Vec<u32>,
    /// What is tried outside of strings: the first that is allowed is taken.
    outside: Vec<Vec<u32>>,
    /// Tokens of one printable character.
    single: SimpleVob,
}

impl Closers {
    pub(crate) fn new(words: &TokEnv) -> Self {
        let trie = words.tok_trie();
        let tokens = |text: &str| words.tokenize_bytes(text.as_bytes());
        let mut single = trie.alloc_token_set();
        for byte in b' '..=b'~' {
            if let Some(id) = trie.token_id_at_bytes(&[byte]) {
                single.allow_token(id);
            }
        }
        let outside = SOON_OVER.iter().map(|text| tokens(text)).collect();
        Closers { words: words.clone(), quote: tokens("\""), outside, single }
    }

    /// The tokens by which an answer that stands where `matcher` does is met; `None` where these are more than `most`,
    /// or no end is found. `names` are those of properties, in the order in which they are tried; `None` where there is no
    /// JSON.
    pub(crate) fn way(
        &self,
        matcher: &Matcher,
        place: Place,
        names: Option<&[Vec<u32>]>,
        most: usize,
    ) -> Option<Vec<u32>> {
        let (most, way) = (most.min(WAY_TOKENS_MAX), Vec::new());
        // The lexer's tables stay shared: what is found out on the way is known to the answer, too.
        let matcher = matcher.clone();
        let taken = HashMap::new();
        let mut walk = Walk { closers: self, names, matcher, place, way, taken, allowed: None };
        while !walk.is_met()? {
            let next = walk.next()?;
            if walk.way.len() + next.len() > most {
                return None;
            }
            walk.take(&next)?;
        }
        Some(walk.way)
    }
}

/// What JSON ends by, outside of strings: closing brackets, what leads to a part that must come, the least of values.
/// Objects come last, since theirs may be an endless descent.
const SOON_OVER: [&str; 37] = [
    "}", "]", ",", " 0", "0", " 1", "1", " 2", "2", " 3", "3", " 4", "4", " 5", "5", " 6", "6", " 7", "7",
    " 8", "8", " 9", "9", " null", "null", " true", "true", " false", "false", " \"", "\"", " ", " []", " [",
    "[", " {", "{",
];

/// Longer ways are not looked for.
const WAY_TOKENS_MAX: usize = 1024;

/// So many single characters are tried for one that the end may follow.
const TRIED_MAX: usize = 64;

/// Bytes of a token that make a text long enough; more are no better.
const LONG_BYTES: usize = 12;

/// On the way to the end. Every method gives `None` where the parser gives up.
struct Walk<'a> {
    closers: &'a Closers,
    names: Option<&'a [Vec<u32>]>,
    matcher: Matcher,
    place: Place,
    way: Vec<u32>,
    /// How often tokens of a class were taken without preference.
    taken: HashMap<u8, usize>,
    /// What was allowed when one was taken last.
    allowed: Option<SimpleVob>,
}

impl Walk<'_> {
    fn is_met(&mut self) -> Option<bool> {
        if self.matcher.is_error() {
            return None;
        }
        Some(self.matcher.is_stopped() || self.matcher.is_accepting().ok()?)
    }

    fn next(&mut self) -> Option<Vec<u32>> {
        let forced = self.matcher.compute_ff_tokens();
        if !forced.is_empty() {
            return Some(forced);
        }
        let closers = self.closers;
        let (first, rest) = match self.names {
            None => (&[][..], &[][..]),
            Some(names) if self.place.is_in_string => (std::slice::from_ref(&closers.quote), names),
            Some(_) => (&closers.outside[..], &[][..]),
        };
        let goes_on = |ids: &&Vec<u32>| !(self.ends_in_digit(&self.way) && self.ends_in_digit(ids));
        let tried: Vec<&Vec<u32>> = first.iter().chain(rest).filter(goes_on).collect();
        match tried.into_iter().find(|ids| self.may_come(ids)) {
            Some(ids) => Some(ids.clone()),
            None => self.any().map(|id| vec![id]),
        }
    }

    /// Digits behind digits are no number that soon ends.
    fn ends_in_digit(&self, ids: &[u32]) -> bool {
        let trie = self.closers.words.tok_trie();
        ids.last().and_then(|id| trie.token(*id).last()).is_some_and(u8::is_ascii_digit)
    }

    fn may_come(&mut self, ids: &[u32]) -> bool {
        self.matcher.validate_tokens(ids).is_ok_and(|count| count == ids.len())
    }

    /// Whether the end may follow a token, or that of a string where it stands in one.
    fn ends_by(&mut self, id: u32) -> bool {
        if self.place.is_in_string {
            return self.may_come(&[&[id], &self.closers.quote[..]].concat());
        }
        let mut behind = self.matcher.clone();
        behind.consume_token(id).is_ok() && (behind.is_stopped() || behind.is_accepting().unwrap_or(false))
    }

    /// Where nothing is preferred: one that the end may follow; else one that could not come before, since that is how
    /// patterns go on; else one of a class that came seldom, and a long one.
    fn any(&mut self) -> Option<u32> {
        let allowed = self.matcher.compute_mask().ok()?;
        let trie = self.closers.words.tok_trie();
        let mut single = self.closers.single.clone();
        single.and(&allowed);
        if let Some(id) = single.iter().take(TRIED_MAX).find(|id| self.ends_by(*id)) {
            return Some(id);
        }
        let mut fresh = allowed.clone();
        self.allowed.iter().for_each(|before| fresh.sub(before));
        let among = if fresh.is_zero() { &allowed } else { &fresh };
        let rank = |id: &u32| {
            let bytes = trie.token(*id);
            let is_plain = bytes.iter().all(u8::is_ascii_alphanumeric);
            let seldom = Reverse(self.taken.get(&class(bytes)).copied().unwrap_or(0));
            (seldom, is_plain, bytes.len().min(LONG_BYTES), Reverse(*id))
        };
        let id = among.iter().filter(|id| !trie.eos_tokens().contains(id)).max_by_key(rank)?;
        *self.taken.entry(class(trie.token(id))).or_default() += 1;
        self.allowed = Some(allowed);
        Some(id)
    }

    fn take(&mut self, ids: &[u32]) -> Option<()> {
        self.matcher.consume_tokens(ids).ok()?;
        for id in ids.iter().filter(|_| self.names.is_some()) {
            self.place = self.place.after(self.closers.words.tok_trie().token(*id));
        }
        self.way.extend_from_slice(ids);
        Some(())
    }
}

/// What patterns tell apart, by how a token begins: letters, digits, any other character by itself.
fn class(bytes: &[u8]) -> u8 {
    match bytes.first() {
        Some(byte) if byte.is_ascii_digit() => b'0',
        Some(byte) if byte.is_ascii_punctuation() || *byte == b' ' => *byte,
        _ => b'a',
    }
}
