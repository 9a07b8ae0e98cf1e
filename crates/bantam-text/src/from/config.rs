//! `tokenizer_config.json`: which tokens have a role, and whether BOS and EOS go around a text.

use serde_json::Value;

use super::gguf::GgufVocab;
use super::stops;
use crate::added::{Added, AddedTokens};
use crate::error::Error;
use crate::tokenizer::{Parts, Roles};
use crate::vocab::Vocab;

/// What is read of the file; all of it may be missing.
pub(super) struct Config<'v>(Option<&'v Value>);

impl<'v> Config<'v> {
    pub(super) fn read(config: Option<&'v Value>) -> Self {
        Self(config)
    }

    fn key(&self, key: &str) -> Option<&'v Value> {
        self.0?.get(key).filter(|value| !value.is_null())
    }

    /// The text of a token: a string, or an object with `content`.
    fn token(&self, key: &str) -> Option<&'v str> {
        let token = self.key(key)?;
        token.as_str().or_else(|| token.get("content")?.as_str())
    }

    fn id(&self, key: &str, vocab: &Vocab, added: &[Added]) -> Option<u32> {
        let text = self.token(key)?;
        let token = added.iter().find(|t| t.text == text).map(|t| t.id);
        token.or_else(|| vocab.find_any(text.as_bytes()))
    }

    /// The roles the file gives, else those that `before` has.
    pub(super) fn roles(&self, before: Roles, vocab: &Vocab, added: &[Added]) -> Roles {
        let id = |key, before: Option<u32>| self.id(key, vocab, added).or(before);
        Roles {
            bos: id("bos_token", before.bos),
            eos: id("eos_token", before.eos),
            unknown: id("unk_token", before.unknown),
            separator: id("sep_token", before.separator),
            padding: id("pad_token", before.padding),
            mask: id("mask_token", before.mask),
        }
    }

    /// Sets what a SentencePiece file leaves to the configuration.
    pub(super) fn apply_to_file(&self, file: &mut GgufVocab<'_>) {
        let flag = |key| self.key(key).and_then(Value::as_bool);
        file.add_space_prefix = flag("add_prefix_space").or(file.add_space_prefix);
    }

    /// Sets roles, stops, and what goes around a text.
    pub(super) fn apply(&self, parts: &mut Parts) -> Result<(), Error> {
        let mut added: Vec<Added> = parts.added.iter().cloned().collect();
        let count = added.len();
        self.more_tokens(&parts.vocab, &mut added);
        parts.roles = self.roles(parts.roles, &parts.vocab, &added);
        parts.stops = stops(&parts.roles, &[], &added);
        if added.len() > count {
            parts.added = AddedTokens::new(added)?;
        }
        let flag = |key| self.key(key).and_then(Value::as_bool);
        if let (Some(adds), Some(bos)) = (flag("add_bos_token"), parts.roles.bos) {
            set_edge(&mut parts.prefix, bos, adds);
        }
        if let (Some(adds), Some(eos)) = (flag("add_eos_token"), parts.roles.eos) {
            set_edge(&mut parts.suffix, eos, adds);
        }
        Ok(())
    }

    /// Tokens of `added_tokens_decoder` that the vocabulary holds and that are not cut out of the text yet.
    fn more_tokens(&self, vocab: &Vocab, added: &mut Vec<Added>) {
        let Some(Value::Object(tokens)) = self.key("added_tokens_decoder") else { return };
        for (id, token) in tokens {
            let text = token.get("content").and_then(Value::as_str);
            let (Ok(id), Some(text)) = (id.parse::<u32>(), text) else { continue };
            if vocab.piece(id) != text.as_bytes() || added.iter().any(|t| t.id == id) {
                continue;
            }
            if let Some(kind) = vocab.kind(id) {
                added.push(Added::plain(id, text.to_owned(), kind));
            }
        }
    }
}

/// Makes `id` the one token at this edge, or takes it away; another token there stays.
fn set_edge(edge: &mut Vec<u32>, id: u32, adds: bool) {
    if adds && edge.is_empty() {
        edge.push(id);
    } else if !adds {
        edge.retain(|&token| token != id);
    }
}
