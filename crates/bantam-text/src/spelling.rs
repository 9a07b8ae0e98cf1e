//! From ids back to text: how pieces spell what they stand for, whole or as a stream.
//!
//! Invariant of [`TextStream`]: what it gave so far is always whole characters, and all it gives together is
//! what [`Tokenizer::to_text`](crate::Tokenizer::to_text) gives for all ids at once, however they are split.

use crate::tokenizer::Tokenizer;
use crate::vocab::{Kind, Vocab};

/// Whether special tokens appear in text made from ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Special tokens are left out.
    #[default]
    Text,
    /// Special tokens are written out.
    All,
}

/// How the pieces of a vocabulary spell text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Pieces are bytes of the text.
    Bytes,
    /// `▁` is a space, `<0x41>` a byte; a document begins without the space that its first word carries.
    Sentencepiece { strip_first: bool },
    /// Pieces are words, with a space between them, or parts of words that begin with `prefix`.
    Words { prefix: String, cleanup: bool },
}

impl Spelling {
    /// Appends what `id` stands for. `is_first`: nothing came before it.
    pub(crate) fn append(&self, vocab: &Vocab, id: u32, is_first: bool, out: &mut Vec<u8>) {
        let piece = vocab.piece(id);
        match self {
            Self::Bytes => out.extend_from_slice(piece),
            Self::Sentencepiece { strip_first } => match byte_piece(vocab, id) {
                Some(byte) => out.push(byte),
                None => append_spaced(piece, is_first && *strip_first, out),
            },
            Self::Words { prefix, cleanup } => {
                let word = String::from_utf8_lossy(piece);
                out.extend_from_slice(spell_word(&word, prefix, *cleanup, is_first).as_bytes());
            }
        }
    }
}

/// The byte that a piece such as `<0x0A>` stands for.
fn byte_piece(vocab: &Vocab, id: u32) -> Option<u8> {
    if vocab.kind(id) != Some(Kind::Byte) {
        return None;
    }
    byte_of(vocab.piece(id))
}

/// Reads `<0x0A>`.
pub(crate) fn byte_of(piece: &[u8]) -> Option<u8> {
    let hex = std::str::from_utf8(piece.strip_prefix(b"<0x")?.strip_suffix(b">")?).ok()?;
    if hex.len() == 2 { u8::from_str_radix(hex, 16).ok() } else { None }
}

fn append_spaced(piece: &[u8], strip: bool, out: &mut Vec<u8>) {
    const BLOCK: &[u8] = "\u{2581}".as_bytes();
    let mut rest = piece;
    if strip {
        rest = rest.strip_prefix(BLOCK).or_else(|| rest.strip_prefix(b" ")).unwrap_or(rest);
    }
    while let Some((&byte, after)) = rest.split_first() {
        match rest.strip_prefix(BLOCK) {
            Some(after) => {
                out.push(b' ');
                rest = after;
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
}

/// As the `WordPiece` decoder of Hugging Face's tokenizers.
fn spell_word(word: &str, prefix: &str, cleanup: bool, is_first: bool) -> String {
    const TIGHT: [&str; 9] = [" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're"];
    let spaced = match word.strip_prefix(prefix) {
        _ if is_first => word.to_owned(),
        Some(rest) if !prefix.is_empty() => rest.to_owned(),
        _ => format!(" {word}"),
    };
    if !cleanup {
        return spaced;
    }
    TIGHT.iter().fold(spaced, |text, tight| text.replace(tight, &tight[1..]))
}

/// Turns ids into text one by one.
#[derive(Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    shown: Shown,
    pending: Vec<u8>,
    is_first: bool,
}

impl TextStream {
    pub(crate) fn new(tokenizer: Tokenizer, shown: Shown) -> Self {
        Self { tokenizer, shown, pending: Vec::new(), is_first: true }
    }

    /// The stream goes on after other text: a word's own space at the start stays.
    #[must_use]
    pub fn continuing(mut self) -> Self {
        self.is_first = false;
        self
    }

    /// The text that is certain once `id` is known; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> String {
        if self.shown == Shown::Text && self.tokenizer.is_special(id) {
            return String::new();
        }
        self.tokenizer.append(id, self.is_first, &mut self.pending);
        self.is_first = false;
        self.take_whole_characters()
    }

    /// What is left: a replacement character if the stream ended inside a character.
    pub fn finish(mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }

    fn take_whole_characters(&mut self) -> String {
        let mut text = String::new();
        let mut done = 0;
        while let Err(error) = std::str::from_utf8(&self.pending[done..]) {
            let valid = done + error.valid_up_to();
            text.push_str(&String::from_utf8_lossy(&self.pending[done..valid]));
            let Some(bad) = error.error_len() else {
                self.pending.drain(..valid);
                return text;
            };
            text.push(char::REPLACEMENT_CHARACTER);
            done = valid + bad;
        }
        text.push_str(&String::from_utf8_lossy(&self.pending[done..]));
        self.pending.clear();
        text
    }
}
