//! Ollama's protocol: lines of JSON, streamed unless the client says otherwise.

mod chat;
mod embed;
mod generate;
mod modelfile;
mod models;
mod options;
mod store;

pub(crate) use chat::chat;
pub(crate) use embed::{embed, embeddings};
pub(crate) use generate::generate;
pub(crate) use models::{ps, show, tags, version};
pub(crate) use store::{copy, create, delete, has_blob, pull, put_blob};

use std::time::Duration;

use axum::response::Response;
use bantam_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::answer::{CallPiece, Called, Ended, Piece, Summary, Token, Whole};
use crate::clock;
use crate::dialect::{Dialect, json_reply};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::keep_alive::KeepAlive;
use crate::logprobs;
use crate::names::Wanted;
use crate::state::App;
use crate::wire::{self, Wire};

/// What a request without anything to answer is for: the model is loaded, or let go when nothing is to keep it.
async fn moved(app: &App, fields: &Fields<'_>, place: Place) -> Result<Response, Fault> {
    let wanted = Wanted::read(fields)?;
    let reason = if wanted.keep_alive == Some(KeepAlive::For(Duration::ZERO)) { "unload" } else { "load" };
    let model = match reason {
        "unload" => app.models.unload(wanted.name.as_deref()).await?,
        _ => app.models.open_wanted(&wanted).await?.name.clone(),
    };
    Ok(json_reply(&Lines { model, place, tokenizer: None, call: Called::default() }.moved(reason)))
}

/// Where the text of an answer lies in a line.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// `message.content` and `message.thinking`.
    Message,
    /// `response` and `thinking`.
    Response,
}

/// The lines of an answer.
struct Lines {
    model: String,
    place: Place,
    tokenizer: Option<Tokenizer>,
    /// The call that is coming.
    call: Called,
}

impl Lines {
    fn line(&self, text: &str, thinking: &str, tokens: &[Token]) -> Map<String, Value> {
        let mut line = Map::new();
        line.insert("model".into(), json!(self.model));
        line.insert("created_at".into(), json!(clock::rfc3339_now()));
        let mut said = Map::new();
        if matches!(self.place, Place::Message) {
            said.insert("role".into(), json!("assistant"));
        }
        let name = if matches!(self.place, Place::Message) { "content" } else { "response" };
        said.insert(name.into(), json!(text));
        if !thinking.is_empty() {
            said.insert("thinking".into(), json!(thinking));
        }
        match self.place {
            Place::Message => drop(line.insert("message".into(), Value::Object(said))),
            Place::Response => line.extend(said),
        }
        line.insert("done".into(), json!(false));
        if let Some(tokenizer) = self.tokenizer.as_ref().filter(|_| !tokens.is_empty()) {
            line.insert("logprobs".into(), logprobs::of_chat(tokenizer, tokens).into());
        }
        line
    }

    fn end(&self, mut line: Map<String, Value>, reason: &str) -> Map<String, Value> {
        line.insert("done".into(), json!(true));
        line.insert("done_reason".into(), json!(reason));
        line
    }

    /// All of an answer in one line.
    fn whole(&self, answer: &Whole) -> Value {
        let mut line = self.line(&answer.text, &answer.thinking, &answer.tokens);
        if !answer.calls.is_empty() {
            let calls = answer.calls.iter().enumerate().map(|(index, call)| called(index, call));
            add_calls(&mut line, calls.collect());
        }
        Value::Object(self.done(line, &answer.summary))
    }

    fn done(&self, line: Map<String, Value>, summary: &Summary) -> Map<String, Value> {
        let mut line = self.end(line, done_reason(&summary.ended));
        if summary.ended == Ended::Expired {
            line.insert("expired".into(), json!(true));
        }
        let (times, usage) = (&summary.timings, &summary.usage);
        let figures = [
            ("total_duration", nanos(times.queued + times.prefill + times.decode)),
            ("load_duration", nanos(times.queued)),
            ("prompt_eval_count", json!(usage.prompt_tokens)),
            ("prompt_eval_duration", nanos(times.prefill)),
            ("eval_count", json!(usage.generated_tokens)),
            ("eval_duration", nanos(times.decode)),
        ];
        line.extend(figures.map(|(name, figure)| (name.to_owned(), figure)));
        line
    }

    /// The answer to a request that only wants the model to be there, or to go.
    fn moved(&self, reason: &str) -> Value {
        Value::Object(self.end(self.line("", "", &[]), reason))
    }

    /// A line for each call that is complete.
    fn call(&mut self, index: usize, piece: CallPiece) -> Option<Map<String, Value>> {
        match piece {
            CallPiece::Begin { id, name } => {
                self.call = Called { id, name, arguments: String::new() };
                None
            }
            CallPiece::Arguments(more) => {
                self.call.arguments.push_str(&more);
                None
            }
            CallPiece::End => {
                let mut line = self.line("", "", &[]);
                add_calls(&mut line, json!([called(index, &self.call)]));
                Some(line)
            }
        }
    }
}

fn add_calls(line: &mut Map<String, Value>, calls: Value) {
    if let Some(message) = line.get_mut("message") {
        message["tool_calls"] = calls;
    }
}

/// A call with its arguments as an object, as these clients want them.
fn called(index: usize, call: &Called) -> Value {
    let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
    json!({ "id": call.id, "function": { "index": index, "name": call.name, "arguments": arguments } })
}

impl Wire for Lines {
    fn piece(&mut self, _: usize, piece: Piece) -> String {
        let line = match piece {
            Piece::Call(index, piece) => match self.call(index, piece) {
                Some(line) => line,
                None => return String::new(),
            },
            Piece::Chunk(chunk) => self.line(&chunk.text, &chunk.thinking, &chunk.tokens),
            Piece::Done(summary) => self.done(self.line("", "", &[]), &summary),
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Failed(_) => return String::new(),
        };
        wire::line(&Value::Object(line))
    }

    fn fault(&mut self, fault: &Fault) -> String {
        wire::line(&Dialect::Ollama.error(fault))
    }
}

fn done_reason(ended: &Ended) -> &'static str {
    match ended {
        Ended::Stop | Ended::StopString(_) | Ended::Calls => "stop",
        Ended::Length | Ended::Expired => "length",
    }
}

fn nanos(time: Duration) -> Value {
    json!(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}
