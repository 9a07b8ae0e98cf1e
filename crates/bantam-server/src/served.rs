//! A model as the server sees it: what generates, how text becomes tokens, and what is told of it.

use std::sync::Arc;

use bantam_engine::{Adapter, Engine, Error, Event, Figures, Pooling, Request, Sampling};
use bantam_text::{ChatTemplate, Tokenizer};
use serde_json::Value;

use crate::names::AdapterPart;
use crate::refusal::Refusal;

/// What answers requests: an engine, or a script in tests.
pub trait Generate: Send + Sync + 'static {
    /// Hands in a request.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, before anything is computed.
    fn submit(&self, request: Request) -> Result<Running, Error>;

    /// Opens adapters for this model, added up.
    ///
    /// # Errors
    ///
    /// Adapters that cannot be read, or that are not for this model.
    fn adapter(&self, parts: &[AdapterPart]) -> Result<Arc<Adapter>, Refusal> {
        Err(Refusal::Unsupported(format!("this model takes no adapters: {} are wanted", parts.len())))
    }

    /// What the engine does at the moment, where there is one.
    fn figures(&self) -> Option<Figures> {
        None
    }
}

/// A request on its way. Dropping the events ends it too.
pub struct Running {
    /// What happens to it, in order; reading waits.
    pub events: Box<dyn Iterator<Item = Event> + Send>,
    /// Ends it before the next step; the last event tells so.
    pub cancel: Box<dyn Fn() + Send + Sync>,
}

impl Generate for Engine {
    fn submit(&self, request: Request) -> Result<Running, Error> {
        let stream = Engine::submit(self, request)?;
        let cancel = Box::new(stream.canceller());
        Ok(Running { events: Box::new(stream), cancel })
    }

    fn figures(&self) -> Option<Figures> {
        Some(Engine::figures(self))
    }
}

/// A model that is served.
pub struct Served {
    /// What clients call it.
    pub name: String,
    /// What generates.
    pub generator: Box<dyn Generate>,
    /// Its tokeniser.
    pub tokenizer: Tokenizer,
    /// What was said before each conversation, in the form of the chat completions protocol.
    pub opening: Vec<Value>,
    /// Texts that end an answer where a request has none.
    pub stops: Vec<String>,
    /// Tokens of an answer where a request says nothing; as many as the context holds if `None`.
    pub max_tokens: Option<usize>,
    /// Its chat template; without one it only continues text.
    pub template: Option<ChatTemplate>,
    /// How tokens are chosen where a request says nothing.
    pub sampling: Sampling,
    /// The seed where a request has none; another one each time if `None`.
    pub seed: Option<u64>,
    /// Tokens that end an answer.
    pub stop_tokens: Vec<u32>,
    /// Tokens that a sequence may have.
    pub context_length: usize,
    /// Tokens that the model tells apart.
    pub vocab_size: usize,
    /// Numbers of an embedding.
    pub embedding_size: usize,
    /// How the last hidden states of a text become its embedding.
    pub pooling: Pooling,
    /// Requests that the generator runs together.
    pub sequences_max: usize,
    /// What is told of it.
    pub details: Details,
}

/// What is told of a model.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// The architecture's name in its files.
    pub architecture: String,
    /// Weights.
    pub parameters: u64,
    /// The storage that most weights are in, such as `Q4_1`.
    pub quantization: String,
    /// `gguf` or `safetensors`.
    pub format: String,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// When its files were written, in seconds since 1970.
    pub modified_unix_s: u64,
    /// SHA-256 of its file as `sha256:` and hexadecimal digits, where known.
    pub digest: Option<String>,
    /// Tokens of context that it was made for.
    pub context_length: usize,
    /// The chat template's source.
    pub template: Option<String>,
    /// What the model is told before each conversation.
    pub system: Option<String>,
    /// Its licence's name.
    pub licence: Option<String>,
    /// The model that it was made from.
    pub parent: Option<String>,
}

impl Served {
    /// A conversation with what was said before it. One that brings its own system text has no other.
    pub(crate) fn opened(&self, messages: &[Value]) -> Vec<Value> {
        let is_system = |message: &Value| message["role"] == "system";
        let is_told = messages.first().is_some_and(is_system);
        let (system, rest): (Vec<Value>, Vec<Value>) = self.opening.iter().cloned().partition(is_system);
        let (own, said) = messages.split_at(usize::from(is_told));
        let system = if is_told { own.to_vec() } else { system };
        [system.as_slice(), &rest, said].concat()
    }
}

impl Details {
    /// `135M`: about how many weights, as people write it.
    pub(crate) fn parameter_size(&self) -> String {
        let count = self.parameters as f64;
        match self.parameters {
            0..1_000_000 => format!("{:.0}K", count / 1e3),
            1_000_000..1_000_000_000 => format!("{:.0}M", count / 1e6),
            _ => format!("{:.1}B", count / 1e9),
        }
    }
}
