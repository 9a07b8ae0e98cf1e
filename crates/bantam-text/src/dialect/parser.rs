//! From the text of an answer to its parts: thinking, text, calls.
//!
//! What holds, however the text is cut:
//!
//! * The same parts come out, when neighbours of one kind are joined.
//! * All that is no marker comes out, but for white space next to markers. What begins like a call and is none, or
//!   calls what is no tool, comes out as text. What ends thinking or calls is no text, be it cut off within.
//! * A call's arguments are a JSON object once its end came.

use std::sync::Arc;

use super::Tool;
use super::forms::{Form, Marks, THINKING};
use super::reading::{Reading, Step};
use super::scan::overlap;

/// A part of an answer, in the order in which the model wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Some more of what it says.
    Text(String),
    /// Some more of what it thinks.
    Thinking(String),
    /// It calls a tool.
    CallBegin {
        /// The number of the call in this answer, from 0.
        index: usize,
        /// The tool.
        name: String,
    },
    /// Some more of the call's arguments, as JSON.
    CallArguments(String),
    /// The call is complete. A call without an end was cut off.
    CallEnd,
}

/// What an answer is at now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing but white space came, or nothing behind the thinking.
    Before,
    /// It thinks.
    Thinking,
    /// It speaks.
    Text,
    /// It calls.
    Call,
}

/// When arguments are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// When the call is complete, and known to be one.
    #[default]
    Whole,
    /// As they come, where the form writes JSON. For answers that a grammar keeps to the form: a call that breaks
    /// stays without an end.
    AsTheyCome,
}

/// Tells the parts of an answer from each other. Made by [`Dialect::parser`](super::Dialect::parser).
#[derive(Clone, Debug)]
pub struct Parser {
    tools: Arc<[Tool]>,
    /// The forms that calls may have; none where there are no tools.
    forms: Vec<&'static Form>,
    telling: Telling,
    state: State,
    /// What came and was not told.
    held: String,
    calls: usize,
    /// White space that comes next belongs to a marker.
    skips_space: bool,
    /// Whether it said anything.
    has_spoken: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// Nothing but white space came.
    Before,
    Thinking(&'static Marks),
    /// Nothing but white space came since, and a call needs no marker.
    Fresh,
    Answer,
    Call(Box<Reading>),
}

impl Parser {
    pub(super) fn new(
        thinking: Option<&'static Marks>,
        forms: Vec<&'static Form>,
        tools: Arc<[Tool]>,
    ) -> Self {
        let skips_space = thinking.is_some();
        let state = thinking.map_or(State::Before, State::Thinking);
        Parser {
            tools,
            forms,
            telling: Telling::Whole,
            state,
            held: String::new(),
            calls: 0,
            skips_space,
            has_spoken: false,
        }
    }

    /// A stream that is all text.
    pub fn none() -> Self {
        Parser { state: State::Answer, ..Parser::new(None, Vec::new(), Arc::default()) }
    }

    /// With another way of telling arguments.
    #[must_use]
    pub fn telling(self, telling: Telling) -> Self {
        Parser { telling, ..self }
    }

    /// An answer that has begun: neither thinking nor a call without a marker begins now.
    #[must_use]
    pub fn begun(mut self) -> Self {
        if matches!(self.state, State::Before) {
            self.state = State::Answer;
        }
        self
    }

    /// What the answer is at.
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::Before | State::Fresh => Stage::Before,
            State::Thinking(_) => Stage::Thinking,
            State::Answer if self.skips_space => Stage::Before,
            State::Answer => Stage::Text,
            State::Call(_) => Stage::Call,
        }
    }

    /// The text that ends the thinking it is at.
    pub fn thinking_close(&self) -> Option<&'static str> {
        match self.state {
            State::Thinking(thinking) => Some(thinking.close),
            _ => None,
        }
    }

    /// The marks, before and behind, of thinking that may begin now.
    pub fn thinking_marks(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        let may_begin = matches!(self.state, State::Before);
        THINKING.iter().filter(move |_| may_begin).map(|pair| (pair.open, pair.close))
    }

    /// Whether a special token with this text must be pushed like any other text.
    pub fn needs(&self, token: &str) -> bool {
        let has = |marker: &str| !marker.is_empty() && marker.contains(token);
        !token.is_empty()
            && (THINKING.iter().any(|pair| has(pair.open) || has(pair.close))
                || self.forms.iter().any(|form| form.markers().any(has)))
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// What is left when the text is over.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        while let State::Call(reading) = &self.state {
            if reading.is_ending(&self.held) {
                // A mark that was cut off is none of what was said.
                self.held.clear();
                break;
            }
            self.give_up(&mut parts);
            while self.step(&mut parts) {}
        }
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking(thinking) => {
                let thought = &held[..held.len() - overlap(&held, thinking.close)];
                self.tell(thought.trim_end(), Part::Thinking, &mut parts);
            }
            // White space around calls is no answer.
            _ if self.calls > 0 && held.trim().is_empty() => {}
            _ => self.tell(&held, Part::Text, &mut parts),
        }
        parts
    }

    /// Does what can be done with what is held; whether there may be more to do.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match &mut self.state {
            State::Before => self.begin(),
            State::Thinking(thinking) => {
                let close = thinking.close;
                self.think(close, parts)
            }
            State::Fresh => self.begin_answer(),
            State::Answer => self.answer(parts),
            State::Call(_) => self.call(parts),
        }
    }

    fn begin(&mut self) -> bool {
        let start = self.held.trim_start();
        if let Some(thinking) = THINKING.iter().find(|pair| start.starts_with(pair.open)) {
            self.held = start[thinking.open.len()..].to_owned();
            self.skips_space = true;
            self.state = State::Thinking(thinking);
            return true;
        }
        if THINKING.iter().any(|pair| pair.open.starts_with(start)) {
            return false;
        }
        self.state = State::Fresh;
        true
    }

    fn think(&mut self, close: &'static str, parts: &mut Vec<Part>) -> bool {
        let Some(end) = self.held.find(close) else {
            let certain = self.held.len() - overlap(&self.held, close);
            let thought = self.held[..certain].trim_end().len();
            self.tell_held(thought, Part::Thinking, parts);
            return false;
        };
        let thought = self.held[..end].trim_end().len();
        self.tell_held(thought, Part::Thinking, parts);
        self.held.drain(..end - thought + close.len());
        (self.state, self.skips_space) = (State::Fresh, true);
        true
    }

    /// Where a call needs no marker, what comes first tells whether it is one.
    fn begin_answer(&mut self) -> bool {
        let bare: Vec<&Form> = self.forms.iter().copied().filter(|form| form.start().is_empty()).collect();
        let begin = self.held.len() - self.held.trim_start().len();
        if begin == self.held.len() && !bare.is_empty() {
            return false;
        }
        let reading = Reading::new(bare, begin, begin);
        self.state =
            if reading.may_begin(&self.held) { State::Call(Box::new(reading)) } else { State::Answer };
        true
    }

    fn answer(&mut self, parts: &mut Vec<Part>) -> bool {
        let starts = self.forms.iter().map(|form| form.start()).filter(|start| !start.is_empty());
        let found = starts.clone().filter_map(|start| self.held.find(start).map(|at| (at, start)));
        if let Some((at, start)) = found.min_by_key(|(at, start)| (*at, std::cmp::Reverse(start.len()))) {
            let forms = self.forms.iter().copied().filter(|form| form.start() == start).collect();
            let space = self.held[..at].trim_end().len();
            self.tell_held(space, Part::Text, parts);
            self.state = State::Call(Box::new(Reading::new(forms, at - space, at - space + start.len())));
            return true;
        }
        let held_back = starts.map(|start| overlap(&self.held, start)).max().unwrap_or(0);
        let certain = self.held.len() - held_back;
        let end = if self.forms.is_empty() { certain } else { self.held[..certain].trim_end().len() };
        self.tell_held(end, Part::Text, parts);
        false
    }

    fn call(&mut self, parts: &mut Vec<Part>) -> bool {
        let State::Call(reading) = &mut self.state else { return false };
        match reading.read(&self.held, &self.tools) {
            Step::Wait => {
                if self.telling == Telling::AsTheyCome {
                    reading.tell(&self.held, self.calls, parts);
                }
                false
            }
            Step::Call(call, end) => {
                reading.finish(call, self.calls, parts);
                self.held.drain(..end);
                self.calls += 1;
                self.skips_space |= !self.has_spoken;
                true
            }
            Step::Over(end) => {
                self.held.drain(..end);
                self.state = State::Answer;
                true
            }
            Step::Broken => {
                self.give_up(parts);
                true
            }
        }
    }

    /// What was taken for a call is none: its marker is text, and behind it another may begin.
    fn give_up(&mut self, parts: &mut Vec<Part>) {
        let State::Call(reading) = std::mem::replace(&mut self.state, State::Answer) else { return };
        if reading.has_called() {
            self.held.drain(..reading.opened());
            // What was told stays a call without an end.
            self.calls += usize::from(reading.has_told());
        } else {
            self.tell_held(reading.opened(), Part::Text, parts);
        }
    }

    fn tell_held(&mut self, end: usize, part: fn(String) -> Part, parts: &mut Vec<Part>) {
        let told: String = self.held.drain(..end).collect();
        self.tell(&told, part, parts);
    }

    fn tell(&mut self, text: &str, part: fn(String) -> Part, parts: &mut Vec<Part>) {
        let text = if self.skips_space { text.trim_start() } else { text };
        if !text.is_empty() {
            self.skips_space = false;
            let part = part(text.to_owned());
            self.has_spoken |= matches!(part, Part::Text(_));
            parts.push(part);
        }
    }
}
