//! From ids back to text: how pieces spell what they stand for.

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
