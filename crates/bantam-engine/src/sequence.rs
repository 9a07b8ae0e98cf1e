//! A request on its way: its tokens, its state, and what is to be computed next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use bantam_model::{State, Want};

use crate::request::{Event, Overflow, PromptOutput, Reason, Request, Usage};
use crate::sampling::Sampler;

/// A running sequence.
pub(crate) struct Sequence {
    /// Prompt and answer so far.
    pub(crate) tokens: Vec<u32>,
    pub(crate) state: State,
    request: Request,
    sampler: Sampler,
    usage: Usage,
    events: Sender<Event>,
    cancelled: Arc<AtomicBool>,
}

/// What a sequence has in a step.
pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) want: Want,
}

impl Sequence {
    pub(crate) fn new(
        request: Request,
        state: State,
        events: Sender<Event>,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        let usage =
            Usage { prompt_tokens: request.prompt.len(), reused_tokens: state.length(), generated_tokens: 0 };
        let tokens = request.prompt.clone();
        let sampler = Sampler::new(request.sampling.clone());
        Sequence { tokens, state, request, sampler, usage, events, cancelled }
    }

    /// Whether only the newest token is still to be computed.
    pub(crate) fn is_decoding(&self) -> bool {
        self.usage.generated_tokens > 0 && self.pending() == 1
    }

    fn pending(&self) -> usize {
        self.tokens.len() - self.state.length()
    }

    /// What it would put into a step that has room for so many rows.
    pub(crate) fn rows(&self, room: usize) -> Rows {
        let count = self.pending().min(room);
        let wants_all =
            self.request.prompt_output == PromptOutput::Logits && self.usage.generated_tokens == 0;
        let want = match (wants_all, count == self.pending()) {
            (true, _) => Want::All,
            (false, true) => Want::Last,
            (false, false) => Want::Nothing,
        };
        Rows { count, want }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Takes the logits of its rows of a step; the reason if the sequence has ended.
    pub(crate) fn take(&mut self, rows: &Rows, logits: &[f32], vocab_size: usize) -> Option<Reason> {
        if rows.want == Want::All {
            let first = self.state.length() - rows.count;
            let event = Event::Prompt { first, logits: logits.to_vec() };
            if self.events.send(event).is_err() {
                return Some(Reason::Cancelled);
            }
        }
        if self.pending() > 0 || rows.want == Want::Nothing {
            return None;
        }
        if self.request.max_tokens == Some(0) {
            return Some(Reason::Length);
        }
        let last = &logits[logits.len() - vocab_size..];
        self.choose(last)
    }

    fn choose(&mut self, logits: &[f32]) -> Option<Reason> {
        let choice = self.sampler.choose(logits, &self.tokens, self.request.top_logprobs);
        if self.request.stop_tokens.contains(&choice.id) {
            return Some(Reason::Stop(choice.id));
        }
        self.tokens.push(choice.id);
        self.usage.generated_tokens += 1;
        let event = Event::Token { id: choice.id, logprob: choice.logprob, top: choice.top };
        if self.events.send(event).is_err() {
            return Some(Reason::Cancelled);
        }
        if Some(self.usage.generated_tokens) == self.request.max_tokens {
            return Some(Reason::Length);
        }
        self.make_room()
    }

    /// Sees that the newest token has a place in the context.
    fn make_room(&mut self) -> Option<Reason> {
        let context = self.state.length_max();
        if self.tokens.len() <= context {
            return None;
        }
        let Overflow::Shift { keep } = self.request.overflow else { return Some(Reason::ContextFull) };
        let keep = keep.min(context / 2);
        let dropped = ((self.tokens.len() - keep) / 2).max(1);
        self.tokens.drain(keep..keep + dropped);
        // Keys know their old positions: everything behind what stays is read again.
        self.state.truncate(keep);
        self.events.send(Event::Shifted { dropped }).is_err().then_some(Reason::Cancelled)
    }

    /// Tells the end. The state is worth keeping if the sequence did not fail.
    pub(crate) fn done(self, reason: Reason) -> (Vec<u32>, State) {
        // Nobody may be listening any more.
        let _ = self.events.send(Event::Done { reason, usage: self.usage });
        (self.tokens, self.state)
    }

    pub(crate) fn failed(self, error: crate::Error) {
        let _ = self.events.send(Event::Failed(error));
    }
}
