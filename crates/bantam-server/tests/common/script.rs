//! A generator that does what it is told: the last thing said is an order.
//!
//! `say TEXT` answers the text; `held TEXT` too, but keeps to the request's constraint: what is forced comes in between,
//! and what may not come is left out; `fail TEXT` fails behind it; `panic` panics; `hold TEXT` answers and then waits until
//! it is released or cancelled. Anything else is answered by itself. As a vector, a prompt is how often it has each of
//! 32 tokens, from `!` on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bantam_engine::{Allowed, Constraint, Error, Event, PromptOutput, Reason, Request, Usage};
use bantam_server::{Generate, Running};
use bantam_text::{Shown, Special, Tokenizer};

/// What a test and its script tell each other.
#[derive(Clone, Default)]
pub(crate) struct Signals(Arc<(Mutex<Counts>, Condvar)>);

#[derive(Default)]
struct Counts {
    submitted: usize,
    cancelled: usize,
    dropped: usize,
    is_released: bool,
    last: Option<Request>,
}

impl Signals {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn wait(&self, is_there: impl Fn(&Counts) -> bool) {
        let mut counts = self.0.0.lock().unwrap();
        while !is_there(&counts) {
            counts = self.0.1.wait(counts).unwrap();
        }
    }

    /// Waits until so many requests were handed in.
    pub(crate) fn wait_submitted(&self, count: usize) {
        self.wait(|counts| counts.submitted >= count);
    }

    /// Waits until so many requests were cancelled before their end.
    pub(crate) fn wait_cancelled(&self, count: usize) {
        self.wait(|counts| counts.cancelled >= count);
    }

    /// Waits until so many generators are gone.
    pub(crate) fn wait_dropped(&self, count: usize) {
        self.wait(|counts| counts.dropped >= count);
    }

    /// The newest request.
    pub(crate) fn last(&self) -> Request {
        self.0.0.lock().unwrap().last.clone().unwrap()
    }

    pub(crate) fn submitted(&self) -> usize {
        self.0.0.lock().unwrap().submitted
    }

    /// Lets those that hold go on.
    pub(crate) fn release(&self) {
        self.change(|counts| counts.is_released = true);
    }
}

pub(crate) struct Script {
    tokenizer: Tokenizer,
    signals: Signals,
}

impl Script {
    pub(crate) fn new(tokenizer: Tokenizer, signals: Signals) -> Self {
        Script { tokenizer, signals }
    }

    /// What was said last, or all of a raw prompt.
    fn order(&self, prompt: &[u32]) -> String {
        let text = self.tokenizer.to_text(prompt, Shown::All);
        let last = text.rsplit("<|begin|>user\n").next().unwrap_or_default();
        last.split("<|end|>").next().unwrap_or_default().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.signals.change(|counts| counts.dropped += 1);
    }
}

impl Generate for Script {
    fn submit(&self, request: Request) -> Result<Running, Error> {
        let order = self.order(&request.prompt);
        let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
        let (text, end) = match word {
            "say" | "held" => (rest, End::Stop),
            "fail" => (rest, End::Fail),
            "hold" => (rest, End::Hold),
            "panic" => ("", End::Panic),
            _ => (order.as_str(), End::Stop),
        };
        let ids = self.tokenizer.to_ids(text, Special::Parse).unwrap();
        let is_cut = word != "held" && request.max_tokens.is_some_and(|most| most < ids.len() || most == 0);
        let most = request.max_tokens.filter(|_| word != "held").unwrap_or(ids.len()).min(ids.len());
        let scored = if request.prompt_output == PromptOutput::Logprobs { &request.prompt[1..] } else { &[] };
        let mut tokens: Vec<u32> = scored.iter().chain(&ids[..most]).copied().collect();
        tokens.reverse();
        let pooled = matches!(request.prompt_output, PromptOutput::Pooled(_)).then(|| {
            let count = |id: u32| request.prompt.iter().filter(|found| **found == id).count() as f32;
            (2..34).map(count).collect()
        });
        let usage = Usage {
            prompt_tokens: request.prompt.len(),
            reused_tokens: 3,
            generated_tokens: most,
            ..Usage::default()
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let play = Play {
            pooled,
            tokens,
            top: request.top_logprobs.unwrap_or(0),
            end: if is_cut { End::Length } else { end },
            usage,
            is_over: false,
            cancelled: Arc::clone(&cancelled),
            signals: self.signals.clone(),
            held: request.constraint.clone().filter(|_| word == "held"),
            left: request.max_tokens.unwrap_or(1000),
        };
        self.signals.change(|counts| {
            counts.submitted += 1;
            counts.last = Some(request.clone());
        });
        let signals = self.signals.clone();
        let cancel = move || {
            cancelled.store(true, Ordering::SeqCst);
            signals.change(|_| {});
        };
        Ok(Running { events: Box::new(play), cancel: Box::new(cancel) })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    Length,
    Fail,
    Hold,
    Panic,
}

/// One answer.
struct Play {
    pooled: Option<Vec<f32>>,
    /// The last first.
    tokens: Vec<u32>,
    top: usize,
    end: End,
    usage: Usage,
    is_over: bool,
    cancelled: Arc<AtomicBool>,
    signals: Signals,
    /// What it keeps to, for so many tokens at most.
    held: Option<Box<dyn Constraint>>,
    left: usize,
}

fn allows(allowed: Allowed<'_>, id: u32) -> bool {
    match allowed {
        Allowed::All => true,
        Allowed::Set(words) => words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1),
    }
}

impl Play {
    fn token(&mut self) -> Option<u32> {
        let Some(held) = &mut self.held else { return self.tokens.pop() };
        if held.is_complete() {
            return None;
        }
        if self.left == 0 {
            self.end = End::Length;
            return None;
        }
        self.left -= 1;
        let forced = held.forced().unwrap();
        let allowed = held.allowed().unwrap();
        let id = match forced.first() {
            Some(&id) => id,
            None => loop {
                match self.tokens.pop() {
                    Some(id) if allows(allowed, id) => break id,
                    Some(_) => {}
                    None if allows(allowed, 1) => return None,
                    None => break (2..96).find(|id| allows(allowed, *id))?,
                }
            },
        };
        held.commit(id).unwrap();
        Some(id)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn done(&mut self, reason: Reason) -> Event {
        if reason == Reason::Cancelled {
            self.signals.change(|counts| counts.cancelled += 1);
        }
        Event::Done { reason, usage: self.usage }
    }
}

impl Drop for Play {
    /// A stream that nobody reads to its end is cancelled, as the engine's are.
    fn drop(&mut self) {
        if !self.is_over {
            self.signals.change(|counts| counts.cancelled += 1);
        }
    }
}

impl Iterator for Play {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        if self.is_cancelled() {
            self.is_over = true;
            return Some(self.done(Reason::Cancelled));
        }
        if let Some(vector) = self.pooled.take() {
            (self.tokens, self.end) = (Vec::new(), End::Length);
            return Some(Event::Pooled(vector));
        }
        if let Some(id) = self.token() {
            // As likely as the token is high in the table, and the likeliest of those told.
            let logprob = -(id as f32) / 7.0;
            let top = (0..self.top as u32).map(|below| (id + below, logprob - below as f32)).collect();
            return Some(Event::Token { id, logprob: Some(logprob), top });
        }
        self.is_over = true;
        Some(match self.end {
            End::Stop => self.done(Reason::Stop(1)),
            End::Length => self.done(Reason::Length),
            End::Fail => Event::Failed(Error::Panic { reason: "as ordered".into() }),
            End::Panic => panic!("as ordered"),
            End::Hold => {
                let cancelled = Arc::clone(&self.cancelled);
                self.signals.wait(|counts| counts.is_released || cancelled.load(Ordering::SeqCst));
                let reason = if self.is_cancelled() { Reason::Cancelled } else { Reason::Stop(1) };
                self.done(reason)
            }
        })
    }
}
