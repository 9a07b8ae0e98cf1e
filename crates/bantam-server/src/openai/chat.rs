//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::response::Response;
use bantam_text::Tokenizer;
use serde_json::{Map, Value, json};

use super::{Head, Tally, finish, settings};
use crate::answer::{Answers, CallPiece, Called, Chunk, Ended, Piece, Whole};
use crate::ask::{Ask, Chat, Prompt};
use crate::dialect::{Dialect, json_reply};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::TOP_LOGPROBS_MAX;
use crate::logprobs;
use crate::messages;
use crate::served::Served;
use crate::state::App;
use crate::thinking;
use crate::tools;
use crate::wire::{self, Frames, Wire};

/// There is no agreed name: these are llama.cpp's and DeepSeek's, and vLLM's and OpenRouter's.
const THINKING: [&str; 2] = ["reasoning_content", "reasoning"];

/// Answers a conversation.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn chat(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = app.models.open(&fields).await?;
    let ask = read(&fields, &model.served)?;
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let (choices, has_logprobs) = (ask.choices, ask.top_logprobs.is_some());
    let tokenizer = has_logprobs.then(|| model.served.tokenizer.clone());
    let head = Head::new("chatcmpl-", &model.name);
    let has_usage = match fields.object("stream_options")? {
        Some(options) => options.flag("include_usage")?.unwrap_or(false),
        None => false,
    };
    let answers = Answers::begin(Arc::clone(&model), ask).await?;
    if wants_stream {
        let wire = Chunks { head, tokenizer, has_usage, count: choices, tally: Tally::default() };
        return Ok(wire::stream(answers, wire, Frames::Events { ping: ": ping\n\n" }));
    }
    Ok(json_reply(&whole(&head, &answers.collect().await?, tokenizer.as_ref())))
}

/// What a request asks for.
pub(super) fn read(fields: &Fields<'_>, served: &Served) -> Result<Ask, Fault> {
    refuse_unsupported(fields)?;
    let chat = Chat {
        messages: messages::read(messages_of(fields)?)?,
        tools: tools::read(fields)?,
        thinking: thinking::read(fields)?,
        telling: tools::telling(fields)?,
    };
    let mut ask = Ask::new(Prompt::Chat(chat), served);
    settings::read(fields, &mut ask)?;
    ask.max_tokens = match fields.count("max_completion_tokens")? {
        Some(most) => Some(most),
        None => most_tokens(fields)?,
    };
    if ask.max_tokens == Some(0) {
        return Err(fields.wrong("max_tokens", "at least 1"));
    }
    if fields.flag("logprobs")?.unwrap_or(false) {
        let top = fields.count("top_logprobs")?.unwrap_or(0);
        if top > TOP_LOGPROBS_MAX {
            return Err(fields.wrong("top_logprobs", &format!("at most {TOP_LOGPROBS_MAX}")));
        }
        ask.top_logprobs = Some(top);
    }
    Ok(ask)
}

/// Below zero is as many as the context holds, as local servers have it.
fn most_tokens(fields: &Fields<'_>) -> Result<Option<usize>, Fault> {
    Ok(fields.integer("max_tokens")?.and_then(|most| usize::try_from(most).ok()))
}

fn messages_of<'a>(fields: &Fields<'a>) -> Result<&'a [Value], Fault> {
    let list = fields.needed_list("messages")?;
    if list.is_empty() { Err(fields.wrong("messages", "at least one message")) } else { Ok(list) }
}

/// What would change the answer and is not there is refused: an answer that ignored it would be wrong.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    if fields.list("functions")?.is_some_and(|functions| !functions.is_empty()) {
        return Err(Fault::unsupported("functions", ": `tools` took its place"));
    }
    // An answer that goes on with the last message has no beginning of its own.
    let [goes_on, begins] = ["continue_final_message", "add_generation_prompt"].map(|name| fields.flag(name));
    if goes_on?.unwrap_or(false) && begins?.unwrap_or(false) {
        let message =
            "`continue_final_message` and `add_generation_prompt` exclude each other: leave one out";
        return Err(Fault::field("continue_final_message", message));
    }
    for name in ["audio", "web_search_options"] {
        if fields.value(name).is_some() {
            return Err(Fault::unsupported(name, ""));
        }
    }
    Ok(())
}

fn whole(head: &Head, answers: &[Whole], tokenizer: Option<&Tokenizer>) -> Value {
    let mut tally = Tally::default();
    answers.iter().enumerate().for_each(|(number, answer)| tally.add(number, &answer.summary));
    let choices = answers.iter().enumerate().map(|(index, answer)| {
        let mut message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
        if !answer.calls.is_empty() {
            message["tool_calls"] = answer.calls.iter().map(called).collect();
            if answer.text.is_empty() {
                message["content"] = Value::Null;
            }
        }
        if !answer.thinking.is_empty() {
            for name in THINKING {
                message[name] = json!(answer.thinking);
            }
        }
        let logprobs = content_logprobs(tokenizer, answer.tokens.as_slice());
        let mut choice = json!({ "index": index, "message": message, "logprobs": logprobs });
        finish(&mut choice, Some(&answer.summary.ended));
        choice
    });
    let mut reply = head.reply("chat.completion", choices.collect());
    reply.insert("usage".into(), tally.into_json(answers.len()));
    Value::Object(reply)
}

fn called(call: &Called) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": { "name": call.name, "arguments": call.arguments },
    })
}

/// Some more of a call: its id and name once, its number always.
fn call_delta(index: usize, piece: CallPiece) -> Option<Value> {
    let call = match piece {
        CallPiece::Begin { id, name } => json!({
            "index": index,
            "id": id,
            "type": "function",
            "function": { "name": name, "arguments": "" },
        }),
        CallPiece::Arguments(more) => json!({ "index": index, "function": { "arguments": more } }),
        CallPiece::End => return None,
    };
    Some(json!({ "tool_calls": [call] }))
}

fn content_logprobs(tokenizer: Option<&Tokenizer>, tokens: &[crate::answer::Token]) -> Value {
    match tokenizer {
        Some(tokenizer) => json!({ "content": logprobs::of_chat(tokenizer, tokens), "refusal": null }),
        None => Value::Null,
    }
}

/// The chunks of a stream: the role of each answer, its text, its end; usage where it is wanted; `[DONE]`.
struct Chunks {
    head: Head,
    tokenizer: Option<Tokenizer>,
    has_usage: bool,
    count: usize,
    tally: Tally,
}

impl Chunks {
    fn chunk(&self, index: usize, delta: &Value, logprobs: &Value, ended: Option<&Ended>) -> String {
        let mut choice = json!({ "index": index, "delta": delta, "logprobs": logprobs });
        finish(&mut choice, ended);
        let mut chunk = self.head.reply("chat.completion.chunk", json!([choice]));
        if self.has_usage {
            chunk.insert("usage".into(), Value::Null);
        }
        wire::event(None, &Value::Object(chunk))
    }

    /// Thinking and text go separately, since clients look at one field of a delta.
    fn text(&self, index: usize, chunk: Chunk) -> String {
        let mut out = String::new();
        if !chunk.thinking.is_empty() {
            let delta: Map<String, Value> =
                THINKING.map(|name| (name.to_owned(), json!(chunk.thinking))).into_iter().collect();
            out += &self.chunk(index, &Value::Object(delta), &Value::Null, None);
        }
        if !chunk.text.is_empty() || !chunk.tokens.is_empty() {
            let logprobs = content_logprobs(self.tokenizer.as_ref(), &chunk.tokens);
            out += &self.chunk(index, &json!({ "content": chunk.text }), &logprobs, None);
        }
        out
    }
}

impl Wire for Chunks {
    fn open(&mut self) -> String {
        let delta = json!({ "role": "assistant", "content": "" });
        (0..self.count).map(|index| self.chunk(index, &delta, &Value::Null, None)).collect()
    }

    fn piece(&mut self, number: usize, piece: Piece) -> String {
        match piece {
            Piece::Chunk(chunk) => self.text(number, chunk),
            Piece::Call(index, piece) => match call_delta(index, piece) {
                Some(delta) => self.chunk(number, &delta, &Value::Null, None),
                None => String::new(),
            },
            Piece::Done(summary) => {
                self.tally.add(number, &summary);
                self.chunk(number, &json!({}), &Value::Null, Some(&summary.ended))
            }
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Failed(_) => String::new(),
        }
    }

    fn close(&mut self) -> String {
        let mut out = String::new();
        if self.has_usage {
            let mut chunk = self.head.reply("chat.completion.chunk", json!([]));
            chunk.insert("usage".into(), std::mem::take(&mut self.tally).into_json(self.count));
            out = wire::event(None, &Value::Object(chunk));
        }
        out + "data: [DONE]\n\n"
    }

    fn fault(&mut self, fault: &Fault) -> String {
        wire::event(None, &Dialect::OpenAi.error(fault))
    }
}
