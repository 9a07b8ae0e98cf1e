//! An answer on its way: tokens become text, thinking is told from answer, stop strings end it.

use std::time::Instant;

use bantam_engine::{Event, Reason, Stream, Usage};
use bantam_grammar::Grammar;
use bantam_text::{Parser, Part, Shown, Stage, StopStrings, TextStream};

use super::{Message, Mode, Role, Session, SessionError};

/// What an answer consists of.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Some more text.
    Chunk(Chunk),
    /// The context was full, and so many of the oldest tokens were forgotten.
    Shifted(usize),
    /// The end.
    Done(Summary),
}

/// Some more of an answer: the thinking comes before the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// The token that brought it; `None` for what was held back until the end.
    pub token: Option<u32>,
    /// What the model thinks.
    pub thinking: String,
    /// What it answers.
    pub text: String,
}

/// How an answer went.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// How much it was.
    pub usage: Usage,
    /// How long it took.
    pub timings: Timings,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model ended it.
    Stop,
    /// A stop string came.
    StopString(String),
    /// It has as many tokens as were wanted.
    Length,
    /// The context is full.
    ContextFull,
    /// It was cancelled.
    Cancelled,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// From the message to the first token.
    pub first_token_ms: f64,
    /// From the first token to the last.
    pub decode_ms: f64,
}

impl Timings {
    /// Tokens of the prompt that were computed, in a second.
    pub fn prefill_tok_s(&self, usage: &Usage) -> Option<f64> {
        rate(usage.prompt_tokens.saturating_sub(usage.reused_tokens), self.first_token_ms)
    }

    /// New tokens behind the first, in a second.
    pub fn decode_tok_s(&self, usage: &Usage) -> Option<f64> {
        rate(usage.generated_tokens.saturating_sub(1), self.decode_ms)
    }
}

fn rate(count: usize, ms: f64) -> Option<f64> {
    (count > 0 && ms > 0.0).then(|| count as f64 * 1e3 / ms)
}

/// What an answer is to.
pub(super) struct Question {
    pub(super) prompt: Vec<u32>,
    pub(super) text: String,
    pub(super) parser: Parser,
    /// What the answer's text is to be.
    pub(super) format: Option<Grammar>,
    pub(super) begun: Instant,
}

/// An answer on its way; its items end with [`Reply::Done`].
pub struct Answer<'a> {
    session: &'a mut Session,
    stream: Stream,
    text: TextStream,
    parser: Parser,
    stops: StopStrings,
    found: Option<String>,
    question: String,
    format: Option<Grammar>,
    said: Message,
    /// Prompt and answer.
    tokens: Vec<u32>,
    /// Held back until the end; comes before `Done`.
    done: Option<Summary>,
    clock: Clock,
    is_over: bool,
}

struct Clock {
    begun: Instant,
    first: Option<Instant>,
    last: Instant,
}

impl Clock {
    fn tick(&mut self) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
    }

    fn timings(&self) -> Timings {
        let first = self.first.unwrap_or(self.last);
        let ms = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64() * 1e3;
        Timings { first_token_ms: ms(self.begun, first), decode_ms: ms(first, self.last) }
    }
}

impl<'a> Answer<'a> {
    pub(super) fn new(session: &'a mut Session, stream: Stream, question: Question) -> Self {
        let Question { prompt, text: question, parser, format, begun } = question;
        let text = session.tokenizer.stream(Shown::Text);
        // A text that goes on keeps the space before its first word; an answer of its own does not.
        let keeps_space = session.mode == Mode::Continue || format.is_some();
        let text = if keeps_space { text.continuing() } else { text };
        Answer {
            text,
            parser,
            stops: StopStrings::new(session.options.stops.clone()),
            found: None,
            question,
            format,
            said: Message::new(Role::Assistant, ""),
            tokens: prompt,
            done: None,
            clock: Clock { begun, first: None, last: begun },
            is_over: false,
            session,
            stream,
        }
    }

    /// Ends the answer after the current step; its items still end with [`Reply::Done`].
    pub fn cancel(&self) {
        self.stream.cancel();
    }

    /// Something that cancels the answer from another thread.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + 'static {
        self.stream.canceller()
    }

    /// Whether the model is thinking.
    pub fn is_thinking(&self) -> bool {
        self.parser.stage() == Stage::Thinking
    }

    fn token(&mut self, id: u32) -> Chunk {
        self.clock.tick();
        self.tokens.push(id);
        let mut text = self.text.push(id);
        let tokenizer = &self.session.tokenizer;
        if text.is_empty() && tokenizer.is_special(id) {
            let piece = tokenizer.piece(id).map(|piece| piece.text()).unwrap_or_default();
            text = if self.parser.needs(&piece) { piece } else { text };
        }
        let parts = self.parser.push(&text);
        self.chunk(Some(id), parts)
    }

    fn chunk(&mut self, token: Option<u32>, parts: Vec<Part>) -> Chunk {
        let (mut thinking, mut text) = (String::new(), String::new());
        for part in parts {
            match part {
                Part::Thinking(more) => thinking.push_str(&more),
                Part::Text(more) => text.push_str(&more),
                // It is offered no tools.
                Part::CallBegin { .. } | Part::CallArguments(_) | Part::CallEnd => {}
            }
        }
        let scanned = self.stops.push(&text);
        if scanned.found.is_some() {
            self.found = scanned.found;
            self.stream.cancel();
        }
        self.said.thinking.push_str(&thinking);
        self.said.content.push_str(&scanned.text);
        Chunk { token, thinking, text: scanned.text }
    }

    /// What was held back, now that no more comes.
    fn rest(&mut self) -> Chunk {
        if self.found.is_some() {
            return Chunk::default();
        }
        let text = std::mem::replace(&mut self.text, self.session.tokenizer.stream(Shown::Text)).finish();
        let mut parts = self.parser.push(&text);
        parts.extend(self.parser.finish());
        let mut chunk = self.chunk(None, parts);
        if self.found.is_none() {
            let held = self.stops.finish();
            self.said.content.push_str(&held);
            chunk.text.push_str(&held);
        }
        chunk
    }

    fn end(&mut self, reason: Reason, usage: Usage) -> Reply {
        let rest = self.rest();
        let ended = match (self.found.take(), reason) {
            (Some(stop), _) => Ended::StopString(stop),
            (None, Reason::Stop(_) | Reason::Complete) => Ended::Stop,
            (None, Reason::Length) => Ended::Length,
            (None, Reason::ContextFull) => Ended::ContextFull,
            (None, Reason::Cancelled) => Ended::Cancelled,
        };
        let ended = self.checked(ended);
        let summary = Summary { ended, usage, timings: self.clock.timings() };
        if rest == Chunk::default() {
            return self.finish(summary);
        }
        self.done = Some(summary);
        Reply::Chunk(rest)
    }

    /// What is not what it was to be is cut off, and not done.
    fn checked(&self, ended: Ended) -> Ended {
        match (&self.format, ended) {
            (Some(grammar), Ended::Stop | Ended::StopString(_)) if !grammar.accepts(&self.said.content) => {
                Ended::Length
            }
            (_, ended) => ended,
        }
    }

    fn finish(&mut self, summary: Summary) -> Reply {
        self.remember();
        Reply::Done(summary)
    }

    /// Makes question and answer part of the conversation, once.
    fn remember(&mut self) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let session = &mut *self.session;
        session.context_used = self.tokens.len().min(session.engine.settings().context_length);
        match session.mode {
            Mode::Continue => session.continued = std::mem::take(&mut self.tokens),
            Mode::Chat if self.said.content.is_empty() && self.said.thinking.is_empty() => {}
            Mode::Chat => {
                let mut said = std::mem::replace(&mut self.said, Message::new(Role::Assistant, ""));
                for text in [&mut said.content, &mut said.thinking] {
                    *text = text.trim().to_owned();
                }
                session.messages.extend([Message::new(Role::User, &self.question), said]);
            }
        }
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<Reply, SessionError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(summary) = self.done.take() {
            return Some(Ok(self.finish(summary)));
        }
        if self.is_over {
            return None;
        }
        loop {
            let reply = match self.stream.next()? {
                // What comes behind a stop string is not wanted.
                Event::Token { .. } if self.found.is_some() => continue,
                Event::Token { id, .. } => Reply::Chunk(self.token(id)),
                Event::Shifted { dropped } => {
                    self.tokens.drain(..dropped.min(self.tokens.len()));
                    Reply::Shifted(dropped)
                }
                Event::Done { reason, usage } => self.end(reason, usage),
                Event::Failed(error) => {
                    self.is_over = true;
                    return Some(Err(error.into()));
                }
                Event::Prompt { .. } | Event::Pooled(_) => continue,
            };
            return Some(Ok(reply));
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.remember();
    }
}
