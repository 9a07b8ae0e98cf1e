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
use crate::strings::Strings;

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
        for byte in (b' '..=b'~').filter(|byte| *byte != b'\\') {
            if let Some(id) = trie.token_id_at_bytes(&[byte]) {
                single.allow_token(id);
            }
        }
        let outside = SOON_OVER.iter().map(|text| tokens(text)).collect();
        Closers { words: words.clone(), quote: tokens("\""), outside, single }
    }

    /// The tokens by which an answer that stands where `matcher` does is met; `None` where these are more than `most`,
    /// or no end is found. `strings` are those of JSON; `None` where there is none.
    pub(crate) fn way(
        &self,
        matcher: &Matcher,
        place: Place,
        strings: Option<&Strings>,
        most: usize,
    ) -> Option<Vec<u32>> {
        let (most, way) = (most.min(WAY_TOKENS_MAX), Vec::new());
        // The lexer's tables stay shared: what is found out on the way is known to the answer, too.
        let matcher = matcher.clone();
        let used =
            Used { known: vec![0; strings.map_or(0, |strings| strings.known.len())], ..Used::default() };
        let mut walk = Walk { closers: self, strings, matcher, place, way, used, allowed: None };
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

/// So many of them, the first, may stand behind a value, and end a number.
const BEHIND_VALUES: usize = 3;

/// Longer ways are not looked for.
const WAY_TOKENS_MAX: usize = 8192;

/// So many tokens of a way are taken without preference: there is no telling that these lead to an end.
const UNLIKED_TOKENS_MAX: usize = 256;

/// So many single characters are tried for one that the end may follow.
const TRIED_MAX: usize = 64;

/// Bytes of a token that make a text long enough; more are no better.
const LONG_BYTES: usize = 12;

/// On the way to the end. Every method gives `None` where the parser gives up.
struct Walk<'a> {
    closers: &'a Closers,
    strings: Option<&'a Strings>,
    matcher: Matcher,
    place: Place,
    way: Vec<u32>,
    used: Used,
    /// What was allowed when one was taken last.
    allowed: Option<SimpleVob>,
}

/// How often was taken what a way could come to again and again: after some times anything else goes first, since one of
/// the parts that a part may be leads out of it.
#[derive(Default)]
struct Used {
    /// By their place in [`Strings::known`].
    known: Vec<usize>,
    /// Tokens without preference, and their classes.
    tokens: HashMap<u32, usize>,
    classes: HashMap<u8, usize>,
}

/// So many times the first of them is taken.
const USED_MAX: usize = 4;

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
        let liked = match (self.strings, self.place.string().is_some()) {
            (None, _) => None,
            (Some(_), false) => self.outside(),
            (Some(strings), true) => self.in_string(strings),
        };
        liked.or_else(|| self.any().map(|id| vec![id]))
    }

    fn outside(&mut self) -> Option<Vec<u32>> {
        let closers = self.closers;
        let goes_on = |ids: &&Vec<u32>| !(self.ends_in_digit(&self.way) && self.ends_in_digit(ids));
        let tried: Vec<_> = closers.outside.iter().filter(goes_on).collect();
        tried.into_iter().find(|ids| self.may_come(ids)).cloned()
    }

    /// The end of a string: at once, as one that is known, or as what a pattern asks for.
    fn in_string(&mut self, strings: &Strings) -> Option<Vec<u32>> {
        let closers = self.closers;
        if self.may_come(&closers.quote) {
            return Some(closers.quote.clone());
        }
        let mut order: Vec<usize> = (0..strings.known.len()).collect();
        order.sort_by_key(|place| self.used.known[*place] / USED_MAX);
        if let Some(place) = order.into_iter().find(|place| self.may_come(&strings.known[*place])) {
            self.used.known[place] += 1;
            return Some(strings.known[place].clone());
        }
        let begun = self.place.string()?.to_vec();
        let tokens = |end: String| closers.words.tokenize_bytes(end.as_bytes());
        strings.ends_of(&begun).map(tokens).find(|ids| self.may_come(ids))
    }

    /// Digits behind digits are no number that soon ends.
    fn ends_in_digit(&self, ids: &[u32]) -> bool {
        let trie = self.closers.words.tok_trie();
        ids.last().and_then(|id| trie.token(*id).last()).is_some_and(u8::is_ascii_digit)
    }

    fn may_come(&mut self, ids: &[u32]) -> bool {
        may_follow(&mut self.matcher, ids)
    }

    /// Whether the end may follow a token, or that of the string or number where it stands in one.
    fn ends_by(&mut self, id: u32) -> bool {
        if self.place.string().is_some() {
            return self.may_come(&[&[id], &self.closers.quote[..]].concat());
        }
        let mut behind = self.matcher.clone();
        behind.consume_token(id).is_ok()
            && (behind.is_stopped()
                || behind.is_accepting().unwrap_or(false)
                || self.closers.outside[..BEHIND_VALUES].iter().any(|ids| may_follow(&mut behind, ids)))
    }

    /// Where nothing is preferred: one that the end may follow; else one that could not come before, since that is how
    /// patterns go on; else one of a class that came seldom, and a long one.
    fn any(&mut self) -> Option<u32> {
        if self.used.tokens.values().sum::<usize>() >= UNLIKED_TOKENS_MAX {
            return None;
        }
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
            let again = self.used.tokens.get(id).copied().unwrap_or(0) / USED_MAX;
            let of_class = self.used.classes.get(&class(bytes)).copied().unwrap_or(0);
            (Reverse((again, of_class)), is_plain, bytes.len().min(LONG_BYTES), Reverse(*id))
        };
        let id = among.iter().filter(|id| !trie.eos_tokens().contains(id)).max_by_key(rank)?;
        *self.used.tokens.entry(id).or_default() += 1;
        *self.used.classes.entry(class(trie.token(id))).or_default() += 1;
        self.allowed = Some(allowed);
        Some(id)
    }

    fn take(&mut self, ids: &[u32]) -> Option<()> {
        self.matcher.consume_tokens(ids).ok()?;
        for id in ids.iter().filter(|_| self.strings.is_some()) {
            self.place.pass(self.closers.words.tok_trie().token(*id));
        }
        self.way.extend_from_slice(ids);
        Some(())
    }
}

fn may_follow(matcher: &mut Matcher, ids: &[u32]) -> bool {
    matcher.validate_tokens(ids).is_ok_and(|count| count == ids.len())
}

/// What patterns tell apart, by how a token begins: letters, digits, any other character by itself.
fn class(bytes: &[u8]) -> u8 {
    match bytes.first() {
        Some(byte) if byte.is_ascii_digit() => b'0',
        Some(byte) if byte.is_ascii_punctuation() || *byte == b' ' => *byte,
        _ => b'a',
    }
}
