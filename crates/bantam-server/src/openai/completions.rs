//! `POST /v1/completions`: texts and tokens, continued as they are.

use std::sync::Arc;

use axum::response::Response;
use bantam_text::{Shown, Tokenizer};
use serde_json::{Map, Value, json};

use super::{Head, Tally, finish, prompts, settings};
use crate::answer::{Answers, Ended, Piece, Token, Whole};
use crate::ask::{Ask, Prompt};
use crate::dialect::{Dialect, json_reply};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::fill::Fill;
use crate::limits::{CHOICES_MAX, TOP_LOGPROBS_MAX};
use crate::logprobs::Lists;
use crate::served::Served;
use crate::state::App;
use crate::wire::{self, Frames, Wire};

/// Without a wish, an answer has so many tokens at most.
const MAX_TOKENS_DEFAULT: usize = 16;

/// Continues texts.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn completions(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = app.models.open(&fields).await?;
    let ask = read(&fields, &model.served)?;
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let echo = fields.flag("echo")?.unwrap_or(false);
    let has_usage = match fields.object("stream_options")? {
        Some(options) => options.flag("include_usage")?.unwrap_or(false),
        None => false,
    };
    let tokenizer = model.served.tokenizer.clone();
    let given: Vec<Option<String>> = ask.prompts.iter().map(given_text).collect();
    let (choices, has_logprobs) = (ask.choices, ask.top_logprobs.is_some());
    let head = Head::new("cmpl-", &model.name);
    let answers = Answers::begin(Arc::clone(&model), ask).await?;
    let prompts = Prompts { ids: answers.prompts.clone(), given, choices, tokenizer, echo, has_logprobs };
    if wants_stream {
        let offsets = vec![None; answers.count];
        let wire = Chunks { head, prompts, offsets, has_usage, tally: Tally::default() };
        return Ok(wire::stream(answers, wire, Frames::Events { ping: ": ping\n\n" }));
    }
    Ok(json_reply(&whole(&head, &prompts, answers.collect().await?)))
}

fn read(fields: &Fields<'_>, served: &Served) -> Result<Ask, Fault> {
    let mut ask = Ask::new(Prompt::Ids(Vec::new()), served);
    ask.prompts = match fields.value("prompt") {
        Some(_) => prompts::read(fields, "prompt", CHOICES_MAX)?,
        None => vec![Prompt::Text(String::new())],
    };
    if let Some(suffix) = fields.text("suffix")?.filter(|suffix| !suffix.is_empty()) {
        ask.prompts = ask.prompts.into_iter().map(|prompt| gap(prompt, suffix)).collect::<Result<_, _>>()?;
    }
    settings::read(fields, &mut ask)?;
    if fields.count("best_of")?.is_some_and(|best_of| best_of != ask.choices) {
        return Err(fields.wrong("best_of", "the same as `n`: all answers are given back"));
    }
    let most = fields.integer("max_tokens")?.map(|most| usize::try_from(most).ok());
    ask.max_tokens = most.unwrap_or(Some(MAX_TOKENS_DEFAULT));
    ask.top_logprobs = fields.count("logprobs")?;
    if ask.top_logprobs.is_some_and(|top| top > TOP_LOGPROBS_MAX) {
        return Err(fields.wrong("logprobs", &format!("at most {TOP_LOGPROBS_MAX}")));
    }
    let echo = fields.flag("echo")?.unwrap_or(false);
    ask.scores_prompt = echo && ask.top_logprobs.is_some();
    if ask.max_tokens == Some(0) && !echo {
        return Err(fields.wrong("max_tokens", "at least 1, or `echo`"));
    }
    Ok(ask)
}

/// A text with something behind the gap that follows it.
fn gap(prompt: Prompt, suffix: &str) -> Result<Prompt, Fault> {
    match prompt {
        Prompt::Text(prefix) => {
            Ok(Prompt::Fill(Fill { prefix, suffix: suffix.to_owned(), field: "suffix", ..Fill::default() }))
        }
        _ => Err(Fault::unsupported("suffix", " with prompts of tokens: send texts")),
    }
}

fn given_text(prompt: &Prompt) -> Option<String> {
    match prompt {
        Prompt::Text(text) => Some(text.clone()),
        Prompt::Fill(fill) => Some(fill.prefix.clone()),
        Prompt::Ids(_) | Prompt::Chat(_) => None,
    }
}

/// The prompts, and what is told of them.
struct Prompts {
    ids: Vec<Vec<u32>>,
    /// Their texts, where they were texts.
    given: Vec<Option<String>>,
    /// Answers to each.
    choices: usize,
    tokenizer: Tokenizer,
    echo: bool,
    has_logprobs: bool,
}

impl Prompts {
    /// The prompt of an answer as a text, if it is told.
    fn echo(&self, number: usize) -> String {
        let prompt = number / self.choices;
        match (self.echo, &self.given[prompt]) {
            (false, _) => String::new(),
            (true, Some(text)) => text.clone(),
            (true, None) => self.tokenizer.to_text(&self.ids[prompt], Shown::All),
        }
    }

    /// Log-probabilities of a prompt that is told and of what follows it, from an offset or, without one, from the
    /// beginning; the offset behind them.
    fn logprobs(
        &self,
        number: usize,
        prompt: &[Token],
        tokens: &[Token],
        offset: Option<usize>,
    ) -> (Value, usize) {
        if !self.has_logprobs {
            return (Value::Null, 0);
        }
        let mut lists = Lists::default();
        let first = self.ids[number / self.choices].first().filter(|_| self.echo && offset.is_none());
        let mut offset = offset.unwrap_or(0);
        if let Some(id) = first {
            offset = lists.push_first(&self.tokenizer, *id, offset);
        }
        for token in prompt.iter().chain(tokens) {
            offset = lists.push_token(&self.tokenizer, token, offset);
        }
        (lists.into_json(), offset)
    }
}

fn whole(head: &Head, prompts: &Prompts, answers: Vec<Whole>) -> Value {
    let mut tally = Tally::default();
    answers.iter().enumerate().for_each(|(number, answer)| tally.add(number, &answer.summary));
    let choices = answers.into_iter().enumerate().map(|(index, answer)| {
        let mut choice = json!({
            "index": index,
            "text": prompts.echo(index) + &answer.text,
            "logprobs": prompts.logprobs(index, &answer.prompt, &answer.tokens, None).0,
        });
        finish(&mut choice, Some(&answer.summary.ended));
        choice
    });
    let mut reply = head.reply("text_completion", choices.collect());
    reply.insert("usage".into(), tally.into_json(prompts.choices));
    Value::Object(reply)
}

/// The chunks of a stream.
struct Chunks {
    head: Head,
    prompts: Prompts,
    /// Where the log-probabilities of each answer go on.
    offsets: Vec<Option<usize>>,
    has_usage: bool,
    tally: Tally,
}

impl Chunks {
    fn chunk(&self, index: usize, text: &str, logprobs: &Value, ended: Option<&Ended>) -> String {
        let mut choice = json!({ "index": index, "text": text, "logprobs": logprobs });
        finish(&mut choice, ended);
        let mut chunk = self.head.reply("text_completion", json!([choice]));
        if self.has_usage {
            chunk.insert("usage".into(), Value::Null);
        }
        wire::event(None, &Value::Object(chunk))
    }

    fn scored(&mut self, number: usize, prompt: &[Token], tokens: &[Token]) -> Value {
        let (logprobs, offset) = self.prompts.logprobs(number, prompt, tokens, self.offsets[number]);
        self.offsets[number] = Some(offset);
        logprobs
    }
}

impl Wire for Chunks {
    fn open(&mut self) -> String {
        if !self.prompts.echo {
            return String::new();
        }
        // With log-probabilities, prompts of more than one token are told when these are there.
        let is_told = |index: &usize| {
            !self.prompts.has_logprobs || self.prompts.ids[index / self.prompts.choices].len() == 1
        };
        let told: Vec<usize> = (0..self.offsets.len()).filter(is_told).collect();
        let mut out = String::new();
        for index in told {
            let logprobs = self.scored(index, &[], &[]);
            out += &self.chunk(index, &self.prompts.echo(index), &logprobs, None);
        }
        out
    }

    fn piece(&mut self, number: usize, piece: Piece) -> String {
        match piece {
            Piece::Prompt(tokens) => {
                let logprobs = self.scored(number, &tokens, &[]);
                self.chunk(number, &self.prompts.echo(number), &logprobs, None)
            }
            Piece::Chunk(chunk) => {
                let logprobs = self.scored(number, &[], &chunk.tokens);
                self.chunk(number, &chunk.text, &logprobs, None)
            }
            Piece::Done(summary) => {
                self.tally.add(number, &summary);
                self.chunk(number, "", &Value::Null, Some(&summary.ended))
            }
            Piece::Vector(_) | Piece::Call(..) | Piece::Failed(_) => String::new(),
        }
    }

    fn close(&mut self) -> String {
        let mut out = String::new();
        if self.has_usage {
            let mut chunk = self.head.reply("text_completion", json!([]));
            let choices = self.prompts.choices;
            chunk.insert("usage".into(), std::mem::take(&mut self.tally).into_json(choices));
            out = wire::event(None, &Value::Object(chunk));
        }
        out + "data: [DONE]\n\n"
    }

    fn fault(&mut self, fault: &Fault) -> String {
        wire::event(None, &Dialect::OpenAi.error(fault))
    }
}
