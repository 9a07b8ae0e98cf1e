//! Which ids of a conversation are the assistant's own: what a model learns to say.
//!
//! No template says where an answer begins and ends, so it is found by rendering: the conversation up to an
//! answer, with the generation prompt, is what the model is given; what the rendering with the answer adds to it
//! is what the model has to say. Where the text up to each answer stays a beginning of the whole text, the whole
//! is given once with all its answers. Where the template writes earlier turns differently, as those do that drop
//! earlier reasoning, each answer is given with its own past, as the model will meet it.
//!
//! A template that marks answers itself, with `{% generation %}`, is taken at its word.
//!
//! Invariant: an answer's ids are those of its text alone, after those of the text before it, and no special
//! token comes from content (see `guard`).

use std::ops::Range;

use minijinja::value::Value;
use minijinja::{Error as EngineError, State};
use serde_json::json;

use super::guard::{Guard, Guarded, free_marks};
use super::{ChatTemplate, Conversation, budget};
use crate::added::Special;
use crate::error::Error;
use crate::tokenizer::Tokenizer;

/// The name under which the context holds the marks. No template can write it.
pub(super) const MARKS: &str = "generation-marks";

/// Most bytes that all renderings of one conversation may take: a bound on the work of long ones.
const BYTES_MAX: usize = 16 << 20;

/// A conversation as ids, and where its answers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The ids, with BOS where the tokeniser wants one.
    pub ids: Vec<u32>,
    /// The answers, in order; they do not overlap.
    pub answers: Vec<Answer>,
}

/// What the assistant says in one message: the end of the turn is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message's place in the conversation.
    pub message: usize,
    /// Its ids' places in [`Rendered::ids`].
    pub ids: Range<usize>,
    /// What comes before it.
    pub begins: Begins,
}

/// What comes before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// What the template gives a model that is to answer.
    AfterPrompt,
    /// The head of an answer as the template writes it, which is not what it gives a model that is to answer
    /// (say, without `<think>`).
    AfterHead,
}

/// An answer in the text of a rendering.
struct Turn {
    message: usize,
    begin: usize,
    begins: Begins,
    /// The conversation up to its end.
    text: String,
}

impl ChatTemplate {
    /// The ids of a conversation and which of them the assistant says: one rendering, or, where the template
    /// writes earlier turns differently once a turn follows, one for each answer.
    /// [`Conversation::add_generation_prompt`] is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Self::render_ids`]; a conversation too long for its number of turns.
    pub fn render_answers(
        &self,
        conversation: &Conversation<'_>,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Rendered>, Error> {
        let [guard, begin, end] = free_marks(conversation, &self.source);
        let guard = Guard::new(guard, tokenizer.added(), conversation.markers);
        let parts = guard.conversation(conversation);
        let rendering = Rendering { template: self, tokenizer, guard, parts, conversation };
        if let Some(rendered) = rendering.marked([begin, end])? {
            return Ok(vec![rendered]);
        }
        let (text, turns) = rendering.turns()?;
        let is_grown = turns.iter().all(|turn| text.starts_with(&turn.text));
        let is_sorted = turns.windows(2).all(|pair| pair[0].text.len() <= pair[1].begin);
        if is_grown && is_sorted {
            return Ok(vec![rendering.ids(&text, &turns)?]);
        }
        turns.iter().map(|turn| rendering.ids(&turn.text, std::slice::from_ref(turn))).collect()
    }
}

struct Rendering<'a> {
    template: &'a ChatTemplate,
    tokenizer: &'a Tokenizer,
    guard: Guard<'a>,
    parts: Guarded,
    conversation: &'a Conversation<'a>,
}

impl Rendering<'_> {
    /// The text of these messages.
    fn text(&self, messages: &[serde_json::Value], add_generation_prompt: bool) -> Result<String, Error> {
        let parts = self.parts.conversation(self.conversation);
        self.template.render(&Conversation { messages, add_generation_prompt, ..parts })
    }

    /// As the template's own marks say, if there is one pair for each answer.
    fn marked(&self, marks: [char; 2]) -> Result<Option<Rendered>, Error> {
        let Some(source) = &self.template.marking else { return Ok(None) };
        let parts = self.parts.conversation(self.conversation);
        let conversation = Conversation { add_generation_prompt: false, ..parts };
        let marked = self.template.run(source, &conversation, Some(marks))?;
        let (text, places) = without_marks(&marked, marks);
        let messages: Vec<usize> = self.answering().collect();
        if places.len() != 2 * messages.len() {
            return Ok(None);
        }
        let answers = messages.into_iter().map(|message| (message, Begins::AfterPrompt)).collect();
        self.cut(&text, &places, answers).map(Some)
    }

    /// The text of the whole, and its answers.
    fn turns(&self) -> Result<(String, Vec<Turn>), Error> {
        let messages = &self.parts.messages;
        let whole = self.text(messages, false)?;
        let answering: Vec<usize> = self.answering().collect();
        let bytes = whole.len().saturating_mul(answering.len());
        if bytes > BYTES_MAX {
            let wanted = format!("at most {BYTES_MAX} bytes, times the number of answers");
            return Err(Error::wanted("conversation", wanted, format!("{bytes}")));
        }
        let turn = |message: usize| {
            let is_last = message + 1 == messages.len();
            let text = if is_last { whole.clone() } else { self.text(&messages[..=message], false)? };
            let (begin, begins) = self.begin(message, &text)?;
            Ok(Turn { message, begin, begins, text })
        };
        let turns = answering.into_iter().map(turn).collect::<Result<_, Error>>()?;
        Ok((whole, turns))
    }

    fn answering(&self) -> impl Iterator<Item = usize> {
        let messages = self.parts.messages.iter().enumerate();
        messages.filter(|(_, message)| message["role"] == "assistant").map(|(i, _)| i)
    }

    /// Where in `text`, which ends with the answer, the answer begins.
    fn begin(&self, message: usize, text: &str) -> Result<(usize, Begins), Error> {
        let prompt = self.text(&self.parts.messages[..message], true);
        if let Some(prompt) = prompt.ok().filter(|prompt| text.starts_with(prompt)) {
            return Ok((prompt.len(), Begins::AfterPrompt));
        }
        Ok((self.head(message, text)?, Begins::AfterHead))
    }

    /// Where the head of an answer ends: two answers that have no letter in common part there, though never
    /// inside of a special token or a marker.
    fn head(&self, message: usize, text: &str) -> Result<usize, Error> {
        let mut end = text.len();
        for probe in ["a", "b"] {
            let mut messages = self.parts.messages[..message].to_vec();
            messages.push(json!({ "role": "assistant", "content": probe }));
            end = end.min(common_bytes(text, &self.text(&messages, false)?));
        }
        let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        Ok(self.tokenizer.added().floor(text, marker_floor(text, end)))
    }

    /// The ids of a text with these answers, each of which ends where its own text does.
    fn ids(&self, text: &str, turns: &[Turn]) -> Result<Rendered, Error> {
        let places: Vec<usize> = turns.iter().flat_map(|turn| [turn.begin, turn.text.len()]).collect();
        let answers = turns.iter().map(|turn| (turn.message, turn.begins)).collect();
        self.cut(text, &places, answers)
    }

    /// The ids of a text with guards, whose answers lie between pairs of `places`.
    fn cut(&self, text: &str, places: &[usize], answers: Vec<(usize, Begins)>) -> Result<Rendered, Error> {
        let (open, barriers) = self.guard.open(text);
        let guards = self.guard.places(text);
        let cuts: Vec<usize> =
            places.iter().map(|&at| at - self.guard.bytes() * guards.partition_point(|&g| g < at)).collect();
        let (ids, ends) = self.tokenizer.to_ids_parts(&open, Special::Parse, &barriers, &cuts)?;
        let length = ids.len();
        let ids = self.tokenizer.begin(ids);
        let shift = ids.len() - length;
        let answers = answers.into_iter().zip(ends.chunks_exact(2)).map(|((message, begins), range)| {
            Answer { message, ids: range[0] + shift..range[1] + shift, begins }
        });
        Ok(Rendered { answers: answers.collect(), ids })
    }
}

/// The filter that `{% generation %}` becomes.
pub(super) fn generated(state: &mut State<'_, '_>, text: &Value) -> Result<Value, EngineError> {
    let marks = state.lookup(MARKS);
    let mut marks = marks.as_ref().and_then(Value::as_str).unwrap_or_default().chars();
    let (Some(begin), Some(end)) = (marks.next(), marks.next()) else { return Ok(text.clone()) };
    let marked = format!("{begin}{text}{end}");
    budget::charge(state, marked.len())?;
    Ok(Value::from(marked))
}

/// A text without its marks, and where they were.
fn without_marks(marked: &str, marks: [char; 2]) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(marked.len());
    let mut places = Vec::new();
    for part in marked.split_inclusive(marks) {
        text.push_str(part.trim_end_matches(marks));
        if part.ends_with(marks) {
            places.push(text.len());
        }
    }
    (text, places)
}

/// `at`, or the start of what looks like a marker, such as `<|START|>`, that `at` lies inside of.
fn marker_floor(text: &str, at: usize) -> usize {
    let is_edge = |c: char| c.is_whitespace() || c == '<' || c == '>';
    let Some(start) = text[..at].rfind(is_edge).filter(|start| text[*start..].starts_with('<')) else {
        return at;
    };
    let end = text[at..].find(is_edge).filter(|end| text[at + end..].starts_with('>'));
    end.map_or(at, |_| start)
}

fn common_bytes(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}
