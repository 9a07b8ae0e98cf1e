//! Tokenisers from Hugging Face's `tokenizer.json`.
//!
//! The vocabulary and the merges are read without copies where the file allows it: a file of 33 MB has half a
//! million merges.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::components::{Frame, PreTokenizers, normalizers, spelling};
use super::config::Config;
use super::stops;
use crate::added::{Added, AddedTokens, is_marker};
use crate::bytes::Alphabet;
use crate::error::Error;
use crate::model::bpe::{Bpe, Merges};
use crate::model::unigram::Unigram;
use crate::model::wordpiece::WordPiece;
use crate::model::{Model, Unknown};
use crate::normalize::normalize;
use crate::pretokenize::PreTokenizer;
use crate::spelling::{Spelling, byte_of};
use crate::tokenizer::{Parts, Roles, Tokenizer};
use crate::vocab::{Kind, PIECES_MAX, Vocab};

impl Tokenizer {
    /// A tokeniser from a `tokenizer.json`. `config` is `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// The file is not JSON of that shape, or it has a component that is not supported, which is named;
    /// merges of pieces that are not there, ids that are there twice, and pieces that are too long are told
    /// with their place.
    pub fn from_tokenizer_json(json: &[u8], config: Option<&Value>) -> Result<Self, Error> {
        let file: File<'_> = serde_json::from_slice(json)
            .map_err(|e| Error::Json { file: "tokenizer.json", reason: e.to_string() })?;
        let mut parts = file.parts()?;
        Config::read(config).apply(&mut parts)?;
        Ok(Self::new(parts))
    }
}

/// Most normalisers and pre-tokenisers together; the most in use are about ten.
const STEPS_MAX: usize = 64;
/// Longest word that WordPiece may be asked to spell; the usual bound is 100.
const WORD_CHARS_MAX: usize = 1000;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(borrow)]
    model: ModelFile<'a>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl AddedToken {
    fn kind(&self) -> Kind {
        match self.special {
            true => Kind::Control,
            false if is_marker(&self.content) => Kind::Marker,
            false => Kind::UserDefined,
        }
    }
}

#[derive(Deserialize)]
struct ModelFile<'a> {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(borrow)]
    vocab: Entries<'a>,
    #[serde(borrow, default)]
    merges: Option<Vec<Merge<'a>>>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    unk_id: Option<u32>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    max_input_chars_per_word: Option<usize>,
}

impl File<'_> {
    fn parts(self) -> Result<Parts, Error> {
        let mut pre_tokenizers = PreTokenizers::default();
        pre_tokenizers.read(&self.pre_tokenizer)?;
        let mut steps = Vec::new();
        normalizers(&self.normalizer, &mut steps)?;
        let count = steps.len() + pre_tokenizers.steps.len();
        if count > STEPS_MAX {
            return Err(Error::wanted(
                "tokenizer.json",
                format!("at most {STEPS_MAX} steps"),
                count.to_string(),
            ));
        }
        let vocab = self.vocab(pre_tokenizers.byte_level)?;
        let model = self.model.model(&vocab, pre_tokenizers.byte_level)?;
        if !pre_tokenizers.byte_level && !matches!(model, Model::WordPiece(_)) {
            pre_tokenizers.steps.extend(PreTokenizer::blocks(&vocab));
        }
        let mut frame = Frame::default();
        frame.read(&self.post_processor)?;
        let decoded = spelling(&self.decoder)?;
        let is_framed = |ids: &[u32]| ids.iter().all(|&id| (id as usize) < vocab.len());
        if !is_framed(&frame.prefix) || !is_framed(&frame.suffix) {
            return Err(Error::wanted("post_processor", "ids of the vocabulary", "an id outside it"));
        }
        let (mut added, mut added_normalized) = (Vec::new(), Vec::new());
        for token in &self.added_tokens {
            let mut plain = Added::plain(token.id, token.content.clone(), token.kind());
            (plain.single_word, plain.lstrip, plain.rstrip) = (token.single_word, token.lstrip, token.rstrip);
            // Special tokens and markers are always looked for in the text as it is, so that no normaliser
            // can make one.
            if token.normalized && token.kind() == Kind::UserDefined && !steps.is_empty() {
                plain.text = normalize(&steps, &token.content)?.into_owned();
                added_normalized.push(plain);
            } else {
                added.push(plain);
            }
        }
        let roles = Roles {
            bos: frame.prefix.first().copied(),
            unknown: self.model.unknown_id(&vocab),
            ..Roles::default()
        };
        Ok(Parts {
            spelling: decoded.unwrap_or_else(|| default_spelling(&model, pre_tokenizers.byte_level)),
            stops: stops(&roles, &[], &added),
            added: AddedTokens::new(added)?,
            added_normalized: AddedTokens::new(added_normalized)?,
            vocab,
            normalizers: steps,
            pre_tokenizers: pre_tokenizers.steps,
            model,
            prefix: frame.prefix,
            suffix: frame.suffix,
            roles,
        })
    }

    /// The table of all pieces, those of the model and those added.
    fn vocab(&self, byte_level: bool) -> Result<Vocab, Error> {
        let mut table = self.model.vocab.by_id()?;
        let in_model = table.len();
        for token in &self.added_tokens {
            let id = token.id as usize;
            if id >= PIECES_MAX {
                return Err(Error::wanted(
                    "added_tokens",
                    format!("ids below {PIECES_MAX}"),
                    token.id.to_string(),
                ));
            }
            if id >= table.len() {
                table.resize(id + 1, None);
            }
        }
        let mut kinds: Vec<Option<&AddedToken>> = vec![None; table.len()];
        self.added_tokens.iter().for_each(|token| kinds[token.id as usize] = Some(token));
        let alphabet = Alphabet::new();
        let mut bytes = Vec::new();
        let mut vocab = Vocab::with_capacity(table.len())?;
        for (id, piece) in table.iter().enumerate() {
            let Some(piece) = piece.filter(|_| id < in_model) else {
                let added = kinds[id].map_or("", |token| token.content.as_str());
                vocab.push(added.as_bytes(), kinds[id].map_or(Kind::Unused, AddedToken::kind), false)?;
                continue;
            };
            let kind = kinds[id].map_or_else(|| self.model.kind(piece), AddedToken::kind);
            bytes.clear();
            if !byte_level {
                vocab.push(piece.as_bytes(), kind, true)?;
            } else if kinds[id].is_none() && alphabet.bytes(piece.as_bytes(), &mut bytes).is_some() {
                vocab.push(&bytes, kind, true)?;
            } else {
                vocab.push(piece.as_bytes(), kind, false)?;
            }
        }
        Ok(vocab)
    }
}

fn default_spelling(model: &Model, byte_level: bool) -> Spelling {
    match model {
        Model::WordPiece(_) => Spelling::Words { prefix: "##".into(), cleanup: true },
        _ if byte_level => Spelling::Bytes,
        _ => Spelling::Sentencepiece { strip_first: false },
    }
}

impl ModelFile<'_> {
    /// The kind of model; old files do not say it and are told by what they have.
    fn kind_name(&self) -> &str {
        match &self.kind {
            Some(kind) => kind,
            None if self.merges.is_some() => "BPE",
            None if self.unk_id.is_some() => "Unigram",
            None => "WordPiece",
        }
    }

    /// What a piece is for, where no added token says it.
    fn kind(&self, piece: &str) -> Kind {
        if self.byte_fallback && byte_of(piece.as_bytes()).is_some() {
            Kind::Byte
        } else if self.unk_token.as_deref() == Some(piece) {
            Kind::Unknown
        } else {
            Kind::Normal
        }
    }

    fn unknown_id(&self, vocab: &Vocab) -> Option<u32> {
        let named = self.unk_token.as_ref().and_then(|text| vocab.find_any(text.as_bytes()));
        named.or(self.unk_id).filter(|&id| (id as usize) < vocab.len())
    }

    fn model(&self, vocab: &Vocab, byte_level: bool) -> Result<Model, Error> {
        let bytes = if self.byte_fallback { vocab.byte_pieces() } else { None };
        let unknown = Unknown { bytes, id: self.unknown_id(vocab), fuse: self.fuse_unk };
        match self.kind_name() {
            "BPE" => Ok(Model::Bpe(self.bpe(vocab, byte_level, unknown)?)),
            "Unigram" => {
                let unknown = Unknown { fuse: true, ..unknown };
                Ok(Model::Unigram(Unigram::new(vocab, &self.vocab.scores, unknown)?))
            }
            "WordPiece" => Ok(Model::WordPiece(WordPiece {
                prefix: self.continuing_subword_prefix.clone().unwrap_or_else(|| "##".into()),
                unknown: unknown.id.ok_or_else(|| {
                    Error::wanted(
                        "model.unk_token",
                        "a piece of the vocabulary",
                        format!("{:?}", self.unk_token),
                    )
                })?,
                word_chars_max: self.max_input_chars_per_word.unwrap_or(100).min(WORD_CHARS_MAX),
            })),
            other => Err(Error::Unsupported {
                place: "model.type",
                name: other.into(),
                known: "BPE, Unigram, WordPiece".into(),
            }),
        }
    }

    fn bpe(&self, vocab: &Vocab, byte_level: bool, unknown: Unknown) -> Result<Bpe, Error> {
        let affixes = [
            ("continuing_subword_prefix", &self.continuing_subword_prefix),
            ("end_of_word_suffix", &self.end_of_word_suffix),
        ];
        for (place, affix) in affixes {
            if let Some(name) = affix.as_ref().filter(|affix| !affix.is_empty()) {
                return Err(Error::Unsupported { place, name: name.clone(), known: "none, for BPE".into() });
            }
        }
        let list = self.merges.as_deref().unwrap_or_default();
        let mut merges = Merges::of_ranks(vocab, 0..list.len());
        let alphabet = Alphabet::new();
        let mut joined = Vec::new();
        for (rank, merge) in list.iter().enumerate() {
            let (a, b) = merge.sides().ok_or_else(|| {
                Error::wanted(format!("merge {rank}"), "two pieces with a space between them", "no space")
            })?;
            joined.clear();
            let mut spell = |text: &str| alphabet.bytes(text.as_bytes(), &mut joined).map(|()| joined.len());
            let cut = if byte_level { spell(a).and_then(|cut| spell(b).and(Some(cut))) } else { None };
            let cut = cut.unwrap_or_else(|| {
                joined.clear();
                joined.extend_from_slice(a.as_bytes());
                joined.extend_from_slice(b.as_bytes());
                a.len()
            });
            merges.push(&joined, cut)?;
        }
        Ok(Bpe::new(vocab, merges.finish(), byte_level, unknown, self.ignore_merges))
    }
}

/// `vocab`: an object of pieces and ids, or, for Unigram, a list of pieces and scores.
#[derive(Default)]
struct Entries<'a> {
    pieces: Vec<(Text<'a>, u32)>,
    scores: Vec<f32>,
}

impl Entries<'_> {
    /// The pieces in the order of their ids, with gaps.
    fn by_id(&self) -> Result<Vec<Option<&str>>, Error> {
        let count = self.pieces.iter().map(|(_, id)| *id as usize + 1).max().unwrap_or(0);
        if count > PIECES_MAX {
            return Err(Error::wanted(
                "model.vocab",
                format!("ids below {PIECES_MAX}"),
                (count - 1).to_string(),
            ));
        }
        let mut table = vec![None; count];
        for (piece, id) in &self.pieces {
            let slot = &mut table[*id as usize];
            if slot.is_some() {
                return Err(Error::wanted("model.vocab", "each id once", format!("{id} twice")));
            }
            *slot = Some(&*piece.0);
        }
        Ok(table)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of pieces and ids, or a list of pieces and scores")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Entries::default();
                while let Some(entry) = map.next_entry()? {
                    entries.pieces.push(entry);
                }
                Ok(entries)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut entries = Entries::default();
                while let Some((piece, score)) = list.next_element()? {
                    entries.pieces.push((piece, entries.scores.len() as u32));
                    entries.scores.push(score);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_any(EntriesVisitor)
    }
}

/// A string that is borrowed from the file unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// One merge: `"a b"` or `["a", "b"]`.
enum Merge<'a> {
    Spaced(Text<'a>),
    Pair(Text<'a>, Text<'a>),
}

impl Merge<'_> {
    fn sides(&self) -> Option<(&str, &str)> {
        match self {
            Self::Spaced(text) => text.0.split_once(' '),
            Self::Pair(left, right) => Some((&left.0, &right.0)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two pieces")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Merge::Spaced(Text(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Merge::Spaced(Text(Cow::Owned(text.to_owned()))))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let wanted = || serde::de::Error::invalid_length(2, &"two pieces");
                let left = list.next_element()?.ok_or_else(wanted)?;
                let right = list.next_element()?.ok_or_else(wanted)?;
                Ok(Merge::Pair(left, right))
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}
