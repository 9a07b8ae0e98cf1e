//! One answer in the making: events of the engine become pieces of text.
//!
//! However the text is cut into tokens, the same text, thinking and end come out, and each token of the answer comes
//! with the text that it begins in or before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bantam_engine::{Event, Reason, Usage};
use bantam_grammar::{Grammar, Spec};
use bantam_text::{Parser, Part, Shown, Stage, StopStrings, TextStream, Tokenizer};

use crate::ask::{Ask, Prepared};
use crate::clock;
use crate::fault::broken;
use crate::fault::{Fault, Kind};
use crate::served::Served;

/// Some more of an answer, or its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// The prompt's tokens from the second on; before all else, where they were asked for.
    Prompt(Vec<Token>),
    /// The prompt as one vector.
    Vector(Vec<f32>),
    /// Some more.
    Chunk(Chunk),
    /// Some more of the call with this number.
    Call(usize, CallPiece),
    /// The end.
    Done(Summary),
    /// The end, without an answer.
    Failed(Fault),
}

/// Some more of an answer: the thinking comes before the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) thinking: String,
    pub(crate) text: String,
    /// The tokens of the text, where they were asked for.
    pub(crate) tokens: Vec<Token>,
}

/// Some more of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallPiece {
    /// It begins.
    Begin { id: String, name: String },
    /// Some more of its arguments, as JSON.
    Arguments(String),
    /// It is complete; without this it was cut off.
    End,
}

/// A token and how likely it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    /// Told only where it was asked for.
    pub(crate) logprob: f32,
    /// The likeliest in its place, likeliest first.
    pub(crate) top: Vec<(u32, f32)>,
}

/// How an answer went.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) ended: Ended,
    pub(crate) usage: Usage,
    /// Tokens of thinking among those generated.
    pub(crate) thinking_tokens: usize,
    pub(crate) timings: Timings,
}

/// Why an answer ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The model ended it.
    #[default]
    Stop,
    /// A stop string came.
    StopString(String),
    /// It has as many tokens as were wanted, or the context is full.
    Length,
    /// Its time is over.
    Expired,
    /// It ended with calls, whose results are wanted.
    Calls,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timings {
    /// Until it was its turn.
    pub(crate) queued: Duration,
    /// From then to the first token.
    pub(crate) prefill: Duration,
    /// From the first token to the last.
    pub(crate) decode: Duration,
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.thinking.is_empty() && self.text.is_empty() && self.tokens.is_empty()
    }
}

/// One answer in the making.
pub(crate) struct Choice {
    tokenizer: Tokenizer,
    text: TextStream,
    parser: Parser,
    /// Calls that have begun, and that are complete.
    calls_begun: usize,
    calls: usize,
    calls_max: usize,
    stops: StopStrings,
    /// The stop string that came.
    found: Option<String>,
    /// Stop tokens that are told like others, and whether one came.
    stop_tokens: Vec<u32>,
    has_stopped: bool,
    /// Tokens of the prompt, and how many are still to come.
    prompt: Vec<Token>,
    prompt_left: usize,
    tokens: TokenQueue,
    thinking_tokens: usize,
    /// What the answer is to be, and what it is so far.
    wanted: Option<Grammar>,
    said: String,
    clock: Clock,
    /// Whether its time is over.
    expired: Arc<AtomicBool>,
}

impl Choice {
    /// An answer to a prompt that has not begun.
    pub(crate) fn new(ask: &Ask, prompt: &Prepared, served: &Served, grammar: Option<Grammar>) -> Self {
        let text = served.tokenizer.stream(Shown::Text);
        // Special tokens that a grammar asks for are no text.
        let is_text = ask.format.as_ref().is_some_and(|format| !matches!(format.spec, Spec::Lark(_)));
        let keeps_space = prompt.continues || grammar.is_some();
        let scored = prompt.ids.len() - 1;
        Choice {
            tokenizer: served.tokenizer.clone(),
            // A text that goes on keeps the space before its first word; an answer of its own does not.
            text: if keeps_space { text.continuing() } else { text },
            parser: prompt.parser.clone(),
            calls_begun: 0,
            calls: 0,
            calls_max: prompt.calls_max,
            stops: StopStrings::new(ask.stops.clone()),
            found: None,
            stop_tokens: if ask.tells_stop() { served.stop_tokens.clone() } else { Vec::new() },
            has_stopped: false,
            prompt: Vec::new(),
            prompt_left: if ask.scores_prompt { scored } else { 0 },
            tokens: TokenQueue::new(ask.top_logprobs.is_some()),
            thinking_tokens: 0,
            wanted: grammar.filter(|_| is_text),
            said: String::new(),
            clock: Clock::new(),
            expired: Arc::default(),
        }
    }

    /// It is its turn now.
    pub(crate) fn begin(&mut self) {
        self.clock.begun = Instant::now();
    }

    /// What says that its time is over, so that a cancelled answer ends with what there is.
    pub(crate) fn expired(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.expired)
    }

    /// The end of one whose turn never came.
    pub(crate) fn end_unbegun(&self) -> Piece {
        Piece::Done(Summary { ended: Ended::Expired, timings: self.clock.timings(), ..Summary::default() })
    }

    /// Whether what comes from now on is not wanted.
    pub(crate) fn is_over(&self) -> bool {
        self.found.is_some() || self.calls >= self.calls_max
    }

    fn take_token(&mut self, token: Token) -> Vec<Piece> {
        match () {
            () if self.prompt_left > 0 => self.score(token).into_iter().collect(),
            () if self.is_over() => Vec::new(),
            () => self.token(token),
        }
    }

    /// Takes an event in.
    pub(crate) fn take(&mut self, event: Event) -> Vec<Piece> {
        match event {
            Event::Token { id, logprob, top } => {
                self.take_token(Token { id, logprob: logprob.unwrap_or(0.0), top })
            }
            Event::Done { reason, usage } => self.end(reason, usage),
            Event::Failed(error) => vec![Piece::Failed(error.into())],
            Event::Pooled(vector) => vec![Piece::Vector(vector)],
            Event::Prompt { .. } | Event::Shifted { .. } => Vec::new(),
        }
    }

    fn score(&mut self, token: Token) -> Option<Piece> {
        self.prompt.push(token);
        self.prompt_left -= 1;
        (self.prompt_left == 0).then(|| Piece::Prompt(std::mem::take(&mut self.prompt)))
    }

    fn token(&mut self, token: Token) -> Vec<Piece> {
        self.clock.tick();
        let id = token.id;
        self.has_stopped |= self.stop_tokens.contains(&id);
        self.tokens.push(token);
        let mut text = self.text.push(id);
        if text.is_empty() && self.tokenizer.is_special(id) {
            let piece = self.tokenizer.piece(id).map(|piece| piece.text()).unwrap_or_default();
            text = if self.parser.needs(&piece) { piece } else { text };
        }
        let was_thinking = self.parser.stage() == Stage::Thinking;
        let parts = self.parser.push(&text);
        let stage = self.parser.stage();
        self.thinking_tokens += usize::from(was_thinking || stage == Stage::Thinking);
        let is_text = parts.iter().any(|part| matches!(part, Part::Text(_)));
        let is_behind_mark = stage == Stage::Before && (self.thinking_tokens > 0 || self.calls > 0);
        if matches!(stage, Stage::Thinking | Stage::Call) || (is_behind_mark && !is_text) {
            self.tokens.forget();
        }
        self.pieces(parts)
    }

    fn pieces(&mut self, parts: Vec<Part>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => {
                    let chunk = self.text(&text);
                    push_chunk(&mut pieces, chunk);
                }
                Part::Thinking(thinking) => push_chunk(&mut pieces, Chunk { thinking, ..Chunk::default() }),
                part => {
                    // The text before a call is over.
                    let chunk = self.text_end();
                    push_chunk(&mut pieces, chunk);
                    pieces.push(self.call(part));
                }
            }
            if self.is_over() {
                break;
            }
        }
        pieces
    }

    fn text(&mut self, text: &str) -> Chunk {
        self.tokens.seen += text.len();
        let scanned = self.stops.push(text);
        self.tokens.told += scanned.text.len();
        self.say(&scanned.text);
        self.found = scanned.found;
        Chunk { thinking: String::new(), text: scanned.text, tokens: self.tokens.ready() }
    }

    /// What was held back of the text, which is over.
    fn text_end(&mut self) -> Chunk {
        let text = self.stops.finish();
        self.tokens.told += text.len();
        self.say(&text);
        Chunk { thinking: String::new(), text, tokens: self.tokens.ready() }
    }

    fn call(&mut self, part: Part) -> Piece {
        let number = self.calls_begun.saturating_sub(1);
        match part {
            Part::CallBegin { name, .. } => {
                self.calls_begun += 1;
                Piece::Call(self.calls_begun - 1, CallPiece::Begin { id: clock::id("call_"), name })
            }
            Part::CallArguments(text) => Piece::Call(number, CallPiece::Arguments(text)),
            Part::CallEnd | Part::Text(_) | Part::Thinking(_) => {
                self.calls += 1;
                Piece::Call(number, CallPiece::End)
            }
        }
    }

    /// What was held back, now that no more comes.
    fn rest(&mut self) -> Vec<Piece> {
        if self.is_over() {
            return Vec::new();
        }
        let text = std::mem::replace(&mut self.text, self.tokenizer.stream(Shown::Text)).finish();
        let mut parts = self.parser.push(&text);
        parts.extend(self.parser.finish());
        let mut pieces = self.pieces(parts);
        if !self.is_over() {
            let mut chunk = self.text_end();
            chunk.tokens.extend(self.tokens.rest());
            push_chunk(&mut pieces, chunk);
        }
        pieces
    }

    fn say(&mut self, text: &str) {
        if self.wanted.is_some() {
            self.said.push_str(text);
        }
    }

    /// An answer is done if it is what it was to be. One that a stop string cut off is not, and is told as cut short.
    fn checked(&self, ended: Ended) -> Result<Ended, Fault> {
        match (&self.wanted, ended) {
            (Some(grammar), ended @ (Ended::Stop | Ended::StopString(_))) if grammar.accepts(&self.said) => {
                Ok(ended)
            }
            (Some(_), Ended::StopString(_)) => Ok(Ended::Length),
            (Some(_), Ended::Stop) => Err(broken("the answer is not what it was held to")),
            (_, ended) => Ok(ended),
        }
    }

    fn end(&mut self, reason: Reason, usage: Usage) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.prompt_left == 0 && !self.prompt.is_empty() {
            pieces.push(Piece::Prompt(std::mem::take(&mut self.prompt)));
        }
        pieces.extend(self.rest());
        let ended = match (self.found.take(), reason) {
            (Some(stop), _) => Ended::StopString(stop),
            (None, _) if self.calls >= self.calls_max => Ended::Calls,
            (None, Reason::Stop(_) | Reason::Complete) if self.calls > 0 => Ended::Calls,
            (None, Reason::Stop(_) | Reason::Complete) => Ended::Stop,
            (None, _) if self.has_stopped => Ended::Stop,
            (None, Reason::Length | Reason::ContextFull) => Ended::Length,
            (None, Reason::Cancelled) if self.expired.load(Ordering::Relaxed) => Ended::Expired,
            (None, Reason::Cancelled) => {
                pieces.push(Piece::Failed(Fault::new(Kind::Stopping, "the answer was cancelled")));
                return pieces;
            }
        };
        let (thinking_tokens, timings) = (self.thinking_tokens, self.clock.timings());
        pieces.push(match self.checked(ended) {
            Ok(ended) => Piece::Done(Summary { ended, usage, thinking_tokens, timings }),
            Err(fault) => Piece::Failed(fault),
        });
        pieces
    }
}

fn push_chunk(pieces: &mut Vec<Piece>, chunk: Chunk) {
    if !chunk.is_empty() {
        pieces.push(Piece::Chunk(chunk));
    }
}

/// Tokens of the answer that wait for the text before them to be told.
struct TokenQueue {
    is_wanted: bool,
    /// Each with where its text begins in the answer.
    waiting: VecDeque<(usize, Token)>,
    /// Bytes of the answer that came, and that were told.
    seen: usize,
    told: usize,
}

impl TokenQueue {
    fn new(is_wanted: bool) -> Self {
        TokenQueue { is_wanted, waiting: VecDeque::new(), seen: 0, told: 0 }
    }

    fn push(&mut self, token: Token) {
        if self.is_wanted {
            self.waiting.push_back((self.seen, token));
        }
    }

    /// What waits is no part of the answer.
    fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Those whose text was told, or has begun to be.
    fn ready(&mut self) -> Vec<Token> {
        let ready = self.waiting.iter().take_while(|(begin, _)| *begin < self.told).count();
        self.waiting.drain(..ready).map(|(_, token)| token).collect()
    }

    /// All that wait.
    fn rest(&mut self) -> Vec<Token> {
        self.waiting.drain(..).map(|(_, token)| token).collect()
    }
}

struct Clock {
    asked: Instant,
    begun: Instant,
    first: Option<Instant>,
    last: Instant,
}

impl Clock {
    fn new() -> Self {
        let now = Instant::now();
        Clock { asked: now, begun: now, first: None, last: now }
    }

    fn tick(&mut self) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
    }

    fn timings(&self) -> Timings {
        // Without a token, all the time went into the prompt.
        let first = self.first.unwrap_or_else(Instant::now);
        Timings {
            queued: self.begun.saturating_duration_since(self.asked),
            prefill: first.saturating_duration_since(self.begun),
            decode: self.last.saturating_duration_since(first),
        }
    }
}
