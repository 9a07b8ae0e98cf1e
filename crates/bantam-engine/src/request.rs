//! What is asked of the engine, and what it answers.

use std::sync::Arc;

use bantam_model::Adapter;

use crate::{Constraint, Error, Pooling, Sampling};

/// One continuation of a prompt.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The ids to continue, at least one.
    pub prompt: Vec<u32>,
    /// At most so many new tokens; as many as the context holds if `None`.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens that end the answer; they are reported, not generated. With none, all tokens are like any other.
    pub stop_tokens: Vec<u32>,
    /// Whether stop tokens may be chosen at all.
    pub stopping: Stopping,
    /// What happens when the context is full.
    pub overflow: Overflow,
    /// What is told about the prompt's own tokens.
    pub prompt_output: PromptOutput,
    /// So many of the likeliest tokens are told with each new one, and how likely itself was; `None` for neither, which
    /// saves a pass over the vocabulary.
    pub top_logprobs: Option<usize>,
    /// What changes the model for this request. Requests with one and the same `Arc` share states and steps' products.
    pub adapter: Option<Arc<Adapter>>,
    /// States are shared between requests of the same salt only: how fast an answer comes then tells nothing of what
    /// others asked.
    pub salt: u64,
    /// Who asks. Who got the fewest tokens computed of late is served first.
    pub client: u64,
    /// What the answer may be. Tokens that it forces are not sampled, and have a log-probability of zero.
    pub constraint: Option<Box<dyn Constraint>>,
}

/// Whether stop tokens may be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stopping {
    /// They may, and end the answer.
    #[default]
    Allowed,
    /// They may not: the answer goes on up to another limit (llama.cpp's `--ignore-eos`).
    Forbidden,
}

/// What happens when the context is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The answer ends with [`Reason::ContextFull`].
    #[default]
    Stop,
    /// The older half of the tokens behind the first `keep` is forgotten, and the rest read again.
    Shift {
        /// Tokens at the beginning that stay, at most half of the context.
        keep: usize,
    },
}

/// What is told about the prompt's own tokens. A request that asks for any of it reuses no state and leaves none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PromptOutput {
    /// Nothing.
    #[default]
    None,
    /// The prompt's tokens from the second on come as [`Event::Token`] before all new ones, one less than
    /// [`Usage::prompt_tokens`]; the first has nothing before it that would make it likely.
    Logprobs,
    /// The logits at each position, as [`Event::Prompt`]; computed only as they are read.
    Logits,
    /// One vector made of the last hidden states, as [`Event::Pooled`]; nothing is generated.
    Pooled(Pooling),
}

/// What happens to a request: first what was asked about the prompt, then any number of `Token` and `Shifted`, then
/// one `Done` or `Failed`.
#[derive(Clone, Debug)]
pub enum Event {
    /// Logits at consecutive positions of the prompt, `[positions][vocab_size]`.
    Prompt {
        /// The first of them.
        first: usize,
        /// The numbers.
        logits: Vec<f32>,
    },
    /// One vector for the whole prompt, `[hidden_size]`.
    Pooled(Vec<f32>),
    /// A token.
    Token {
        /// Its id.
        id: u32,
        /// The logarithm of its probability under the model, before any sampling setting: where
        /// [`Request::top_logprobs`] asks for it, and of the prompt's tokens.
        logprob: Option<f32>,
        /// The likeliest tokens and theirs, likeliest first.
        top: Vec<(u32, f32)>,
    },
    /// The context was full, and this many tokens were forgotten.
    Shifted {
        /// How many.
        dropped: usize,
    },
    /// The end.
    Done {
        /// Why.
        reason: Reason,
        /// How much.
        usage: Usage,
    },
    /// The end, without an answer.
    Failed(Error),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// One of the stop tokens came.
    Stop(u32),
    /// The constraint is met, and nothing more may come.
    Complete,
    /// `max_tokens` are there, or were so near that the constraint led the answer to an early end; or only the prompt
    /// was asked about.
    Length,
    /// The context holds no more.
    ContextFull,
    /// It was cancelled.
    Cancelled,
}

/// How much a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those among them whose state was there already.
    pub reused_tokens: usize,
    /// New tokens.
    pub generated_tokens: usize,
    /// Those among them that the constraint forced.
    pub forced_tokens: usize,
    /// Guesses of new tokens that were computed.
    pub guessed_tokens: usize,
    /// Those among them that were right.
    pub accepted_tokens: usize,
}
