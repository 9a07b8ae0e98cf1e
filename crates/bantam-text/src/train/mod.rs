//! A tokeniser learnt from text: byte-level BPE (Sennrich et al., 2016; bytes as in GPT-2).
//!
//! The same text and settings give the same vocabulary on every machine; ties go to the pair of lower ids, as in Hugging
//! Face's trainer, whose merges these are.

mod merges;

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::bytes::spelled;
use crate::error::Error;
use crate::from::components::PreTokenizers;
use crate::pretokenize::{PreTokenizer, words};
use merges::{Merge, Word, learn};

/// What a vocabulary is to be like.
#[derive(Clone, Debug)]
pub struct BpeSettings {
    /// Ids in all: the special tokens, 256 bytes, and merges.
    pub vocab_size: usize,
    /// Tokens that no text gives. They get the first ids, in this order.
    pub special_tokens: Vec<String>,
    /// The special token that begins a text, and the one that ends it.
    pub begins: Option<String>,
    /// Pairs that are there less often are not merged.
    pub count_min: u64,
}

/// Counts words, and makes a vocabulary of them.
#[derive(Debug)]
pub struct BpeTrainer {
    settings: BpeSettings,
    steps: Vec<PreTokenizer>,
    counts: HashMap<Box<str>, u64>,
}

/// Larger vocabularies are refused: none has as many.
const VOCAB_SIZE_MAX: usize = 1 << 22;

/// Text is cut into words so many bytes at a time, at the end of a line.
const PART_BYTES: usize = 1 << 20;

impl BpeTrainer {
    /// A trainer that has seen nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Wanted`] for a vocabulary without room for the bytes and the special tokens, or too large; special
    /// tokens that are empty or there twice, or do not hold the one that begins a text.
    pub fn new(settings: BpeSettings) -> Result<Self, Error> {
        let special = &settings.special_tokens;
        let least = 256 + special.len();
        if !(least..=VOCAB_SIZE_MAX).contains(&settings.vocab_size) {
            let wanted = format!("{least} (bytes and special tokens) to {VOCAB_SIZE_MAX}");
            return Err(Error::wanted("vocab_size", wanted, settings.vocab_size.to_string()));
        }
        let is_known = |token: &String| special.contains(token);
        if let Some(token) = settings.begins.as_ref().filter(|token| !is_known(token)) {
            return Err(Error::wanted("begins", "one of the special tokens", token.clone()));
        }
        for (place, token) in special.iter().enumerate() {
            if token.is_empty() || special[..place].contains(token) {
                let found = format!("`{token}` in place {place}");
                return Err(Error::wanted("special_tokens", "different tokens, none empty", found));
            }
        }
        let mut known = PreTokenizers::default();
        known.read(&pre_tokenizer())?;
        Ok(BpeTrainer { settings, steps: known.steps, counts: HashMap::new() })
    }

    /// Counts the words of a text.
    ///
    /// # Errors
    ///
    /// None that a text can cause.
    pub fn add(&mut self, text: &str) -> Result<(), Error> {
        let mut rest = text;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(part_end(rest));
            self.count(part)?;
            rest = behind;
        }
        Ok(())
    }

    fn count(&mut self, text: &str) -> Result<(), Error> {
        let words = words(&self.steps, Cow::Borrowed(text), true)?;
        for range in words.ranges {
            let word = &words.text[range];
            match self.counts.get_mut(word) {
                Some(count) => *count += 1,
                None => _ = self.counts.insert(word.into(), 1),
            }
        }
        Ok(())
    }

    /// The vocabulary as a `tokenizer.json`. It is smaller than asked for where the text has no more pairs.
    pub fn finish(self) -> Value {
        let BpeSettings { vocab_size, special_tokens, begins, count_min } = self.settings;
        let alphabet = alphabet();
        let first = special_tokens.len() as u32;
        let mut id_of = [0; 256];
        for (id, (byte, _)) in (first..).zip(&alphabet) {
            id_of[usize::from(*byte)] = id;
        }
        let mut counted: Vec<(Box<str>, u64)> = self.counts.into_iter().collect();
        // The order of a hash map is chance.
        counted.sort_unstable();
        let words = counted.into_iter().map(|(word, count)| Word {
            symbols: word.bytes().map(|byte| id_of[usize::from(byte)]).collect(),
            count,
        });
        let mut pieces = special_tokens.clone();
        pieces.extend(alphabet.iter().map(|(_, c)| c.to_string()));
        let merges = learn(words.collect(), &mut pieces, vocab_size, count_min);
        tokenizer_json(&special_tokens, begins.as_deref(), &pieces, &merges)
    }
}

/// Where a part of a text ends: behind a line, if there is one.
fn part_end(text: &str) -> usize {
    if text.len() <= PART_BYTES {
        return text.len();
    }
    let most = (0..=PART_BYTES).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(text.len());
    text[..most].rfind('\n').map_or(most, |line| line + 1).max(1)
}

/// All bytes with their characters, in the order of these.
fn alphabet() -> Vec<(u8, char)> {
    let mut alphabet: Vec<(u8, char)> = (0..=255).map(|byte| (byte, spelled(byte))).collect();
    alphabet.sort_by_key(|(_, c)| *c);
    alphabet
}

/// Words as in GPT-2, digits one by one: what SmolLM's tokeniser does.
fn pre_tokenizer() -> Value {
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Digits", "individual_digits": true },
        { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
    ]})
}

fn tokenizer_json(special: &[String], begins: Option<&str>, pieces: &[String], merges: &[Merge]) -> Value {
    let added = special.iter().enumerate().map(|(id, content)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    let vocab: Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), json!(id))).collect();
    let merges = merges
        .iter()
        .map(|Merge { pair: (left, right), .. }| [left, right].map(|id| pieces[*id as usize].as_str()));
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer(),
        "post_processor": begins.map(|token| begins_with(token, special)),
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges.collect::<Vec<_>>(),
        },
    })
}

/// A post-processor that puts a token in front.
fn begins_with(token: &str, special: &[String]) -> Value {
    let id = special.iter().position(|one| one == token);
    json!({
        "type": "TemplateProcessing",
        "single": [
            { "SpecialToken": { "id": token, "type_id": 0 } },
            { "Sequence": { "id": "A", "type_id": 0 } },
        ],
        "pair": [
            { "SpecialToken": { "id": token, "type_id": 0 } },
            { "Sequence": { "id": "A", "type_id": 0 } },
            { "SpecialToken": { "id": token, "type_id": 1 } },
            { "Sequence": { "id": "B", "type_id": 1 } },
        ],
        "special_tokens": { token: { "id": token, "ids": [id], "tokens": [token] } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Shown, Special, Tokenizer};

    fn settings(vocab_size: usize) -> BpeSettings {
        let end = "<|end|>".to_owned();
        BpeSettings { vocab_size, special_tokens: vec![end.clone()], begins: Some(end), count_min: 2 }
    }

    fn trained(text: &str, vocab_size: usize) -> Value {
        let mut trainer = BpeTrainer::new(settings(vocab_size)).unwrap();
        trainer.add(text).unwrap();
        trainer.finish()
    }

    const TEXT: &str =
        "low low low low low lower lower newest newest newest newest newest newest widest widest widest";

    /// As `tokenizers` 0.23 trains on this text (`BpeTrainer(vocab_size=270, min_frequency=2)`).
    #[test]
    fn merges_are_those_of_the_other_trainer() {
        let json = trained(TEXT, 270);
        let merges: Vec<String> = serde_json::from_value::<Vec<[String; 2]>>(json["model"]["merges"].clone())
            .unwrap()
            .iter()
            .map(|pair| pair.join(" "))
            .collect();
        let wanted = [
            "e s",
            "es t",
            "l o",
            "lo w",
            "e w",
            "n ew",
            "Ġ low",
            "Ġ new",
            "Ġnew est",
            "d est",
            "i dest",
            "w idest",
            "Ġ widest",
        ];
        assert_eq!(merges, wanted);
    }

    #[test]
    fn the_tokenizer_reads_what_was_written() {
        let json = trained(TEXT, 300).to_string();
        let tokenizer = Tokenizer::from_tokenizer_json(json.as_bytes(), None).unwrap();
        let text = "the newest 42 è\n\n widest lows";
        let ids = tokenizer.to_ids(text, Special::AsText).unwrap();
        assert_eq!(tokenizer.to_text(&ids, Shown::All), text);
        assert!(ids.len() < text.len() - 8, "{ids:?}");
        assert_eq!(tokenizer.begin(ids)[0], 0);
    }

    #[test]
    fn the_order_of_texts_does_not_matter() {
        let both = |first: &str, second: &str| {
            let mut trainer = BpeTrainer::new(settings(290)).unwrap();
            trainer.add(first).unwrap();
            trainer.add(second).unwrap();
            trainer.finish().to_string()
        };
        assert_eq!(both(TEXT, "other words wider"), both("other words wider", TEXT));
    }

    #[test]
    fn long_texts_are_cut_behind_lines() {
        let line = "word ".repeat(30) + "\n";
        let text = line.repeat(PART_BYTES / line.len() + 2);
        let end = part_end(&text);
        assert!(end <= PART_BYTES && text[..end].ends_with('\n'));
        assert_eq!(part_end(&"é".repeat(PART_BYTES)), PART_BYTES);
        assert_eq!(part_end("short"), 5);
    }

    #[test]
    fn impossible_vocabularies_are_refused() {
        assert!(BpeTrainer::new(settings(256)).is_err());
        assert!(BpeTrainer::new(settings(usize::MAX)).is_err());
        let twice = vec!["a".to_owned(); 2];
        assert!(BpeTrainer::new(BpeSettings { special_tokens: twice, ..settings(300) }).is_err());
    }
}
