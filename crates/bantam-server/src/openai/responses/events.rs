//! A response in the making, and the events that tell of it in their order.

use bantam_text::Tokenizer;
use serde_json::{Map, Value, json};

use super::call::OpenCall;
use super::keep::Keep;
use crate::answer::{Chunk, Ended, Piece, Summary, Token};
use crate::clock;
use crate::fault::Fault;
use crate::logprobs;
use crate::wire::{self, Wire};

/// A response in the making.
pub(super) struct Draft {
    /// All but status, output and usage.
    head: Map<String, Value>,
    tokenizer: Option<Tokenizer>,
    status: &'static str,
    usage: Value,
    /// Items that are finished.
    pub(super) output: Vec<Value>,
    open: Option<Open>,
    /// No text is open beside it.
    pub(super) call: Option<OpenCall>,
    /// The number of the next event.
    sequence: u64,
}

/// The item that is open.
struct Open {
    kind: Item,
    id: String,
    text: String,
    logprobs: Vec<Value>,
}

/// What items there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Thinking,
    Message,
}

impl Open {
    fn part(&self) -> Value {
        match self.kind {
            Item::Thinking => json!({ "type": "reasoning_text", "text": self.text }),
            Item::Message => json!({
                "type": "output_text", "text": self.text, "annotations": [], "logprobs": self.logprobs,
            }),
        }
    }

    fn item(&self, status: &str, content: Value) -> Value {
        match self.kind {
            Item::Thinking => json!({
                "type": "reasoning", "id": self.id, "status": status, "summary": [], "content": content,
            }),
            Item::Message => json!({
                "type": "message", "id": self.id, "status": status, "role": "assistant", "content": content,
            }),
        }
    }

    fn event(&self, end: &str) -> String {
        match self.kind {
            Item::Thinking => format!("response.reasoning_text.{end}"),
            Item::Message => format!("response.output_text.{end}"),
        }
    }
}

impl Draft {
    pub(super) fn new(head: Map<String, Value>, tokenizer: Option<Tokenizer>) -> Self {
        let (status, usage) = ("in_progress", Value::Null);
        Draft { head, tokenizer, status, usage, output: Vec::new(), open: None, call: None, sequence: 0 }
    }

    /// The response as it is now.
    pub(super) fn response(&self) -> Value {
        let mut response = self.head.clone();
        response.insert("status".into(), json!(self.status));
        response.insert("output".into(), json!(self.output));
        response.insert("usage".into(), self.usage.clone());
        Value::Object(response)
    }

    /// An event with its number.
    pub(super) fn event(&mut self, name: &str, fields: Value) -> String {
        let mut data = Map::new();
        data.insert("type".into(), json!(name));
        data.insert("sequence_number".into(), json!(self.sequence));
        if let Value::Object(fields) = fields {
            data.extend(fields);
        }
        self.sequence += 1;
        wire::event(Some(name), &Value::Object(data))
    }

    /// An event that has the whole response.
    fn told(&mut self, name: &str) -> String {
        let response = self.response();
        self.event(name, json!({ "response": response }))
    }

    /// Some more, and the events that tell of it.
    pub(super) fn chunk(&mut self, chunk: Chunk) -> String {
        self.more(Item::Thinking, &chunk.thinking, &[])
            + &self.more(Item::Message, &chunk.text, &chunk.tokens)
    }

    fn more(&mut self, kind: Item, text: &str, tokens: &[Token]) -> String {
        if text.is_empty() && tokens.is_empty() {
            return String::new();
        }
        let mut out = self.begin(kind);
        let logprobs = self.tokenizer.as_ref().map(|tokenizer| logprobs::of_chat(tokenizer, tokens));
        let logprobs = logprobs.unwrap_or_default();
        let (output_index, Some(open)) = (self.output.len(), &mut self.open) else { return out };
        open.text += text;
        open.logprobs.extend(logprobs.iter().cloned());
        let (name, mut data) = (open.event("delta"), place(open, output_index));
        data["delta"] = json!(text);
        if kind == Item::Message {
            data["logprobs"] = json!(logprobs);
        }
        out += &self.event(&name, data);
        out
    }

    /// Opens an item of a kind, unless the one that is open is.
    fn begin(&mut self, kind: Item) -> String {
        if self.open.as_ref().is_some_and(|open| open.kind == kind) {
            return String::new();
        }
        let mut out = self.close("completed");
        let id = clock::id(if kind == Item::Message { "msg_" } else { "rs_" });
        let open = Open { kind, id, text: String::new(), logprobs: Vec::new() };
        let (output_index, item) = (self.output.len(), open.item("in_progress", json!([])));
        let mut data = place(&open, output_index);
        data["part"] = open.part();
        self.open = Some(open);
        out +=
            &self.event("response.output_item.added", json!({ "output_index": output_index, "item": item }));
        out += &self.event("response.content_part.added", data);
        out
    }

    /// Closes the open item.
    pub(super) fn close(&mut self, status: &str) -> String {
        let Some(open) = self.open.take() else { return String::new() };
        let output_index = self.output.len();
        let item = open.item(status, json!([open.part()]));
        let (mut done, mut part) = (place(&open, output_index), place(&open, output_index));
        done["text"] = json!(open.text);
        if open.kind == Item::Message {
            done["logprobs"] = json!(open.logprobs);
        }
        part["part"] = open.part();
        self.output.push(item.clone());
        self.event(&open.event("done"), done)
            + &self.event("response.content_part.done", part)
            + &self.event("response.output_item.done", json!({ "output_index": output_index, "item": item }))
    }

    /// The end; an answer without a word is an empty message.
    pub(super) fn end(&mut self, summary: &Summary) -> String {
        let is_cut = matches!(summary.ended, Ended::Length | Ended::Expired);
        let status = if is_cut { "incomplete" } else { "completed" };
        let mut out = self.close_call(status);
        if self.open.is_none() && self.output.is_empty() {
            out += &self.begin(Item::Message);
        }
        out += &self.close(status);
        self.status = status;
        self.usage = usage(summary);
        if is_cut {
            let is_expired = summary.ended == Ended::Expired;
            let details = json!({ "reason": "max_output_tokens", "expired": is_expired });
            self.head.insert("incomplete_details".into(), details);
        } else {
            self.head.insert("completed_at".into(), json!(clock::unix_s()));
        }
        out + &self.told(if is_cut { "response.incomplete" } else { "response.completed" })
    }
}

/// Where a part of an item lies: each has one.
fn place(open: &Open, output_index: usize) -> Value {
    json!({ "item_id": open.id, "output_index": output_index, "content_index": 0 })
}

fn usage(summary: &Summary) -> Value {
    let usage = &summary.usage;
    json!({
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": { "cached_tokens": usage.reused_tokens },
        "output_tokens": usage.generated_tokens,
        "output_tokens_details": { "reasoning_tokens": summary.thinking_tokens },
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
    })
}

/// The events of a stream.
pub(super) struct Events {
    draft: Draft,
    keep: Option<Keep>,
}

impl Events {
    pub(super) fn new(draft: Draft, keep: Keep) -> Self {
        Events { draft, keep: Some(keep) }
    }
}

impl Wire for Events {
    fn open(&mut self) -> String {
        self.draft.told("response.created") + &self.draft.told("response.in_progress")
    }

    fn piece(&mut self, _: usize, piece: Piece) -> String {
        match piece {
            Piece::Chunk(chunk) => self.draft.chunk(chunk),
            Piece::Call(_, piece) => self.draft.call(piece),
            Piece::Done(summary) => {
                let out = self.draft.end(&summary);
                self.keep.take().into_iter().for_each(|keep| keep.keep(self.draft.response()));
                out
            }
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Failed(_) => String::new(),
        }
    }

    fn fault(&mut self, fault: &Fault) -> String {
        // Whoever is told that it failed may try again at once.
        self.keep = None;
        self.draft.status = "failed";
        let code = fault.code.unwrap_or("server_error");
        self.draft.head.insert("error".into(), json!({ "code": code, "message": fault.message }));
        self.draft.told("response.failed")
    }
}
