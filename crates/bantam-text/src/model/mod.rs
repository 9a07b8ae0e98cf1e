//! From a word to ids: the four kinds of model.

pub(crate) mod bpe;
pub(crate) mod merge;
pub(crate) mod spans;
pub(crate) mod unigram;
pub(crate) mod wordpiece;

use crate::vocab::Vocab;

/// How words become ids.
pub(crate) enum Model {
    /// Byte-pair encoding by a list of merges.
    Bpe(bpe::Bpe),
    /// Byte-pair encoding by the scores of the pieces: SentencePiece BPE and tiktoken.
    Spans(spans::Spans),
    /// The most probable segmentation.
    Unigram(unigram::Unigram),
    /// The longest known piece first.
    WordPiece(wordpiece::WordPiece),
}

impl Model {
    /// Appends the ids of `word`.
    pub(crate) fn ids(&self, vocab: &Vocab, word: &str, space: &mut merge::Workspace, ids: &mut Vec<u32>) {
        match self {
            Self::Bpe(model) => model.ids(vocab, word, space, ids),
            Self::Spans(model) => model.ids(vocab, word, space, ids),
            Self::Unigram(model) => model.ids(vocab, word, ids),
            Self::WordPiece(model) => model.ids(vocab, word, ids),
        }
    }
}

/// What stands for text that the vocabulary cannot spell.
pub(crate) struct Unknown {
    /// The ids of `<0x00>` to `<0xFF>`, for vocabularies with byte fallback.
    pub(crate) bytes: Option<Box<[u32; 256]>>,
    /// The id for the rest. Without one the text is left out, as in Hugging Face's tokenizers.
    pub(crate) id: Option<u32>,
    /// Whether neighbours become one.
    pub(crate) fuse: bool,
}

impl Unknown {
    /// Appends the ids for `text`. `after_unknown`: the text before it was unknown as well.
    pub(crate) fn ids(&self, text: &[u8], after_unknown: bool, ids: &mut Vec<u32>) {
        if let Some(bytes) = &self.bytes {
            ids.extend(text.iter().map(|&b| bytes[usize::from(b)]));
        } else if !(self.fuse && after_unknown) {
            ids.extend(self.id);
        }
    }
}
