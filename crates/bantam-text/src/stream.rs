//! From ids to text, at once or one by one.
//!
//! Invariant of [`TextStream`]: what it gave so far is always whole characters, and all it gives together is
//! what [`Tokenizer::to_text`] gives for all ids at once, however they are split.

use crate::spelling::Shown;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// The text of `ids`.
    pub fn to_text(&self, ids: &[u32], shown: Shown) -> String {
        let mut stream = self.stream(shown);
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text.push_str(&stream.finish());
        text
    }

    /// A stream from ids to text.
    pub fn stream(&self, shown: Shown) -> TextStream {
        TextStream::new(self.clone(), shown)
    }
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
