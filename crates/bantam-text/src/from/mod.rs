//! Where vocabularies come from: each module reads one format and assembles the same parts.

pub(crate) mod components;
pub(crate) mod config;
pub(crate) mod gguf;
pub(crate) mod json;
pub(crate) mod kinds;
pub(crate) mod sentencepiece;
pub(crate) mod texts;
pub(crate) mod tiktoken;

use crate::added::Added;
use crate::tokenizer::Roles;

/// Texts of tokens that end a turn or a document, in the vocabularies of the families in use.
const STOPS: [&str; 20] = [
    "</s>",
    "<eos>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<turn|>",
    "<|tool_response>",
    "<end_of_utterance>",
    "<|END_OF_TURN_TOKEN|>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
];

/// The ids that end a turn: those with a role, and those known by their text. Sorted.
pub(crate) fn stops(roles: &Roles, more: &[Option<u32>], added: &[Added]) -> Vec<u32> {
    let named = added.iter().filter(|t| STOPS.contains(&t.text.as_str())).map(|t| t.id);
    let mut stops: Vec<u32> = named.chain(roles.eos).chain(more.iter().copied().flatten()).collect();
    stops.sort_unstable();
    stops.dedup();
    stops
}
