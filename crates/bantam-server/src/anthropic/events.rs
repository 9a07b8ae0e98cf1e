//! The events of a message: start, blocks with their parts, end. Each has its name twice, as clients want it.

use serde_json::{Value, json};

use super::{Head, stop_reason, stop_sequence, tool_use_id, usage};
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
            Block::Text | Block::Call(_) => {
                (json!({ "type": "text", "text": "" }), json!({ "type": "text_delta", "text": text }))
            }
        };
        let out = if self.open == Some(block) { String::new() } else { self.open_block(block, &content) };
        out + &self.delta(&delta)
    }

    fn call(&mut self, number: usize, piece: CallPiece) -> String {
        match piece {
            CallPiece::Begin { id, name } => {
                let content =
                    json!({ "type": "tool_use", "id": tool_use_id(&id), "name": name, "input": {} });
                self.open_block(Block::Call(number), &content)
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
        let mut delta = json!({ "stop_reason": stop_reason(ended), "stop_sequence": stop_sequence(ended) });
        if *ended == Ended::Expired {
            delta["expired"] = json!(true);
        }
        self.close_block()
            + &event("message_delta", json!({ "delta": delta, "usage": usage(summary.usage) }))
            + &event("message_stop", json!({}))
    }
}

impl Wire for Events {
    fn open(&mut self) -> String {
        let usage = json!({
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        });
        let message = self.head.message(&json!([]), None, &usage);
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
