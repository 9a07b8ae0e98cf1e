//! What is asked, free of any protocol: prompts to continue, and how.

use std::sync::Arc;
use std::time::Duration;

use bantam_engine::{Constraint, Pooling, PromptOutput, Request, Sampling, Stopping};
use bantam_grammar::{Grammar, Start, ThinkingBudget};
use bantam_text::{Calling, Conversation, Given, Parser, Shown, Special, Stage, Telling, Thinking, Tool};
use serde_json::Value;

use crate::caller::Caller;
use crate::calls;
use crate::clock;
use crate::fault::Fault;
use crate::fill::Fill;
use crate::limits::{STOP_BYTES_MAX, STOPS_MAX};
use crate::models::Model;
use crate::notes::Notes;
use crate::served::Served;
use crate::structure::Format;
use crate::tools::Tools;

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

/// What answers are to be, and its grammar.
pub(crate) type Held<'a> = (&'a Format, &'a Grammar);

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
    /// What it may call.
    pub(crate) tools: Tools,
    /// How much it may think.
    pub(crate) thinking: Thinking,
    /// How arguments are told where a grammar keeps calls in form.
    pub(crate) telling: Telling,
}

/// A prompt as the engine takes it.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) ids: Vec<u32>,
    /// What tells thinking, text and calls from each other.
    pub(crate) parser: Parser,
    /// The answer ends behind so many calls.
    pub(crate) calls_max: usize,
    /// What the answer is held to.
    pub(crate) constraint: Option<Box<dyn Constraint>>,
    /// Whether the answer is part of a text that has begun.
    pub(crate) continues: bool,
    /// Tokens that end the answer, besides the model's own.
    pub(crate) stops: Vec<u32>,
    /// What the client is told beside the answer.
    pub(crate) notes: Notes,
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
            top_logprobs: self.top_logprobs,
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
    /// The prompt's tokens, and what the answer is held to: `format`, if there is one. Takes a while for long ones.
    ///
    /// # Errors
    ///
    /// A template that fails, tokens that the model does not have, a prompt that is empty or does not fit the context,
    /// tools that cannot be held to.
    pub(crate) fn prepare(&self, model: &Model, format: Option<Held<'_>>) -> Result<Prepared, Fault> {
        let served = &model.served;
        let prepared = match self {
            Prompt::Chat(chat) => chat.prepare(model, format)?,
            Prompt::Text(text) => Prepared::continued(text_ids(text, served)?, format),
            Prompt::Ids(ids) => Prepared::continued(ids.clone(), format),
            Prompt::Fill(fill) => {
                let (ids, stops) = fill.ids(&served.tokenizer)?;
                Prepared { stops, ..Prepared::continued(ids, format) }
            }
        };
        check(&prepared.ids, served)?;
        Ok(prepared)
    }
}

impl Prepared {
    fn continued(ids: Vec<u32>, format: Option<Held<'_>>) -> Self {
        let (parser, calls_max) = (Parser::none(), usize::MAX);
        let constraint = format.map(|(_, grammar)| grammar.constraint(&Start::Now));
        Prepared { ids, parser, calls_max, constraint, continues: true, stops: Vec::new(), notes: Vec::new() }
    }
}

impl Chat {
    fn prepare(&self, model: &Model, format: Option<Held<'_>>) -> Result<Prepared, Fault> {
        let served = &model.served;
        let (said, begun) = self.parts();
        let mut ids = self.render(said, model)?;
        if let Some(begun) = begun {
            ids.extend(served.tokenizer.to_ids(begun, Special::Markers)?);
        }
        let parser = self.parser(&ids, self.tools.callable(), model);
        // Where the template opens the thinking and has no switch for it, it is closed again.
        let parser = match parser.thinking_close().filter(|_| self.thinking.budget == Some(0)) {
            Some(close) => {
                ids.extend(served.tokenizer.to_ids(&format!("\n{close}\n\n"), Special::Parse)?);
                self.parser(&ids, self.tools.callable(), model)
            }
            None => parser,
        };
        // What was begun is the answer, unless it is thinking that was opened.
        let has_begun = begun.is_some() && parser.stage() != Stage::Thinking;
        let parser = if has_begun { parser.begun() } else { parser };
        let (held, notes) = self.held(&parser, format, model)?;
        let telling = if held.is_some() { self.telling } else { Telling::Whole };
        let constraint = if has_begun { held } else { self.within_budget(held, &ids, model) };
        let (parser, continues) = (parser.telling(telling), begun.is_some());
        let calls_max = if self.tools.several { usize::MAX } else { 1 };
        Ok(Prepared { ids, parser, calls_max, constraint, continues, stops: Vec::new(), notes })
    }

    /// What reads the answer behind these tokens.
    fn parser(&self, ids: &[u32], tools: Arc<[Tool]>, model: &Model) -> Parser {
        let end = model.served.tokenizer.to_text(&ids[ids.len().saturating_sub(8)..], Shown::All);
        model.dialect.parser(&end, tools)
    }

    /// What the answer is held to behind its thinking: what was asked for, the form of calls, or either of them; and what
    /// it is not held to.
    fn held(
        &self,
        parser: &Parser,
        format: Option<Held<'_>>,
        model: &Model,
    ) -> Result<(Option<Box<dyn Constraint>>, Notes), Fault> {
        let may_call = !self.tools.callable().is_empty();
        // Where there must be a call, there is nothing beside it.
        let is_free = self.tools.calling() == Calling::Allowed;
        let (grammar, notes) = match format {
            Some((_, grammar)) if !may_call => (Some(grammar.clone()), Vec::new()),
            format => {
                let format = format.filter(|_| may_call && is_free);
                let otherwise = format.map(|(format, _)| beside_calls(format)).transpose()?;
                let calls::Held { grammar, notes } = calls::hold(&self.tools, otherwise.as_deref(), model)?;
                (grammar, notes)
            }
        };
        let may_think = self.thinking.budget != Some(0);
        let start = match may_think {
            true => Start::behind(parser, &model.served.tokenizer),
            false => Start::behind(&parser.clone().begun(), &model.served.tokenizer),
        };
        Ok((grammar.map(|grammar| grammar.constraint(&start)), notes))
    }

    /// The same, with thinking that ends when its budget is used up.
    fn within_budget(
        &self,
        held: Option<Box<dyn Constraint>>,
        ids: &[u32],
        model: &Model,
    ) -> Option<Box<dyn Constraint>> {
        let parser = self.parser(ids, Arc::default(), model);
        let may_think = model.dialect.thinking().is_some() || parser.stage() == Stage::Thinking;
        match self.thinking.budget.filter(|_| may_think) {
            Some(budget) => {
                Some(Box::new(ThinkingBudget::new(parser, &model.served.tokenizer, budget, held)))
            }
            None => held,
        }
    }

    /// What was said, and the answer that has begun.
    fn parts(&self) -> (&[Value], Option<&str>) {
        match self.messages.split_last() {
            Some((last, said)) if last["role"] == "assistant" && last["content"].is_string() => {
                let has_calls = last["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
                match last["content"].as_str().filter(|text| !text.is_empty()) {
                    _ if has_calls => (&self.messages, None),
                    begun => (said, begun),
                }
            }
            _ => (&self.messages, None),
        }
    }

    fn render(&self, messages: &[Value], model: &Model) -> Result<Vec<u32>, Fault> {
        let template = model.served.template.as_ref().ok_or_else(no_template)?;
        let (given, markers) = self.given(messages, model);
        Ok(template.render_ids(&self.conversation(&given, &markers), &model.served.tokenizer)?)
    }

    /// The conversation as the template takes it, and what of its text stays tokens.
    fn given(&self, messages: &[Value], model: &Model) -> (Given, Vec<&'static str>) {
        let mut given = model.dialect.prepare(model.served.opened(messages), &self.tools.offered);
        given.switches.extend(self.thinking.switches.clone());
        (given, model.dialect.markers())
    }

    fn conversation<'a>(&self, given: &'a Given, markers: &'a [&'static str]) -> Conversation<'a> {
        Conversation {
            messages: &given.messages,
            tools: given.tools.as_deref(),
            add_generation_prompt: true,
            switches: given.switches.clone(),
            now: Some(clock::now()),
            markers,
            ..Conversation::default()
        }
    }

    /// The text of the conversation, with the beginning of an answer.
    ///
    /// # Errors
    ///
    /// A template that fails.
    pub(crate) fn to_text(&self, model: &Model) -> Result<String, Fault> {
        let (said, begun) = self.parts();
        let template = model.served.template.as_ref().ok_or_else(no_template)?;
        let (given, markers) = self.given(said, model);
        Ok(template.render(&self.conversation(&given, &markers))? + begun.unwrap_or_default())
    }
}

/// What an answer is to be that may be a call in its place.
fn beside_calls(format: &Format) -> Result<String, Fault> {
    let lark = format.spec.to_lark().map_err(|error| format.refusal(&error))?;
    lark.ok_or_else(|| {
        Fault::unsupported(&format.field, " together with `tools`: leave one out, or ask for JSON")
    })
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
