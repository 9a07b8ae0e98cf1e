//! The events of a message: start, blocks with their parts, end. Each has its name twice, as clients want it.

use bantam_engine::Usage;
use serde_json::{Value, json};

use super::{Head, stop_reason, stop_sequence, text_block, tool_use_block, usage};
use crate::answer::{CallPiece, Ended, Piece, Summary};
use crate::dialect::Dialect;
use crate::fault::Fault;
use crate::wire::{self, Wire};

/// The blocks that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    /// The call with this number.
    Call(usize),
}

/// Writes one message.
pub(super) struct Events {
    head: Head,
    input_tokens: usize,
    /// The block that is open, and the number of the next one.
    open: Option<Block>,
    next: usize,
}

impl Events {
    pub(super) fn new(head: Head, input_tokens: usize) -> Self {
        Events { head, input_tokens, open: None, next: 0 }
    }

    fn part(&mut self, block: Block, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let (content, delta) = match block {
            Block::Thinking => (
                json!({ "type": "thinking", "thinking": "", "signature": "" }),
                json!({ "type": "thinking_delta", "thinking": text }),
            ),
            Block::Text | Block::Call(_) => (text_block(""), json!({ "type": "text_delta", "text": text })),
        };
        let out = if self.open == Some(block) { String::new() } else { self.open_block(block, &content) };
        out + &self.delta(&delta)
    }

    fn call(&mut self, number: usize, piece: CallPiece) -> String {
        match piece {
            CallPiece::Begin { id, name } => {
                self.open_block(Block::Call(number), &tool_use_block(&id, &name, &json!({})))
            }
            CallPiece::Arguments(more) => {
                self.delta(&json!({ "type": "input_json_delta", "partial_json": more }))
            }
            CallPiece::End => self.close_block(),
        }
    }

    fn delta(&self, delta: &Value) -> String {
        event("content_block_delta", json!({ "index": self.next.saturating_sub(1), "delta": delta }))
    }

    fn open_block(&mut self, block: Block, content: &Value) -> String {
        let close = self.close_block();
        self.open = Some(block);
        self.next += 1;
        close + &event("content_block_start", json!({ "index": self.next - 1, "content_block": content }))
    }

    fn close_block(&mut self) -> String {
        match self.open.take() {
            Some(_) => event("content_block_stop", json!({ "index": self.next - 1 })),
            None => String::new(),
        }
    }

    fn end(&mut self, summary: &Summary) -> String {
        let ended = &summary.ended;
        let mut delta = json!({
            "stop_reason": stop_reason(ended),
            "stop_sequence": stop_sequence(ended),
            "stop_details": null,
            "container": null,
        });
        if *ended == Ended::Expired {
            delta["expired"] = json!(true);
        }
        self.close_block()
            + &event("message_delta", json!({ "delta": delta, "usage": usage(summary) }))
            + &event("message_stop", json!({}))
    }
}

impl Wire for Events {
    fn open(&mut self) -> String {
        let usage_so_far = Usage { prompt_tokens: self.input_tokens, ..Usage::default() };
        let summary = Summary { usage: usage_so_far, ..Summary::default() };
        let message = self.head.message(&json!([]), None, &usage(&summary));
        event("message_start", json!({ "message": message })) + &event("ping", json!({}))
    }

    fn piece(&mut self, _: usize, piece: Piece) -> String {
        match piece {
            Piece::Chunk(chunk) => {
                self.part(Block::Thinking, &chunk.thinking) + &self.part(Block::Text, &chunk.text)
            }
            Piece::Call(number, piece) => self.call(number, piece),
            Piece::Done(summary) => self.end(&summary),
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Failed(_) => String::new(),
        }
    }

    fn fault(&mut self, fault: &Fault) -> String {
        wire::event(Some("error"), &Dialect::Anthropic.error(fault))
    }
}

/// An event with its name and the fields behind it.
fn event(name: &str, fields: Value) -> String {
    let mut data = serde_json::Map::from_iter([("type".to_owned(), json!(name))]);
    if let Value::Object(fields) = fields {
        data.extend(fields);
    }
    wire::event(Some(name), &Value::Object(data))
}
