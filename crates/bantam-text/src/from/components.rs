//! The components of a `tokenizer.json`: `normalizer`, `pre_tokenizer`, `post_processor`, `decoder`.
//!
//! Source: the serialised forms of Hugging Face's tokenizers. Each reader turns one JSON object into the
//! steps of the pipeline; a `Sequence` is read in its order. Nesting is bounded by serde_json's own limit.

use serde_json::Value;

use crate::charsmap::Charsmap;
use crate::error::{Error, shorten};
use crate::normalize::Normalizer;
use crate::pattern::Pattern;
use crate::pretokenize::{Delimiter, LOWER_BLOCK, PreTokenizer, Prepend};
use crate::spelling::Spelling;

/// `type` of a component.
fn kind(component: &Value) -> &str {
    component["type"].as_str().unwrap_or("")
}

fn flag(component: &Value, key: &str, default: bool) -> bool {
    component[key].as_bool().unwrap_or(default)
}

fn text<'v>(component: &'v Value, key: &str) -> Result<&'v str, Error> {
    component[key].as_str().ok_or_else(|| wanted(component, key, "a string"))
}

fn list<'v>(component: &'v Value, key: &str) -> Result<&'v [Value], Error> {
    let list = component[key].as_array().ok_or_else(|| wanted(component, key, "a list"))?;
    Ok(list)
}

fn wanted(component: &Value, key: &str, wanted: &str) -> Error {
    let found = shorten(&component[key].to_string());
    Error::wanted(format!("tokenizer.json, {}.{key}", kind(component)), wanted, found)
}

fn unsupported(place: &'static str, component: &Value, known: &str) -> Error {
    Error::Unsupported { place, name: kind(component).into(), known: known.into() }
}

/// `{"String": ..}` or `{"Regex": ..}`.
fn pattern(component: &Value) -> Result<Pattern, Error> {
    match (&component["pattern"]["String"], &component["pattern"]["Regex"]) {
        (Value::String(literal), _) => Pattern::literal(literal),
        (_, Value::String(regex)) => Pattern::new(regex),
        _ => Err(wanted(component, "pattern", "a String or a Regex")),
    }
}

pub(super) fn normalizers(component: &Value, steps: &mut Vec<Normalizer>) -> Result<(), Error> {
    match kind(component) {
        "" if component.is_null() => {}
        "Sequence" => {
            return list(component, "normalizers")?.iter().try_for_each(|c| normalizers(c, steps));
        }
        "NFC" => steps.push(Normalizer::Nfc),
        "NFD" => steps.push(Normalizer::Nfd),
        "NFKC" => steps.push(Normalizer::Nfkc),
        "NFKD" => steps.push(Normalizer::Nfkd),
        "Lowercase" => steps.push(Normalizer::Lowercase),
        "StripAccents" => steps.push(Normalizer::strip_accents()?),
        "Strip" => steps.push(Normalizer::Strip {
            left: flag(component, "strip_left", true),
            right: flag(component, "strip_right", true),
        }),
        "Prepend" => steps.push(Normalizer::Prepend(text(component, "prepend")?.into())),
        "Replace" => steps.push(replace(component)?),
        "BertNormalizer" => {
            let lowercase = flag(component, "lowercase", true);
            let strip_accents = flag(component, "strip_accents", lowercase);
            let ideographs = flag(component, "handle_chinese_chars", true);
            let clean = flag(component, "clean_text", true);
            steps.extend(Normalizer::bert(clean, ideographs, lowercase, strip_accents)?);
        }
        "Precompiled" => steps.push(Normalizer::Charsmap(charsmap(component)?)),
        _ => {
            let known = "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, BertNormalizer, \
                         Precompiled, Sequence";
            return Err(unsupported("normalizer", component, known));
        }
    }
    Ok(())
}

fn replace(component: &Value) -> Result<Normalizer, Error> {
    let to = text(component, "content")?;
    if component["pattern"]["String"] == " " && to == "\u{2581}" {
        return Ok(Normalizer::ReplaceChar { from: ' ', to: LOWER_BLOCK });
    }
    Ok(Normalizer::Replace { from: pattern(component)?, to: to.into() })
}

fn charsmap(component: &Value) -> Result<Charsmap, Error> {
    let encoded = text(component, "precompiled_charsmap")?;
    let bytes = super::tiktoken::base64(encoded.as_bytes());
    Charsmap::new(&bytes.ok_or_else(|| wanted(component, "precompiled_charsmap", "base64"))?)
}

/// What the pre-tokeniser of a `tokenizer.json` says.
#[derive(Default)]
pub(crate) struct PreTokenizers {
    pub(crate) steps: Vec<PreTokenizer>,
    /// Words are spelled byte by byte.
    pub(super) byte_level: bool,
}

impl PreTokenizers {
    pub(crate) fn read(&mut self, component: &Value) -> Result<(), Error> {
        if self.byte_level && !component.is_null() {
            let name = kind(component).to_owned();
            let known = "ByteLevel as the last one".into();
            return Err(Error::Unsupported { place: "pre_tokenizer after ByteLevel", name, known });
        }
        match kind(component) {
            "" if component.is_null() => {}
            "Sequence" => {
                return list(component, "pretokenizers")?.iter().try_for_each(|c| self.read(c));
            }
            "ByteLevel" => self.read_byte_level(component)?,
            "Split" => self.steps.push(split(component)?),
            "Metaspace" => self.steps.push(metaspace(component)?),
            "BertPreTokenizer" => self.steps.extend(bert_words()?),
            "Whitespace" => self.steps.push(keep(r"\w+|[^\w\s]+")?),
            "WhitespaceSplit" => self.steps.push(PreTokenizer::remove(r"\s+")?),
            "Punctuation" => self.steps.push(PreTokenizer::Split {
                pattern: Pattern::new(PUNCTUATION)?,
                delimiter: delimiter(component, "Isolated")?,
                invert: false,
            }),
            "Digits" if flag(component, "individual_digits", false) => {
                self.steps.push(PreTokenizer::isolate(r"\p{N}")?);
            }
            "Digits" => self.steps.push(PreTokenizer::isolate(r"\p{N}+")?),
            "CharDelimiterSplit" => self.steps.push(PreTokenizer::Split {
                pattern: Pattern::literal(text(component, "delimiter")?)?,
                delimiter: Delimiter::Removed,
                invert: false,
            }),
            _ => {
                let known = "ByteLevel, Split, Metaspace, BertPreTokenizer, Whitespace, WhitespaceSplit, \
                             Punctuation, Digits, CharDelimiterSplit, Sequence";
                return Err(unsupported("pre_tokenizer", component, known));
            }
        }
        Ok(())
    }

    fn read_byte_level(&mut self, component: &Value) -> Result<(), Error> {
        self.byte_level = true;
        if flag(component, "add_prefix_space", true) {
            self.steps.push(PreTokenizer::PrefixSpace);
        }
        if flag(component, "use_regex", true) {
            self.steps.extend(super::kinds::kind(Some("gpt-2"))?.pre_tokenizers()?);
        }
        Ok(())
    }
}

const PUNCTUATION: &str = r"[\p{P}!-/:-@\[-`{-~]";

/// The words of BERT: between spaces, and each punctuation mark by itself.
pub(super) fn bert_words() -> Result<Vec<PreTokenizer>, Error> {
    Ok(vec![PreTokenizer::remove(r"\s+")?, PreTokenizer::isolate(PUNCTUATION)?])
}

/// Only what matches stays.
fn keep(regex: &str) -> Result<PreTokenizer, Error> {
    let pattern = Pattern::new(regex)?;
    Ok(PreTokenizer::Split { pattern, delimiter: Delimiter::Removed, invert: true })
}

fn split(component: &Value) -> Result<PreTokenizer, Error> {
    Ok(PreTokenizer::Split {
        pattern: pattern(component)?,
        delimiter: delimiter(component, "")?,
        invert: flag(component, "invert", false),
    })
}

fn delimiter(component: &Value, default: &str) -> Result<Delimiter, Error> {
    match component["behavior"].as_str().unwrap_or(default) {
        "Removed" => Ok(Delimiter::Removed),
        "Isolated" => Ok(Delimiter::Isolated),
        "MergedWithPrevious" => Ok(Delimiter::WithPrevious),
        "MergedWithNext" => Ok(Delimiter::WithNext),
        "Contiguous" => Ok(Delimiter::Contiguous),
        _ => Err(wanted(
            component,
            "behavior",
            "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
        )),
    }
}

fn metaspace(component: &Value) -> Result<PreTokenizer, Error> {
    let mut replacement = text(component, "replacement")?.chars();
    let (Some(replacement), None) = (replacement.next(), replacement.next()) else {
        return Err(wanted(component, "replacement", "one character"));
    };
    let split = flag(component, "split", true);
    Ok(PreTokenizer::Metaspace { replacement, prepend: prepend(component)?, split })
}

/// `prepend_scheme`, or `add_prefix_space` of older files.
fn prepend(component: &Value) -> Result<Prepend, Error> {
    match component["prepend_scheme"].as_str() {
        Some("always") => Ok(Prepend::Always),
        Some("first") => Ok(Prepend::First),
        Some("never") => Ok(Prepend::Never),
        None if flag(component, "add_prefix_space", true) => Ok(Prepend::Always),
        None => Ok(Prepend::Never),
        Some(_) => Err(wanted(component, "prepend_scheme", "always, first or never")),
    }
}

/// How the decoder spells; `None` where it does not say.
pub(super) fn spelling(component: &Value) -> Result<Option<Spelling>, Error> {
    let sentencepiece = |strip_first| Ok(Some(Spelling::Sentencepiece { strip_first }));
    match kind(component) {
        "" if component.is_null() => Ok(None),
        "ByteLevel" => Ok(Some(Spelling::Bytes)),
        "WordPiece" => {
            let prefix = component["prefix"].as_str().unwrap_or("##").into();
            Ok(Some(Spelling::Words { prefix, cleanup: flag(component, "cleanup", true) }))
        }
        "Metaspace" => sentencepiece(prepend(component)? != Prepend::Never),
        "Replace" | "ByteFallback" => sentencepiece(false),
        "Fuse" => Ok(None),
        "Strip" => sentencepiece(component["start"].as_u64().is_some_and(|n| n > 0)),
        "Sequence" => list(component, "decoders")?
            .iter()
            .try_fold(None, |spelling, next| Ok(merge(spelling, self::spelling(next)?))),
        _ => {
            let known = "ByteLevel, WordPiece, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence";
            Err(unsupported("decoder", component, known))
        }
    }
}

/// The spelling of two decoders in a row: whichever says more.
fn merge(first: Option<Spelling>, second: Option<Spelling>) -> Option<Spelling> {
    match (first, second) {
        (
            Some(Spelling::Sentencepiece { strip_first: a }),
            Some(Spelling::Sentencepiece { strip_first: b }),
        ) => Some(Spelling::Sentencepiece { strip_first: a || b }),
        (Some(Spelling::Bytes), _) => Some(Spelling::Bytes),
        (first, second) => second.or(first),
    }
}

/// What a post-processor puts before and after a text, as token texts or ids.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

impl Frame {
    pub(super) fn read(&mut self, component: &Value) -> Result<(), Error> {
        match kind(component) {
            "" if component.is_null() => Ok(()),
            "ByteLevel" => Ok(()),
            "Sequence" => list(component, "processors")?.iter().try_for_each(|c| self.read(c)),
            "BertProcessing" | "RobertaProcessing" => {
                self.prefix.push(id_of(component, "cls")?);
                self.suffix.push(id_of(component, "sep")?);
                Ok(())
            }
            "TemplateProcessing" => self.read_template(component),
            _ => {
                let known = "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence";
                Err(unsupported("post_processor", component, known))
            }
        }
    }

    fn read_template(&mut self, component: &Value) -> Result<(), Error> {
        let mut is_after = false;
        for item in list(component, "single")? {
            let Some(name) = item["SpecialToken"]["id"].as_str() else {
                is_after = true;
                continue;
            };
            let ids = component["special_tokens"][name]["ids"].as_array();
            let ids = ids.ok_or_else(|| wanted(component, "special_tokens", "the ids of all its tokens"))?;
            let side = if is_after { &mut self.suffix } else { &mut self.prefix };
            for id in ids {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                side.push(id.ok_or_else(|| wanted(component, "special_tokens", "ids"))?);
            }
        }
        Ok(())
    }
}

/// The id of `["[CLS]", 101]`.
fn id_of(component: &Value, key: &str) -> Result<u32, Error> {
    let id = component[key][1].as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| wanted(component, key, "a token and its id"))
}
