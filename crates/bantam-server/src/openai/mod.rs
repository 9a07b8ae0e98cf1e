//! OpenAI's protocol: models, chat completions, completions, embeddings, responses, conversations.

mod chat;
mod completions;
pub(crate) mod conversations;
mod embeddings;
mod items;
mod listing;
mod metadata;
mod models;
pub(crate) mod prompts;
pub(crate) mod responses;
pub(crate) mod settings;

pub(crate) use chat::chat;
pub(crate) use completions::completions;
pub(crate) use embeddings::embeddings;
pub(crate) use models::{model, models};

use bantam_engine::Usage;
use serde_json::{Map, Value, json};

use crate::answer::{Ended, Summary};
use crate::clock;

/// What all replies to one request begin with.
#[derive(Clone, Debug)]
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn new(prefix: &str, model: &str) -> Self {
        Head { id: clock::id(prefix), created: clock::unix_s(), model: model.to_owned() }
    }

    fn reply(&self, object: &str, choices: Value) -> Map<String, Value> {
        let mut reply = Map::new();
        reply.insert("id".into(), json!(self.id));
        reply.insert("object".into(), json!(object));
        reply.insert("created".into(), json!(self.created));
        reply.insert("model".into(), json!(self.model));
        reply.insert("system_fingerprint".into(), json!(FINGERPRINT));
        reply.insert("choices".into(), choices);
        reply
    }
}

const FINGERPRINT: &str = concat!("bantam-", env!("CARGO_PKG_VERSION"));

fn finish_reason(ended: &Ended) -> &'static str {
    match ended {
        Ended::Stop | Ended::StopString(_) => "stop",
        Ended::Length | Ended::Expired => "length",
        Ended::Calls => "tool_calls",
    }
}

/// Tells in a choice why it ended, and whether that was for its time.
fn finish(choice: &mut Value, ended: Option<&Ended>) {
    choice["finish_reason"] = json!(ended.map(finish_reason));
    if ended == Some(&Ended::Expired) {
        choice["expired"] = json!(true);
    }
}

fn usage(usage: Usage, thinking_tokens: usize) -> Value {
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.reused_tokens },
        "completion_tokens_details": { "reasoning_tokens": thinking_tokens },
    })
}

/// Usage of all answers to a request, as they end.
#[derive(Debug, Default)]
struct Tally {
    summaries: Vec<(usize, Usage)>,
    thinking_tokens: usize,
}

impl Tally {
    fn add(&mut self, number: usize, summary: &Summary) {
        self.summaries.push((number, summary.usage));
        self.thinking_tokens += summary.thinking_tokens;
    }

    fn into_json(mut self, choices: usize) -> Value {
        self.summaries.sort_by_key(|(number, _)| *number);
        let usages = self.summaries.into_iter().map(|(_, usage)| usage);
        usage(crate::answer::total(usages, choices), self.thinking_tokens)
    }
}
