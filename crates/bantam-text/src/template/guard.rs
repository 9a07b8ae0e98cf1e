//! From a conversation straight to ids, so that what people and tools say cannot become special tokens.
//!
//! A template weaves its own markers, which must become special tokens, with content, which must not: a user
//! who writes `<|im_end|>` has written ten characters. After rendering the two cannot be told apart, so they
//! are marked before:
//!
//! 1. A character that occurs nowhere in the conversation, a noncharacter of Unicode, is the *guard*. One is
//!    put inside every special string that a content string holds, and at an edge of a content string that
//!    another string could complete to a special one (`<|im_` at the end of one part, `end|>` at the start of
//!    the next).
//! 2. The template is rendered once, with guards. They are never at an outer edge of a string's whitespace, so
//!    trimming, joining, escaping and quoting work as ever.
//! 3. The guards are taken out of the text again. Where they were, there is now a barrier: special tokens are
//!    found in the text, but not across a barrier.
//!
//! A conversation without special strings gets no guard, so its ids are those of the rendered text by
//! construction. What a template itself looks for in content (`</think>` in an earlier answer) it still finds
//! where it may stand: in messages of the assistant only special tokens are guarded, not markers. In what
//! users and tools say both are, so a template that looks for its markers there does not find them. The names
//! of roles are not guarded: templates make special tokens of them (`<|user|>`), and the program, not the
//! user, chooses them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{ChatTemplate, Conversation};
use crate::added::{AddedTokens, Special};
use crate::error::Error;
use crate::tokenizer::Tokenizer;

impl ChatTemplate {
    /// The ids of a conversation, with BOS where the tokeniser wants one and the template has not put it.
    ///
    /// Special tokens come from the template alone. A special string in content is plain text: content is
    /// marked with a character that occurs nowhere in it, inside every special string and wherever two
    /// strings could make one; the template is rendered; the marks are taken out again, and no special token
    /// is found across a place where one was. Without special strings in the content nothing is marked, so
    /// the ids are those of the rendered text.
    ///
    /// In messages of the assistant, markers such as `<think>` stay tokens; in all others they are text too.
    /// Roles are taken as they are: the program chooses them, and templates make special tokens of them.
    ///
    /// # Errors
    ///
    /// As [`Self::render`] and [`Tokenizer::to_ids`].
    pub fn render_ids(
        &self,
        conversation: &Conversation<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, Error> {
        let mark = free_marks::<1>(conversation, &self.source)[0];
        let guard = Guard::new(mark, tokenizer.added(), conversation.markers);
        let guarded = guard.conversation(conversation);
        let text = self.render(&guarded.conversation(conversation))?;
        let (text, barriers) = guard.open(&text);
        let (ids, _) = tokenizer.to_ids_parts(&text, Special::Parse, &barriers, &[])?;
        Ok(tokenizer.begin(ids))
    }
}

/// The parts of a conversation, with guards.
pub(super) struct Guarded {
    pub(super) messages: Vec<Value>,
    tools: Option<Vec<Value>>,
    documents: Option<Vec<Value>>,
    switches: Map<String, Value>,
}

impl Guarded {
    /// The conversation `of` which these are the parts.
    pub(super) fn conversation<'a>(&'a self, of: &Conversation<'_>) -> Conversation<'a> {
        Conversation {
            messages: &self.messages,
            tools: self.tools.as_deref(),
            documents: self.documents.as_deref(),
            switches: self.switches.clone(),
            add_generation_prompt: of.add_generation_prompt,
            now: of.now,
            markers: &[],
        }
    }
}

pub(super) struct Guard<'t> {
    mark: char,
    added: &'t AddedTokens,
    /// Tokens that what the assistant said may hold.
    spared: &'t [&'static str],
    /// For [`Special::AsText`] and for [`Special::Markers`].
    refused: [Refused<'t>; 2],
}

/// The tokens that a way of reading does not allow.
struct Refused<'t> {
    texts: Vec<&'t str>,
    firsts: HashSet<char>,
    lasts: HashSet<char>,
    longest: usize,
}

impl<'t> Refused<'t> {
    fn new(added: &'t AddedTokens, allowed: Special, spared: &[&str]) -> Self {
        let texts: Vec<&str> = added.beyond(allowed).filter(|text| !spared.contains(text)).collect();
        Self {
            firsts: texts.iter().filter_map(|t| t.chars().next()).collect(),
            lasts: texts.iter().filter_map(|t| t.chars().next_back()).collect(),
            longest: texts.iter().map(|t| t.chars().count()).max().unwrap_or(0),
            texts,
        }
    }

    /// Whether what follows `text` could complete it to one of the tokens.
    fn may_begin_in(&self, text: &str) -> bool {
        let may = text.chars().rev().take(self.longest).any(|c| self.firsts.contains(&c));
        may && self.texts.iter().any(|token| overlaps(text, token))
    }

    /// Whether what precedes `text` could complete it to one of the tokens.
    fn may_end_in(&self, text: &str) -> bool {
        let may = text.chars().take(self.longest).any(|c| self.lasts.contains(&c));
        may && self.texts.iter().any(|token| overlaps(token, text))
    }
}

impl<'t> Guard<'t> {
    pub(super) fn new(mark: char, added: &'t AddedTokens, spared: &'t [&'static str]) -> Self {
        let refused = [(Special::AsText, &[][..]), (Special::Markers, spared)];
        let refused = refused.map(|(allowed, spared)| Refused::new(added, allowed, spared));
        Self { mark, added, spared, refused }
    }

    /// All parts of a conversation.
    pub(super) fn conversation(&self, conversation: &Conversation<'_>) -> Guarded {
        let guarded = |values: &[Value]| values.iter().map(|v| self.value(v, Special::AsText)).collect();
        let mut switches = conversation.switches.clone();
        switches.values_mut().for_each(|switch| *switch = self.value(switch, Special::AsText));
        Guarded {
            messages: conversation.messages.iter().map(|m| self.message(m)).collect(),
            tools: conversation.tools.map(guarded),
            documents: conversation.documents.map(guarded),
            switches,
        }
    }

    /// A message: its content by who speaks, its role as it is.
    fn message(&self, message: &Value) -> Value {
        let Value::Object(fields) = message else { return message.clone() };
        let is_assistant = fields.get("role").is_some_and(|role| role == "assistant");
        let allowed = if is_assistant { Special::Markers } else { Special::AsText };
        let field = |(name, value): (&String, &Value)| {
            let value = if name == "role" { value.clone() } else { self.value(value, allowed) };
            (name.clone(), value)
        };
        Value::Object(fields.iter().map(field).collect())
    }

    fn value(&self, value: &Value, allowed: Special) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, allowed)),
            Value::Array(items) => items.iter().map(|item| self.value(item, allowed)).collect(),
            Value::Object(fields) => {
                let field =
                    |(name, value): (&String, &Value)| (self.text(name, allowed), self.value(value, allowed));
                Value::Object(fields.iter().map(field).collect())
            }
            other => other.clone(),
        }
    }

    /// `text` with a guard wherever it could be, or become part of, a token that `allowed` does not allow.
    fn text(&self, text: &str, allowed: Special) -> String {
        let refused = &self.refused[allowed as usize];
        let spared = if allowed == Special::Markers { self.spared } else { &[] };
        let mut places = self.added.inside_each(text, allowed, spared);
        let body = text.trim();
        let start = text.len() - text.trim_start().len();
        if refused.may_begin_in(body) {
            places.push(start + body.len());
        }
        if refused.may_end_in(body) {
            places.push(start);
        }
        places.sort_unstable();
        places.dedup();
        let mut guarded = String::with_capacity(text.len() + places.len() * self.mark.len_utf8());
        let mut done = 0;
        for place in places {
            guarded.push_str(&text[done..place]);
            guarded.push(self.mark);
            done = place;
        }
        guarded.push_str(&text[done..]);
        guarded
    }

    /// Bytes of one guard.
    pub(super) fn bytes(&self) -> usize {
        self.mark.len_utf8()
    }

    /// Where in a guarded text the guards are.
    pub(super) fn places(&self, guarded: &str) -> Vec<usize> {
        guarded.match_indices(self.mark).map(|(at, _)| at).collect()
    }

    /// The text without guards, and where they were.
    pub(super) fn open(&self, guarded: &str) -> (String, Vec<usize>) {
        let mut text = String::with_capacity(guarded.len());
        let mut barriers = Vec::new();
        for (i, part) in guarded.split(self.mark).enumerate() {
            if i > 0 {
                barriers.push(text.len());
            }
            text.push_str(part);
        }
        (text, barriers)
    }
}

/// Whether `left` ends with a non-empty beginning of `right`; with the whole of `right` only if `left` is
/// longer.
fn overlaps(left: &str, right: &str) -> bool {
    let ends = right.char_indices().map(|(i, c)| i + c.len_utf8());
    let fits = |end: &usize| *end < left.len() || (*end == left.len() && *end < right.len());
    ends.take_while(fits).any(|end| left.ends_with(&right[..end]))
}

/// Characters that are nowhere in the conversation or the template: of the noncharacters if enough are free.
pub(super) fn free_marks<const N: usize>(conversation: &Conversation<'_>, template: &str) -> [char; N] {
    let mut used: HashSet<char> = template.chars().collect();
    let lists = [Some(conversation.messages), conversation.tools, conversation.documents];
    lists.into_iter().flatten().flatten().for_each(|value| collect(value, &mut used));
    conversation.switches.values().for_each(|value| collect(value, &mut used));
    let candidates = ('\u{fdd0}'..='\u{fdef}').chain('\u{100000}'..='\u{10fffd}');
    let mut free = candidates.filter(|c| !used.contains(c));
    std::array::from_fn(|_| free.next().unwrap_or('\u{fdd0}'))
}

/// Collects the rare characters of all strings.
fn collect(value: &Value, used: &mut HashSet<char>) {
    let mut rare = |text: &str| used.extend(text.chars().filter(|&c| c >= '\u{fdd0}'));
    match value {
        Value::String(text) => rare(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, used)),
        Value::Object(fields) => {
            fields.keys().for_each(|name| rare(name));
            fields.values().for_each(|value| collect(value, used));
        }
        _ => {}
    }
}
