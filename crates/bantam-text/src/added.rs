//! Tokens that are cut out of the text before the model sees it: special tokens, markers, runs of spaces.
//!
//! As in Hugging Face's tokenizers the leftmost match wins, and of those the longest. A match never crosses a
//! barrier: that is how text keeps its special strings from becoming special tokens (see `template::guard`).

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use crate::error::Error;
use crate::vocab::Kind;

/// How special strings in a text are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Special {
    /// Special tokens and markers written out in the text are plain text. For everything a user or a tool
    /// says.
    #[default]
    AsText,
    /// Markers such as `<think>` are tokens, special tokens are plain text. For what a model said earlier.
    Markers,
    /// Both are tokens. For text made by a template, and for raw prompts that ask for it.
    Parse,
}

impl Special {
    /// The least way of reading in which a token of this kind and spelling is one.
    fn needed(kind: Kind, text: &str) -> Self {
        match kind {
            Kind::Control | Kind::Unknown => Self::Parse,
            // `<|im_end|>` frames a turn even in a file that does not mark it as special.
            Kind::Marker if is_frame(text) => Self::Parse,
            Kind::Marker => Self::Markers,
            _ => Self::AsText,
        }
    }
}

fn is_frame(text: &str) -> bool {
    (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<\u{ff5c}") && text.ends_with("\u{ff5c}>"))
}

/// Whether a token that its maker did not mark as special frames text, judged by its spelling.
pub(crate) fn is_marker(text: &str) -> bool {
    const WORDS: [&str; 6] = ["think", "INST", "THINK", "SYS", "ARGS", "answer"];
    let inside = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    let Some(name) = inside('<', '>').or_else(|| inside('[', ']')) else { return false };
    let is_name = !name.is_empty() && !name.contains([' ', '<', '[', '\n']);
    is_name && (name.contains(['|', '\u{ff5c}', '_', '\u{2581}']) || WORDS.contains(&name.trim_matches('/')))
}

/// One token that is matched as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub(crate) id: u32,
    pub(crate) text: String,
    /// The least way of reading in which this is a token.
    pub(crate) needs: Special,
    pub(crate) single_word: bool,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
}

impl Added {
    pub(crate) fn plain(id: u32, text: String, kind: Kind) -> Self {
        let needs = Special::needed(kind, &text);
        Self { id, text, needs, single_word: false, lstrip: false, rstrip: false }
    }
}

/// A stretch of text, or a token cut out of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Text(Range<usize>),
    Token(u32),
}

/// All added tokens of a tokeniser, with one matcher per way of reading.
#[derive(Default)]
pub(crate) struct AddedTokens {
    tokens: Vec<Added>,
    /// For each first byte of a token, the least way of reading in which one with this byte is looked for.
    begins: Option<Box<[Option<Special>; 256]>>,
    matchers: [OnceLock<Option<Matcher>>; 3],
}

struct Matcher {
    automaton: AhoCorasick,
    tokens: Vec<usize>,
}

/// Most bytes of all added tokens together: bounds the automaton's memory.
const ADDED_BYTES_MAX: usize = 512 << 10;

impl AddedTokens {
    pub(crate) fn new(tokens: Vec<Added>) -> Result<Self, Error> {
        let bytes: usize = tokens.iter().map(|t| t.text.len()).sum();
        if bytes > ADDED_BYTES_MAX {
            let wanted = format!("at most {ADDED_BYTES_MAX} bytes together");
            return Err(Error::wanted("added tokens", wanted, format!("{bytes} bytes")));
        }
        let mut begins = Box::new([None; 256]);
        for token in &tokens {
            if let Some(&first) = token.text.as_bytes().first() {
                let least: &mut Option<Special> = &mut begins[usize::from(first)];
                *least = Some(least.map_or(token.needs, |least| least.min(token.needs)));
            }
        }
        Ok(Self { tokens, begins: Some(begins), matchers: Default::default() })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Added> {
        self.tokens.iter()
    }

    /// Cuts `text` into tokens and the stretches between them. `barriers` are sorted byte offsets.
    pub(crate) fn cut(&self, text: &str, special: Special, barriers: &[usize]) -> Vec<Cut> {
        let mut cuts = Vec::new();
        let mut done = 0;
        let mut from = 0;
        while let Some((found, token)) = self.find(text, special, from) {
            if crosses(barriers, &found) || (token.single_word && !stands_alone(text, &found)) {
                from = next_char(text, found.start);
                continue;
            }
            let found = widen(text, token, found, done);
            push_text(&mut cuts, done..found.start);
            cuts.push(Cut::Token(token.id));
            (done, from) = (found.end, found.end);
        }
        push_text(&mut cuts, done..text.len());
        cuts
    }

    /// The texts of the tokens that `special` does not let through.
    pub(crate) fn beyond(&self, special: Special) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter(move |t| t.needs > special && !t.text.is_empty()).map(|t| t.text.as_str())
    }

    /// A place inside each string that is a token, though not one that `special` lets through or that is `spared`.
    pub(crate) fn inside_each(&self, text: &str, special: Special, spared: &[&str]) -> Vec<usize> {
        let mut places = Vec::new();
        let mut from = 0;
        while let Some((found, token)) = self.find(text, Special::Parse, from) {
            from = next_char(text, found.start);
            if token.needs > special && !spared.contains(&token.text.as_str()) {
                places.push(from);
            }
        }
        places
    }

    /// `at`, or the start of the token that `at` lies inside of.
    pub(crate) fn floor(&self, text: &str, at: usize) -> usize {
        let mut from = 0;
        while let Some((found, _)) =
            self.find(text, Special::Parse, from).filter(|(found, _)| found.start < at)
        {
            if at < found.end {
                return found.start;
            }
            from = found.end;
        }
        at
    }

    fn find(&self, text: &str, special: Special, from: usize) -> Option<(Range<usize>, &Added)> {
        let matcher = &self.matchers[special as usize];
        // Thousands of tokens make an automaton of some milliseconds, which many short texts do without.
        if matcher.get().is_none() && !self.may_begin(&text[from..], special) {
            return None;
        }
        let matcher = matcher.get_or_init(|| self.matcher(special)).as_ref()?;
        let found = matcher.automaton.find(Input::new(text).span(from..text.len()))?;
        let token = &self.tokens[matcher.tokens[found.pattern().as_usize()]];
        Some((found.range(), token))
    }

    /// Whether `text` has a byte with which a token begins.
    fn may_begin(&self, text: &str, special: Special) -> bool {
        let Some(begins) = &self.begins else { return false };
        text.bytes().any(|byte| begins[usize::from(byte)].is_some_and(|needs| special >= needs))
    }

    fn matcher(&self, special: Special) -> Option<Matcher> {
        let usable = |t: &Added| !t.text.is_empty() && special >= t.needs;
        let tokens: Vec<usize> = (0..self.tokens.len()).filter(|&i| usable(&self.tokens[i])).collect();
        let patterns = tokens.iter().map(|&i| self.tokens[i].text.as_bytes());
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
        // The builder fails only past two billion states, which ADDED_BYTES_MAX excludes.
        automaton.ok().filter(|_| !tokens.is_empty()).map(|automaton| Matcher { automaton, tokens })
    }
}

fn push_text(cuts: &mut Vec<Cut>, range: Range<usize>) {
    if !range.is_empty() {
        cuts.push(Cut::Text(range));
    }
}

fn crosses(barriers: &[usize], found: &Range<usize>) -> bool {
    let next = barriers.partition_point(|&b| b <= found.start);
    barriers.get(next).is_some_and(|&b| b < found.end)
}

fn next_char(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(text.len(), |c| at + c.len_utf8())
}

fn stands_alone(text: &str, found: &Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text[..found.start].chars().next_back();
    let after = text[found.end..].chars().next();
    !before.is_some_and(is_word) && !after.is_some_and(is_word)
}

/// Takes in the whitespace that the token swallows on either side, never what is already `done`.
fn widen(text: &str, token: &Added, found: Range<usize>, done: usize) -> Range<usize> {
    let Range { mut start, mut end } = found;
    if token.lstrip {
        start = text[done..start].trim_end().len() + done;
    }
    if token.rstrip {
        end = text.len() - text[end..].trim_start().len();
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> AddedTokens {
        let mut mask = Added::plain(2, "<mask>".into(), Kind::Control);
        (mask.lstrip, mask.rstrip) = (true, true);
        let mut word = Added::plain(3, "ab".into(), Kind::UserDefined);
        word.single_word = true;
        AddedTokens::new(vec![
            Added::plain(0, "<s>".into(), Kind::Control),
            Added::plain(1, "<think>".into(), Kind::Marker),
            mask,
            word,
            Added::plain(4, "  ".into(), Kind::UserDefined),
            Added::plain(5, "   ".into(), Kind::UserDefined),
        ])
        .unwrap()
    }

    #[test]
    fn the_way_of_reading_decides_what_is_cut_out() {
        let ids = |special| -> Vec<u32> {
            let cuts = tokens().cut("<s>a<think>b", special, &[]);
            cuts.iter().filter_map(|c| if let Cut::Token(id) = c { Some(*id) } else { None }).collect()
        };
        assert_eq!(ids(Special::Parse), [0, 1]);
        assert_eq!(ids(Special::Markers), [1]);
        assert_eq!(ids(Special::AsText), [] as [u32; 0]);
    }

    #[test]
    fn a_place_inside_a_token_goes_to_its_start() {
        let floors = [0, 1, 3, 4, 5, 7].map(|at| tokens().floor("<s>a<s>", at));
        assert_eq!(floors, [0, 0, 3, 4, 4, 7]);
    }

    #[test]
    fn longest_match_and_swallowed_space() {
        let cuts = tokens().cut("a    x <mask> y", Special::Parse, &[]);
        let expected = [Cut::Text(0..1), Cut::Token(5), Cut::Text(4..6), Cut::Token(2), Cut::Text(14..15)];
        assert_eq!(cuts, expected);
    }

    #[test]
    fn a_single_word_is_not_found_inside_another() {
        assert_eq!(tokens().cut("abc ab", Special::AsText, &[]), [Cut::Text(0..4), Cut::Token(3)]);
    }

    #[test]
    fn a_barrier_keeps_a_string_from_being_a_token() {
        let cuts = tokens().cut("<s><s>", Special::Parse, &[1]);
        assert_eq!(cuts, [Cut::Text(0..3), Cut::Token(0)]);
    }
}
