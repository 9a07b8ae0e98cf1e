//! What is asked, free of any protocol: prompts to continue, and how.

use std::time::Duration;

use bantam_engine::{Pooling, PromptOutput, Request, Sampling, Stopping};
use bantam_text::{Conversation, Shown, Special};
use serde_json::{Map, Value};

use crate::caller::Caller;
use crate::clock;
use crate::fault::{Fault, Kind};
use crate::fill::Fill;
use crate::limits::{STOP_BYTES_MAX, STOPS_MAX};
use crate::served::Served;
use crate::structure::Format;
use bantam_text::ThinkingSplitter;

/// What is to be answered, and how.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// At least one.
    pub(crate) prompts: Vec<Prompt>,
    /// Answers to each prompt, at least one.
    pub(crate) choices: usize,
    pub(crate) sampling: Sampling,
    /// At most so many new tokens; as many as the context holds if `None`.
    pub(crate) max_tokens: Option<usize>,
    /// Texts that end an answer and are no part of it.
    pub(crate) stops: Vec<String>,
    /// Whether the model may end its answer.
    pub(crate) stopping: Stopping,
    /// How many likely tokens are told with each token; `None` for no log-probabilities at all.
    pub(crate) top_logprobs: Option<usize>,
    /// Whether log-probabilities are told of the prompt's tokens too.
    pub(crate) scores_prompt: bool,
    /// How the prompt becomes a vector, in the place of an answer.
    pub(crate) pooling: Option<Pooling>,
    /// Who asks.
    pub(crate) caller: Caller,
    /// So long may the answers take, from the request on.
    pub(crate) time_max: Option<Duration>,
    /// What the answers are to be.
    pub(crate) format: Option<Format>,
}

/// What is to be continued.
#[derive(Clone, Debug)]
pub(crate) enum Prompt {
    /// Messages, through the model's template.
    Chat(Chat),
    /// A text as it is.
    Text(String),
    /// Tokens as they are.
    Ids(Vec<u32>),
    /// A gap in a text.
    Fill(Fill),
}

/// A conversation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chat {
    /// In the form of the chat completions protocol; if the last is the assistant's, the answer goes on with it.
    pub(crate) messages: Vec<Value>,
    /// Switches of the template.
    pub(crate) switches: Map<String, Value>,
}

/// A prompt as the engine takes it.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) ids: Vec<u32>,
    /// Where thinking may begin.
    pub(crate) thinking: ThinkingSplitter,
    /// Whether the answer is part of a text that has begun.
    pub(crate) continues: bool,
    /// Tokens that end the answer, besides the model's own.
    pub(crate) stops: Vec<u32>,
}

impl Ask {
    /// One answer to one prompt, as the model's makers want it sampled.
    pub(crate) fn new(prompt: Prompt, served: &Served) -> Self {
        let seed = served.seed.unwrap_or_else(clock::random);
        Ask {
            prompts: vec![prompt],
            choices: 1,
            sampling: Sampling { seed, ..served.sampling.clone() },
            max_tokens: None,
            stops: Vec::new(),
            stopping: Stopping::Allowed,
            top_logprobs: None,
            scores_prompt: false,
            pooling: None,
            caller: Caller::current(),
            time_max: None,
            format: None,
        }
    }

    /// What the model's own settings say where this says nothing.
    pub(crate) fn completed(mut self, served: &Served) -> Self {
        if self.stops.is_empty() {
            self.stops.clone_from(&served.stops);
        }
        self.max_tokens = self.max_tokens.or(served.max_tokens);
        self
    }

    /// The engine's request for the answer with a number, of those to one prompt.
    pub(crate) fn request(&self, prompt: &Prepared, number: usize, served: &Served) -> Request {
        let mut sampling = self.sampling.clone();
        sampling.seed = sampling.seed.wrapping_add(number as u64);
        Request {
            prompt: prompt.ids.clone(),
            max_tokens: self.max_tokens,
            sampling,
            stop_tokens: match self.tells_stop() {
                true => Vec::new(),
                false => [&served.stop_tokens[..], &prompt.stops].concat(),
            },
            stopping: self.stopping,
            prompt_output: match self.pooling {
                Some(pooling) => PromptOutput::Pooled(pooling),
                None if self.scores_prompt => PromptOutput::Logprobs,
                None => PromptOutput::None,
            },
            top_logprobs: self.top_logprobs.unwrap_or(0),
            salt: self.caller.0,
            client: self.caller.0,
            ..Request::default()
        }
    }

    /// Whether a token that ends the answer is told like any other: harnesses that score a prompt ask for one token
    /// more, and count on it.
    pub(crate) fn tells_stop(&self) -> bool {
        self.scores_prompt && self.max_tokens == Some(1)
    }
}

impl Prompt {
    /// The prompt's tokens. Takes a while for long ones.
    ///
    /// # Errors
    ///
    /// A template that fails, tokens that the model does not have, a prompt that is empty or does not fit the context.
    pub(crate) fn prepare(&self, served: &Served) -> Result<Prepared, Fault> {
        let prepared = match self {
            Prompt::Chat(chat) => chat.prepare(served)?,
            Prompt::Text(text) => Prepared::continued(text_ids(text, served)?),
            Prompt::Ids(ids) => Prepared::continued(ids.clone()),
            Prompt::Fill(fill) => {
                let (ids, stops) = fill.ids(&served.tokenizer)?;
                Prepared { stops, ..Prepared::continued(ids) }
            }
        };
        check(&prepared.ids, served)?;
        Ok(prepared)
    }
}

impl Prepared {
    fn continued(ids: Vec<u32>) -> Self {
        Prepared { ids, thinking: ThinkingSplitter::none(), continues: true, stops: Vec::new() }
    }
}

impl Chat {
    fn prepare(&self, served: &Served) -> Result<Prepared, Fault> {
        let (said, begun) = self.parts();
        let mut ids = self.render(said, true, served)?;
        if let Some(begun) = begun {
            ids.extend(served.tokenizer.to_ids(begun, Special::Markers)?);
        }
        let end = served.tokenizer.to_text(&ids[ids.len().saturating_sub(8)..], Shown::All);
        let thinking = ThinkingSplitter::after(&end);
        Ok(match begun {
            // What was begun is the answer, unless it is thinking that was opened.
            Some(_) if !thinking.is_thinking() => Prepared::continued(ids),
            begun => Prepared { ids, thinking, continues: begun.is_some(), stops: Vec::new() },
        })
    }

    /// What was said, and the answer that has begun.
    fn parts(&self) -> (&[Value], Option<&str>) {
        match self.messages.split_last() {
            Some((last, said)) if last["role"] == "assistant" && last["content"].is_string() => {
                (said, last["content"].as_str().filter(|text| !text.is_empty()))
            }
            _ => (&self.messages, None),
        }
    }

    fn render(&self, messages: &[Value], open: bool, served: &Served) -> Result<Vec<u32>, Fault> {
        let template = served.template.as_ref().ok_or_else(no_template)?;
        let messages = served.opened(messages);
        Ok(template.render_ids(&self.conversation(&messages, open), &served.tokenizer)?)
    }

    fn conversation<'a>(&self, messages: &'a [Value], open: bool) -> Conversation<'a> {
        let (switches, now) = (self.switches.clone(), Some(clock::now()));
        Conversation { messages, add_generation_prompt: open, switches, now, ..Conversation::default() }
    }

    /// The text of the conversation, with the beginning of an answer.
    ///
    /// # Errors
    ///
    /// A template that fails.
    pub(crate) fn to_text(&self, served: &Served) -> Result<String, Fault> {
        let (said, begun) = self.parts();
        let template = served.template.as_ref().ok_or_else(no_template)?;
        let said = served.opened(said);
        Ok(template.render(&self.conversation(&said, true))? + begun.unwrap_or_default())
    }
}

fn no_template() -> Fault {
    Fault::invalid("this model has no chat template and only continues text: use /v1/completions")
}

/// A text as a document: what begins a document stands before it, so that an empty one can be continued too.
fn text_ids(text: &str, served: &Served) -> Result<Vec<u32>, Fault> {
    let tokenizer = &served.tokenizer;
    let ids =
        tokenizer.to_ids(text, Special::Parse).map_err(|error| Fault::field("prompt", error.to_string()))?;
    let mut ids = tokenizer.begin(ids);
    if ids.is_empty() {
        let roles = tokenizer.roles();
        ids.extend(roles.bos.or(roles.eos));
    }
    Ok(ids)
}

fn check(ids: &[u32], served: &Served) -> Result<(), Fault> {
    let vocab_size = served.vocab_size;
    if ids.is_empty() {
        return Err(bantam_engine::Error::EmptyPrompt.into());
    }
    if let Some(&token) = ids.iter().find(|id| **id as usize >= vocab_size) {
        return Err(bantam_engine::Error::Token { token, vocab_size }.into());
    }
    let (prompt, context) = (ids.len(), served.context_length);
    if prompt > context {
        return Err(bantam_engine::Error::PromptTooLong { prompt, context }.into());
    }
    Ok(())
}

/// The settings that all protocols share, checked before anything is computed.
pub(crate) fn check_sampling(sampling: &Sampling, served: &Served) -> Result<(), Fault> {
    sampling.check(served.vocab_size).map_err(Fault::from)
}

/// Refuses more or longer stop strings than are looked for.
pub(crate) fn check_stops(stops: &[String], name: &str) -> Result<(), Fault> {
    if stops.len() > STOPS_MAX || stops.iter().any(|stop| stop.len() > STOP_BYTES_MAX) {
        let message =
            format!("`{name}` is too much: wanted at most {STOPS_MAX} texts of {STOP_BYTES_MAX} bytes");
        return Err(Fault::field(name, message));
    }
    Ok(())
}

/// A failure that no request can cause.
pub(crate) fn broken(what: &str) -> Fault {
    Fault::new(Kind::Internal, format!("{what}, which is a bug in bantam"))
}
