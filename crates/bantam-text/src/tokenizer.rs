//! The tokeniser: text to ids and back.
//!
//! One pipeline for every vocabulary: cut out added tokens, normalise, cut into words, let the model spell
//! each word. Where a vocabulary comes from (`from/`) decides the parts; nothing here asks for a family or a
//! file format.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::added::{AddedTokens, Cut, Special};
use crate::error::Error;
use crate::model::Model;
use crate::model::merge::Workspace;
use crate::normalize::{Normalizer, normalize};
use crate::pretokenize::{PreTokenizer, words};
use crate::spelling::Spelling;
use crate::vocab::{Kind, Vocab};

/// Longest text tokenised at once, so that offsets fit 32 bits even after normalisation.
const TEXT_BYTES_MAX: usize = 1 << 30;

/// Ids with a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Roles {
    /// Begins a document.
    pub bos: Option<u32>,
    /// Ends a document.
    pub eos: Option<u32>,
    /// Stands for what the vocabulary cannot spell.
    pub unknown: Option<u32>,
    /// Parts two texts.
    pub separator: Option<u32>,
    /// Fills up a batch.
    pub padding: Option<u32>,
    /// Hides a word.
    pub mask: Option<u32>,
}

/// A piece of the vocabulary, as a reader wants to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The bytes of text it stands for; part of a character perhaps.
    pub bytes: Vec<u8>,
    /// What it is for.
    pub kind: Kind,
}

impl Piece {
    /// The bytes as text, with replacement characters where they are no whole characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A tokeniser. Cloning is cheap: clones share the vocabulary.
#[derive(Clone)]
pub struct Tokenizer(Arc<Parts>);

/// What a tokeniser is made of.
pub(crate) struct Parts {
    pub(crate) vocab: Vocab,
    pub(crate) added: AddedTokens,
    /// Tokens that are looked for in normalised text.
    pub(crate) added_normalized: AddedTokens,
    pub(crate) normalizers: Vec<Normalizer>,
    pub(crate) pre_tokenizers: Vec<PreTokenizer>,
    pub(crate) model: Model,
    pub(crate) spelling: Spelling,
    pub(crate) prefix: Vec<u32>,
    pub(crate) suffix: Vec<u32>,
    pub(crate) roles: Roles,
    /// Ids that end a turn or a document.
    pub(crate) stops: Vec<u32>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The ids of `text`, with nothing added before or after.
    ///
    /// # Errors
    ///
    /// Where a pattern of the vocabulary's own takes too many steps on this text, and for a text beyond 1
    /// GiB.
    pub fn to_ids(&self, text: &str, special: Special) -> Result<Vec<u32>, Error> {
        Ok(self.to_ids_parts(text, special, &[], &[])?.0)
    }

    /// The ids of a text that is cut at byte offsets, which must be sorted and lie between characters, and for
    /// each cut the number of ids before it. No token reaches across a cut: the ids of each part are those that
    /// a model sees, or makes, when the part before it is the prompt.
    ///
    /// # Errors
    ///
    /// As [`Self::to_ids`].
    pub fn to_ids_cut(
        &self,
        text: &str,
        special: Special,
        cuts: &[usize],
    ) -> Result<(Vec<u32>, Vec<usize>), Error> {
        self.to_ids_parts(text, special, &[], cuts)
    }

    /// As [`Self::to_ids_cut`]; no special token or marker is found across one of the byte offsets in
    /// `barriers`, which must be sorted.
    pub(crate) fn to_ids_parts(
        &self,
        text: &str,
        special: Special,
        barriers: &[usize],
        cuts: &[usize],
    ) -> Result<(Vec<u32>, Vec<usize>), Error> {
        if text.len() > TEXT_BYTES_MAX {
            let wanted = format!("at most {TEXT_BYTES_MAX} bytes at once");
            return Err(Error::wanted("text", wanted, format!("{} bytes", text.len())));
        }
        let mut ids = Vec::with_capacity(text.len() / 3);
        let mut places = Vec::with_capacity(cuts.len());
        let mut space = Workspace::default();
        let mut done = 0;
        for &cut in cuts {
            self.0.part(text, done..cut, special, barriers, &mut space, &mut ids)?;
            places.push(ids.len());
            done = cut;
        }
        self.0.part(text, done..text.len(), special, barriers, &mut space, &mut ids)?;
        Ok((ids, places))
    }

    /// `ids` with what this tokeniser puts before and after a text, such as BOS or `[CLS]` and `[SEP]`. What
    /// is there already, say a BOS from a chat template, is not put there twice.
    pub fn frame(&self, ids: Vec<u32>) -> Vec<u32> {
        let mut ids = self.begin(ids);
        if !ids.ends_with(&self.0.suffix) {
            ids.extend(&self.0.suffix);
        }
        ids
    }

    /// `ids` with what this tokeniser puts before a text, unless they begin with it: for what a model goes on
    /// with.
    pub fn begin(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if !ids.starts_with(&self.0.prefix) {
            ids.splice(0..0, self.0.prefix.iter().copied());
        }
        ids
    }

    /// The piece of an id; `None` outside the vocabulary.
    pub fn piece(&self, id: u32) -> Option<Piece> {
        let kind = self.0.vocab.kind(id)?;
        let mut bytes = Vec::new();
        self.append(id, false, &mut bytes);
        if matches!(self.0.spelling, Spelling::Words { .. }) {
            bytes = self.0.vocab.piece(id).to_vec();
        }
        Some(Piece { bytes, kind })
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> usize {
        self.0.vocab.len()
    }

    /// Whether an id is a special token, which [`Shown::Text`](crate::Shown::Text) leaves out.
    pub fn is_special(&self, id: u32) -> bool {
        matches!(self.0.vocab.kind(id), Some(Kind::Control | Kind::Unknown))
    }

    /// Whether an id is text like any other, and no marker.
    pub(crate) fn is_text(&self, id: u32) -> bool {
        !matches!(self.0.vocab.kind(id), Some(Kind::Control | Kind::Unknown | Kind::Marker))
    }

    /// The id of a special token or marker, by its text.
    pub fn special_id(&self, text: &str) -> Option<u32> {
        self.0.added.iter().find(|t| t.text == text).map(|t| t.id)
    }

    /// The ids with a role.
    pub fn roles(&self) -> Roles {
        self.0.roles
    }

    /// What is put before a text.
    pub fn prefix(&self) -> &[u32] {
        &self.0.prefix
    }

    /// What is put after a text.
    pub fn suffix(&self) -> &[u32] {
        &self.0.suffix
    }

    /// Ids that end a turn or a document, sorted.
    pub fn stops(&self) -> &[u32] {
        &self.0.stops
    }

    /// The text of a role's token, empty without one: what templates call `bos_token` and `eos_token`.
    pub fn role_text(&self, id: Option<u32>) -> String {
        id.map_or_else(String::new, |id| String::from_utf8_lossy(self.0.vocab.piece(id)).into_owned())
    }

    pub(crate) fn added(&self) -> &AddedTokens {
        &self.0.added
    }

    pub(crate) fn append(&self, id: u32, is_first: bool, out: &mut Vec<u8>) {
        self.0.spelling.append(&self.0.vocab, id, is_first, out);
    }
}

impl Parts {
    /// Appends the ids of a part of a text as if it stood alone, but for what only the beginning of the whole
    /// gets.
    fn part(
        &self,
        text: &str,
        part: Range<usize>,
        special: Special,
        barriers: &[usize],
        space: &mut Workspace,
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let inside = barriers.iter().filter(|b| part.contains(b)).map(|b| b - part.start);
        let barriers: Vec<usize> = inside.collect();
        let is_beginning = part.start == 0;
        let text = &text[part];
        for cut in self.added.cut(text, special, &barriers) {
            match cut {
                Cut::Token(id) => ids.push(id),
                Cut::Text(range) => {
                    let is_first = is_beginning && range.start == 0;
                    self.stretch(&text[range], special, is_first, space, ids)?;
                }
            }
        }
        Ok(())
    }

    /// Appends the ids of a stretch of text between added tokens.
    fn stretch(
        &self,
        text: &str,
        special: Special,
        is_first: bool,
        space: &mut Workspace,
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let text = normalize(&self.normalizers, text)?;
        for cut in self.added_normalized.cut(&text, special, &[]) {
            let range = match cut {
                Cut::Token(id) => {
                    ids.push(id);
                    continue;
                }
                Cut::Text(range) => range,
            };
            let is_first = is_first && range.start == 0;
            let words = words(&self.pre_tokenizers, text[range].into(), is_first)?;
            for word in &words.ranges {
                self.model.ids(&self.vocab, &words.text[word.clone()], space, ids);
            }
        }
        Ok(())
    }
}
