//! Tokens and their log-probabilities as JSON.

use bantam_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::answer::Token;

/// The token of a chat: `{token, logprob, bytes, top_logprobs}`.
pub(crate) fn of_chat(tokenizer: &Tokenizer, tokens: &[Token]) -> Vec<Value> {
    let entry = |token: &Token| {
        let mut entry = told(tokenizer, token.id, token.logprob);
        let top = token.top.iter().map(|(id, logprob)| Value::Object(told(tokenizer, *id, *logprob)));
        entry.insert("top_logprobs".into(), top.collect());
        Value::Object(entry)
    };
    tokens.iter().map(entry).collect()
}

/// The same with ids, as llama.cpp's server has them.
pub(crate) fn with_ids(tokenizer: &Tokenizer, tokens: &[Token]) -> Vec<Value> {
    let with_id = |id: u32, logprob: f32| {
        let mut entry = told(tokenizer, id, logprob);
        entry.insert("id".into(), json!(id));
        entry
    };
    let entry = |token: &Token| {
        let mut entry = with_id(token.id, token.logprob);
        let top = token.top.iter().map(|(id, logprob)| Value::Object(with_id(*id, *logprob)));
        entry.insert("top_logprobs".into(), top.collect());
        Value::Object(entry)
    };
    tokens.iter().map(entry).collect()
}

fn told(tokenizer: &Tokenizer, id: u32, logprob: f32) -> Map<String, Value> {
    let bytes = tokenizer.piece(id).map(|piece| piece.bytes).unwrap_or_default();
    let mut told = Map::new();
    told.insert("token".into(), json!(String::from_utf8_lossy(&bytes)));
    told.insert("logprob".into(), finite(logprob));
    told.insert("bytes".into(), json!(bytes));
    told
}

/// The lists of a completion: `{tokens, token_logprobs, top_logprobs, text_offset}`, in the order of the text.
///
/// A token's own log-probability is the same number among the likeliest as beside it, and it is always among them, so
/// that a client can see by comparing whether it was the likeliest.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    tokens: Vec<Value>,
    logprobs: Vec<Value>,
    top: Vec<Value>,
    offsets: Vec<Value>,
}

impl Lists {
    /// A token that nothing comes before, at an offset in characters; the offset behind it.
    pub(crate) fn push_first(&mut self, tokenizer: &Tokenizer, id: u32, offset: usize) -> usize {
        self.push(spelled(tokenizer, id), Value::Null, Value::Null, offset)
    }

    /// A token at an offset in characters; the offset behind it.
    pub(crate) fn push_token(&mut self, tokenizer: &Tokenizer, token: &Token, offset: usize) -> usize {
        let text = spelled(tokenizer, token.id);
        let mut top = Map::new();
        for (id, logprob) in &token.top {
            // Of two tokens that read alike the likelier stays.
            top.entry(spelled(tokenizer, *id)).or_insert_with(|| finite(*logprob));
        }
        top.insert(text.clone(), finite(token.logprob));
        self.push(text, finite(token.logprob), Value::Object(top), offset)
    }

    fn push(&mut self, text: String, logprob: Value, top: Value, offset: usize) -> usize {
        let behind = offset + text.chars().count();
        self.tokens.push(Value::String(text));
        self.logprobs.push(logprob);
        self.top.push(top);
        self.offsets.push(json!(offset));
        behind
    }

    pub(crate) fn into_json(self) -> Value {
        json!({
            "tokens": self.tokens,
            "token_logprobs": self.logprobs,
            "top_logprobs": self.top,
            "text_offset": self.offsets,
        })
    }
}

/// A token's text, or its bytes if they are no whole characters, so that different tokens read differently.
fn spelled(tokenizer: &Tokenizer, id: u32) -> String {
    let bytes = tokenizer.piece(id).map(|piece| piece.bytes).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let bytes = error.into_bytes();
        let hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("bytes:{hex}")
    })
}

/// JSON has no infinity; this is what stands for it in the protocol.
fn finite(logprob: f32) -> Value {
    json!(if logprob.is_finite() { logprob } else { -9999.0 })
}
