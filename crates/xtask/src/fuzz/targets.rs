//! The readers of foreign bytes.
//!
//! A new reader is one line of [`TARGETS`], a function that runs it, and one in `seeds.rs` that makes valid inputs.

use bantam_tensor::format::{gguf, safetensors};
use bantam_tensor::{Bytes, Tensor};
use bantam_text::{ChatTemplate, Conversation, GgufVocab, Shown, Special, Tokenizer};
use serde_json::json;

use super::seeds;

/// A reader under test.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Small valid inputs.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Reads, and uses what was read; whether it could be read.
    pub(crate) run: fn(&[u8]) -> bool,
}

pub(crate) const TARGETS: [Target; 6] = [
    Target { name: "gguf", seeds: seeds::gguf, run: read_gguf },
    Target { name: "safetensors", seeds: seeds::safetensors, run: read_safetensors },
    Target { name: "tokenizer_json", seeds: seeds::tokenizer_json, run: read_tokenizer_json },
    Target { name: "tokenizer_model", seeds: seeds::tokenizer_model, run: read_tokenizer_model },
    Target { name: "tokenizer_gguf", seeds: seeds::tokenizer_gguf, run: read_tokenizer_gguf },
    Target { name: "template", seeds: seeds::template, run: read_template },
];

/// Text that every tokeniser is tried on: scripts, marks, an emoji of several code points, blanks, a special token.
const TEXT: &str = "Größe 你好 👩‍👩‍👧 naïve—\u{301}\t\n  def f(x): 1234567 <s> \u{0} don't ÅßＡﬁ";

/// What parts the fields of a `tokenizer_gguf` input, and the entries of a field.
pub(super) const FIELD: char = '\u{1d}';
pub(super) const ENTRY: char = '\u{1e}';

fn read_gguf(input: &[u8]) -> bool {
    gguf::File::parse(&Bytes::from(input.to_vec())).is_ok_and(|file| widen(file.tensors()))
}

fn read_safetensors(input: &[u8]) -> bool {
    safetensors::File::parse(&Bytes::from(input.to_vec())).is_ok_and(|file| widen(file.tensors()))
}

fn widen<'a>(mut tensors: impl Iterator<Item = &'a Tensor>) -> bool {
    tensors.all(|tensor| tensor.to_f32().len() == tensor.elements())
}

fn read_tokenizer_json(input: &[u8]) -> bool {
    Tokenizer::from_tokenizer_json(input, None).is_ok_and(|tokenizer| spell(&tokenizer))
}

fn read_tokenizer_model(input: &[u8]) -> bool {
    Tokenizer::from_sentencepiece(input, None).is_ok_and(|tokenizer| spell(&tokenizer))
}

/// The fields of an input are model, pre, tokens, types, scores and merges.
fn read_tokenizer_gguf(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let mut fields = text.split(FIELD);
    let mut field = || fields.next().unwrap_or_default();
    let vocab = GgufVocab {
        model: field(),
        pre: Some(field()).filter(|pre| !pre.is_empty()),
        tokens: entries(field()).map(str::as_bytes).collect(),
        token_types: entries(field()).filter_map(|entry| entry.parse().ok()).collect(),
        scores: entries(field()).filter_map(|entry| entry.parse().ok()).collect(),
        merges: entries(field()).map(str::as_bytes).collect(),
        bos: Some(0),
        add_bos: Some(true),
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(&vocab).is_ok_and(|tokenizer| spell(&tokenizer))
}

fn entries(field: &str) -> impl Iterator<Item = &str> {
    field.split(ENTRY).filter(|entry| !entry.is_empty())
}

fn spell(tokenizer: &Tokenizer) -> bool {
    let ways = [Special::Parse, Special::AsText].map(|special| tokenizer.to_ids(TEXT, special));
    ways.into_iter().all(|ids| ids.is_ok_and(|ids| !tokenizer.to_text(&ids, Shown::All).is_empty()))
}

fn read_template(input: &[u8]) -> bool {
    let source = String::from_utf8_lossy(input);
    let messages =
        [json!({"role": "user", "content": "Hi"}), json!({"role": "assistant", "content": "Hello!"})];
    let conversation =
        Conversation { messages: &messages, add_generation_prompt: true, ..Conversation::default() };
    ChatTemplate::compile(&source, "<s>", "</s>").is_ok_and(|template| template.render(&conversation).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of what was never valid would stop at the first byte.
    #[test]
    fn seeds_are_valid() {
        for target in &TARGETS {
            for (at, seed) in (target.seeds)().iter().enumerate() {
                assert!((target.run)(seed), "{} {at}", target.name);
            }
        }
    }
}
