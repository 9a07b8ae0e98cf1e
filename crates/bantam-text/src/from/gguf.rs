//! Tokenisers from the metadata of GGUF files, `tokenizer.ggml.*`.
//!
//! Source: llama.cpp's `llama-vocab.cpp`, for the defaults of each `tokenizer.ggml.model`, and the converters
//! of the models' own tokenisers, for what the texts mean.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use super::kinds::kind;
use super::stops;
use super::texts::{Iter, Texts};
use crate::added::{Added, AddedTokens, is_marker};
use crate::bytes::Alphabet;
use crate::charsmap::Charsmap;
use crate::error::Error;
use crate::model::bpe::{Bpe, Merges, Pairs};
use crate::model::spans::Spans;
use crate::model::unigram::Unigram;
use crate::model::wordpiece::WordPiece;
use crate::model::{Model, Unknown};
use crate::normalize::Normalizer;
use crate::pattern::Pattern;
use crate::pretokenize::{LOWER_BLOCK, PreTokenizer};
use crate::spelling::Spelling;
use crate::tokenizer::{Parts, Roles, Tokenizer};
use crate::vocab::{Kind, Vocab};

/// The keys `tokenizer.ggml.*` of a GGUF file, by their own names. What the file has not is empty or `None`.
#[derive(Clone, Debug, Default)]
pub struct GgufVocab<'a> {
    /// `model`: `gpt2`, `llama`, `bert`, `t5` or `gemma4`.
    pub model: &'a str,
    /// `pre`: the kind of pre-tokeniser, for `gpt2`.
    pub pre: Option<&'a str>,
    /// `tokens`.
    pub tokens: Texts<'a>,
    /// `scores`, one per token, for `llama` and `t5`.
    pub scores: Vec<f32>,
    /// `token_type`, one per token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// `merges`: two pieces with a space between them, for `gpt2` and `gemma4`.
    pub merges: Texts<'a>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`.
    pub eot: Option<u32>,
    /// `eom_token_id`.
    pub eom: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `seperator_token_id`, which is how the format spells it.
    pub separator: Option<u32>,
    /// `padding_token_id`.
    pub padding: Option<u32>,
    /// `cls_token_id`.
    pub cls: Option<u32>,
    /// `mask_token_id`.
    pub mask: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_sep_token`.
    pub add_separator: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `remove_extra_whitespaces`.
    pub remove_extra_whitespaces: Option<bool>,
    /// `precompiled_charsmap`.
    pub precompiled_charsmap: Option<&'a [u8]>,
    /// `normalizer.lowercase`, for `bert`.
    pub lowercase: Option<bool>,
}

impl Tokenizer {
    /// A tokeniser from the metadata of a GGUF file.
    ///
    /// # Errors
    ///
    /// An unknown `model` or `pre` is named; tables of the wrong length, merges of pieces that are not there,
    /// pieces that are there twice or are too long, and ids outside the vocabulary are told with their place.
    pub fn from_gguf(vocab: &GgufVocab<'_>) -> Result<Self, Error> {
        vocab.check()?;
        let parts = match vocab.model {
            "gpt2" => byte_level(vocab),
            "gemma4" => spaced_merges(vocab),
            "llama" => sentencepiece(vocab, false),
            "t5" => unigram(vocab),
            "bert" => wordpiece(vocab),
            other => Err(Error::Unsupported {
                place: "tokenizer.ggml.model",
                name: other.into(),
                known: "gpt2, llama, bert, t5, gemma4".into(),
            }),
        }?;
        Ok(Self::new(parts))
    }
}

/// What may go around a text, by default of the kind of model.
struct Framing {
    bos: bool,
    eos: bool,
    separator: bool,
}

impl GgufVocab<'_> {
    fn check(&self) -> Result<(), Error> {
        let count = self.tokens.len();
        if count == 0 {
            return Err(Error::wanted("tokenizer.ggml.tokens", "at least one token", "none"));
        }
        let tables = [("scores", self.scores.len()), ("token_type", self.token_types.len())];
        for (name, len) in tables {
            if len != 0 && len != count {
                let place = format!("tokenizer.ggml.{name}");
                return Err(Error::wanted(place, format!("{count} values, one per token"), len.to_string()));
            }
        }
        Ok(())
    }

    /// What the token `text` of this id is for.
    fn kind(&self, id: usize, text: &[u8]) -> Kind {
        match self.token_types.get(id) {
            Some(2) => Kind::Unknown,
            Some(3) => Kind::Control,
            // Converters fill the table up with these, and some call them user-defined.
            Some(4) if text == format!("[PAD{id}]").as_bytes() => Kind::Unused,
            Some(4) if std::str::from_utf8(text).is_ok_and(is_marker) => Kind::Marker,
            Some(4) => Kind::UserDefined,
            Some(5) => Kind::Unused,
            Some(6) => Kind::Byte,
            _ => Kind::Normal,
        }
    }

    /// An id, unless it lies outside the vocabulary.
    fn id(&self, id: Option<u32>) -> Option<u32> {
        id.filter(|&id| (id as usize) < self.tokens.len())
    }

    fn roles(&self) -> Roles {
        Roles {
            bos: self.id(self.bos),
            eos: self.id(self.eos),
            unknown: self.id(self.unknown),
            separator: self.id(self.separator),
            padding: self.id(self.padding),
            mask: self.id(self.mask),
        }
    }

    /// Tokens that are cut out of the text.
    fn added(&self, vocab: &Vocab) -> Vec<Added> {
        let is_added =
            |kind: Kind| matches!(kind, Kind::Control | Kind::Unknown | Kind::Marker | Kind::UserDefined);
        let tokens = vocab.kinds().zip(self.tokens.iter()).filter(|&((_, kind), _)| is_added(kind));
        let added = |id, kind, text| Some(Added::plain(id, std::str::from_utf8(text).ok()?.to_owned(), kind));
        tokens.filter_map(|((id, kind), text)| added(id, kind, text)).collect()
    }

    /// The vocabulary with every token as it stands in the file.
    fn literal_vocab(&self) -> Result<Vocab, Error> {
        let mut vocab = Vocab::with_capacity(self.tokens.len())?;
        for (id, token) in self.tokens.iter().enumerate() {
            vocab.push(token, self.kind(id, token), true)?;
        }
        Ok(vocab)
    }

    fn unknown(&self, vocab: &Vocab) -> Unknown {
        Unknown { bytes: vocab.byte_pieces(), id: self.id(self.unknown), fuse: true }
    }

    fn scores(&self) -> Result<&[f32], Error> {
        if self.scores.is_empty() {
            return Err(Error::wanted("tokenizer.ggml.scores", "one score per token", "no such key"));
        }
        Ok(&self.scores)
    }

    /// Puts the rest around what a kind of model is made of.
    fn parts(&self, core: Core, framing: Framing) -> Result<Parts, Error> {
        let roles = self.roles();
        let added = core.added;
        let wants = |key: Option<bool>, default: bool, id: Option<u32>| id.filter(|_| key.unwrap_or(default));
        let bos = wants(self.add_bos, framing.bos, self.id(self.cls).or(roles.bos));
        let separator = wants(self.add_separator, framing.separator, roles.separator.or(roles.eos));
        let eos = wants(self.add_eos, framing.eos, roles.eos).filter(|_| separator.is_none());
        Ok(Parts {
            stops: stops(&roles, &[self.id(self.eot), self.id(self.eom)], &added),
            added: AddedTokens::new(added)?,
            added_normalized: AddedTokens::default(),
            vocab: core.vocab,
            normalizers: core.normalizers,
            pre_tokenizers: core.pre_tokenizers,
            model: core.model,
            spelling: core.spelling,
            prefix: bos.into_iter().collect(),
            suffix: separator.or(eos).into_iter().collect(),
            roles,
        })
    }
}

/// What differs between the kinds of model.
struct Core {
    vocab: Vocab,
    added: Vec<Added>,
    normalizers: Vec<Normalizer>,
    pre_tokenizers: Vec<PreTokenizer>,
    model: Model,
    spelling: Spelling,
}

fn split_merge(merge: &[u8], rank: usize) -> Result<(&[u8], &[u8]), Error> {
    let space = merge.iter().skip(1).position(|&b| b == b' ').map(|at| at + 1);
    let bad = || {
        let found = crate::error::shorten(&String::from_utf8_lossy(merge));
        Error::wanted(format!("merge {rank}"), "two pieces with a space between them", format!("`{found}`"))
    };
    let at = space.filter(|&at| at + 1 < merge.len()).ok_or_else(bad)?;
    Ok((&merge[..at], &merge[at + 1..]))
}

/// `gpt2`: byte-level BPE.
fn byte_level(file: &GgufVocab<'_>) -> Result<Parts, Error> {
    let kind = kind(file.pre)?;
    // The patterns take a good part of the time that the tables take.
    let (tables, patterns) = both(|| byte_level_tables(file), || kind.pre_tokenizers());
    let (vocab, merges) = tables?;
    let unknown = Unknown { bytes: None, id: file.id(file.unknown), fuse: false };
    let model = Model::Bpe(Bpe::new(&vocab, merges, true, unknown, kind.whole_words));
    let prefix_space = file.add_space_prefix == Some(true);
    let mut pre_tokenizers: Vec<_> = prefix_space.then_some(PreTokenizer::PrefixSpace).into_iter().collect();
    pre_tokenizers.extend(patterns?);
    let added = file.added(&vocab);
    let core = Core { vocab, added, normalizers: vec![], pre_tokenizers, model, spelling: Spelling::Bytes };
    file.parts(core, Framing { bos: kind.adds_bos, eos: false, separator: kind.adds_separator })
}

/// What both make, the second on a thread of its own where the system gives one.
fn both<A, B: Send>(first: impl FnOnce() -> A, second: impl Fn() -> B + Sync) -> (A, B) {
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, &second);
        let made = first();
        match other.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(other)) => (made, other),
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => (made, second()),
        }
    })
}

/// The pieces as the bytes that they stand for, and the merges of them.
fn byte_level_tables(file: &GgufVocab<'_>) -> Result<(Vocab, Pairs), Error> {
    let alphabet = Alphabet::new();
    let mut bytes = Vec::new();
    let mut vocab = Vocab::with_capacity(file.tokens.len())?;
    for (id, token) in file.tokens.iter().enumerate() {
        bytes.clear();
        let kind = file.kind(id, token);
        let is_spelled =
            matches!(kind, Kind::Normal | Kind::Byte) && alphabet.bytes(token, &mut bytes).is_some();
        vocab.push(if is_spelled { &bytes } else { token }, kind, is_spelled)?;
    }
    // Finding the pieces of merges takes half of the time that a tokeniser takes.
    let (count, half) = (file.merges.len(), file.merges.len() / 2);
    let part = |ranks| byte_level_merges(file, &alphabet, &vocab, ranks);
    let (first, rest) = both(|| part(0..half), || part(half..count));
    let merges = first?.finish_with(rest?);
    Ok((vocab, merges))
}

/// The merges of some ranks.
fn byte_level_merges<'v>(
    file: &GgufVocab<'_>,
    alphabet: &Alphabet,
    vocab: &'v Vocab,
    ranks: Range<usize>,
) -> Result<Merges<'v>, Error> {
    let mut bytes = Vec::new();
    let mut merges = Merges::of_ranks(vocab, ranks.clone());
    let mut beside = Beside::new(&file.tokens);
    for (rank, merge) in file.merges.iter().enumerate().skip(ranks.start).take(ranks.len()) {
        let (left, right) = split_merge(merge, rank)?;
        let joined = match beside.joins(left, right).filter(|&id| vocab.is_listed(id)) {
            Some(id) => merges.push_known(id, char_count(left))?,
            None => {
                bytes.clear();
                spell(alphabet, left, rank, &mut bytes)?;
                let cut = bytes.len();
                spell(alphabet, right, rank, &mut bytes)?;
                merges.push(&bytes, cut)?
            }
        };
        beside.go_to(joined + 1);
    }
    Ok(merges)
}

/// A place in the list of tokens, which goes along with the list of merges: these mostly make the tokens in their order.
struct Beside<'a> {
    rest: Iter<'a>,
    token: Option<&'a [u8]>,
    id: u32,
}

impl<'a> Beside<'a> {
    fn new(tokens: &'a Texts<'_>) -> Self {
        let mut rest = tokens.iter();
        Self { token: rest.next(), rest, id: 0 }
    }

    /// The id of the token here, if it is what these two are together.
    fn joins(&self, left: &[u8], right: &[u8]) -> Option<u32> {
        let begins_character = right.first().is_some_and(|byte| byte & 0xC0 != 0x80);
        let is_joined = begins_character && self.token?.strip_prefix(left)? == right;
        is_joined.then_some(self.id)
    }

    /// Goes on to a token, unless it lies behind.
    fn go_to(&mut self, id: u32) {
        while self.id < id && self.token.is_some() {
            self.token = self.rest.next();
            self.id += 1;
        }
    }
}

/// Characters of UTF-8.
fn char_count(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

/// Appends what a side of a merge stands for.
fn spell(alphabet: &Alphabet, piece: &[u8], rank: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
    alphabet.bytes(piece, bytes).ok_or_else(|| {
        let found = format!("`{}`", crate::error::shorten(&String::from_utf8_lossy(piece)));
        Error::wanted(format!("merge {rank}"), "pieces in the byte-level alphabet", found)
    })
}

/// `gemma4`: merges over characters, spaces written as `▁`, bytes for the rest.
fn spaced_merges(file: &GgufVocab<'_>) -> Result<Parts, Error> {
    let vocab = file.literal_vocab()?;
    let mut merges = Merges::of_ranks(&vocab, 0..file.merges.len());
    let mut joined = Vec::new();
    for (rank, merge) in file.merges.iter().enumerate() {
        let (left, right) = split_merge(merge, rank)?;
        joined.clear();
        joined.extend_from_slice(left);
        joined.extend_from_slice(right);
        merges.push(&joined, left.len())?;
    }
    let merges = merges.finish();
    let model = Model::Bpe(Bpe::new(&vocab, merges, false, file.unknown(&vocab), false));
    let core = Core {
        added: file.added(&vocab),
        pre_tokenizers: PreTokenizer::blocks(&vocab).into_iter().collect(),
        vocab,
        normalizers: vec![Normalizer::ReplaceChar { from: ' ', to: LOWER_BLOCK }],
        model,
        spelling: Spelling::Sentencepiece { strip_first: false },
    };
    file.parts(core, Framing { bos: true, eos: false, separator: false })
}

/// `llama`: SentencePiece BPE.
pub(super) fn sentencepiece(file: &GgufVocab<'_>, normalizes: bool) -> Result<Parts, Error> {
    let mut vocab = Vocab::with_capacity(file.tokens.len())?;
    let mut has_space_runs = false;
    for (id, token) in file.tokens.iter().enumerate() {
        match (file.kind(id, token), space_run(token)) {
            (Kind::UserDefined, Some(run)) => {
                has_space_runs = true;
                vocab.push(run.as_bytes(), Kind::Normal, true)?;
            }
            (kind, _) => {
                vocab.push(token, kind, true)?;
            }
        };
    }
    // Gemma lists runs of spaces with a score of no meaning. In Hugging Face's form of these vocabularies
    // such runs are merged as all else is, in the order of the list, which is that of the scores where there
    // are any.
    let unknown = file.unknown(&vocab);
    let scores = file.scores()?;
    let spans = match has_space_runs {
        true => Spans::by_id(&vocab, unknown),
        false => Spans::by_score(scores, unknown),
    };
    let added = sentencepiece_added(file, &vocab);
    let core = Core {
        pre_tokenizers: PreTokenizer::blocks(&vocab).into_iter().collect(),
        vocab,
        added,
        normalizers: sentencepiece_steps(file, normalizes)?,
        model: Model::Spans(spans),
        spelling: Spelling::Sentencepiece { strip_first: file.add_space_prefix.unwrap_or(true) },
    };
    file.parts(core, Framing { bos: true, eos: false, separator: false })
}

/// A token of nothing but spaces, two or more, as SentencePiece spells it.
fn space_run(token: &[u8]) -> Option<String> {
    let (mut rest, mut count) = (token, 0);
    while !rest.is_empty() {
        rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix("\u{2581}".as_bytes()))?;
        count += 1;
    }
    (count > 1).then(|| LOWER_BLOCK.to_string().repeat(count))
}

/// `t5`: SentencePiece Unigram.
pub(super) fn unigram(file: &GgufVocab<'_>) -> Result<Parts, Error> {
    let vocab = file.literal_vocab()?;
    let model = Model::Unigram(Unigram::new(&vocab, file.scores()?, file.unknown(&vocab))?);
    let added = sentencepiece_added(file, &vocab);
    let core = Core {
        pre_tokenizers: PreTokenizer::blocks(&vocab).into_iter().collect(),
        vocab,
        added,
        normalizers: sentencepiece_steps(file, true)?,
        model,
        spelling: Spelling::Sentencepiece { strip_first: file.add_space_prefix.unwrap_or(true) },
    };
    file.parts(core, Framing { bos: false, eos: true, separator: false })
}

/// `bert`: WordPiece. The file writes the start of a word as `▁` and leaves the `##` of the other pieces out.
fn wordpiece(file: &GgufVocab<'_>) -> Result<Parts, Error> {
    let mut vocab = Vocab::with_capacity(file.tokens.len())?;
    for (id, token) in file.tokens.iter().enumerate() {
        let is_bracketed = token.len() > 2 && token.starts_with(b"[") && token.ends_with(b"]");
        let piece = match token.strip_prefix("\u{2581}".as_bytes()) {
            Some(word) => word.to_vec(),
            None if is_bracketed => token.to_vec(),
            None => [b"##", token].concat(),
        };
        vocab.push(&piece, file.kind(id, token), true)?;
    }
    let named = |id: Option<u32>, text: &str| file.id(id).or_else(|| vocab.find_any(text.as_bytes()));
    let file = GgufVocab {
        cls: named(file.cls.or(file.bos), "[CLS]"),
        separator: named(file.separator, "[SEP]"),
        unknown: named(file.unknown, "[UNK]"),
        ..file.clone()
    };
    let unknown = file
        .unknown
        .ok_or_else(|| Error::wanted("tokenizer.ggml.unknown_token_id", "the id of [UNK]", "no such key"))?;
    let lowercase = file.lowercase.unwrap_or(true);
    let core = Core {
        added: file.added(&vocab),
        vocab,
        normalizers: Normalizer::bert(true, true, lowercase, lowercase)?,
        pre_tokenizers: super::components::bert_words()?,
        model: Model::WordPiece(WordPiece { prefix: "##".into(), unknown, word_chars_max: 100 }),
        spelling: Spelling::Words { prefix: "##".into(), cleanup: true },
    };
    file.parts(core, Framing { bos: true, eos: false, separator: true })
}

/// Tokens cut out of the text before SentencePiece sees it.
fn sentencepiece_added(file: &GgufVocab<'_>, vocab: &Vocab) -> Vec<Added> {
    let mut added = file.added(vocab);
    // The models of the Phi-3 line swallow the whitespace after a special token. Their vocabulary tells them.
    let is_phi_3 = added.iter().any(|t| t.text == "<|placeholder1|>");
    const KEEPS_SPACE: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];
    for token in &mut added {
        token.rstrip = is_phi_3 && !KEEPS_SPACE.contains(&token.text.as_str());
    }
    added
}

/// What SentencePiece does to text. `normalizes`: its character map and its handling of spaces are in force.
fn sentencepiece_steps(file: &GgufVocab<'_>, normalizes: bool) -> Result<Vec<Normalizer>, Error> {
    let mut steps = Vec::new();
    if let Some(map) = file.precompiled_charsmap.filter(|map| normalizes && !map.is_empty()) {
        steps.push(Normalizer::Charsmap(Charsmap::new(map)?));
    }
    if normalizes && file.remove_extra_whitespaces.unwrap_or(true) {
        steps.push(Normalizer::Strip { left: true, right: true });
        steps.push(Normalizer::Replace { from: Pattern::new(" {2,}")?, to: " ".into() });
    }
    if file.add_space_prefix.unwrap_or(true) {
        steps.push(Normalizer::Prepend(LOWER_BLOCK.into()));
    }
    steps.push(Normalizer::ReplaceChar { from: ' ', to: LOWER_BLOCK });
    Ok(steps)
}
