//! Tokenisers and chat templates: strings to ids and back.
//!
//! A [`Tokenizer`] is read from a `tokenizer.json`, a SentencePiece `tokenizer.model`, a tiktoken rank file
//! or the metadata of a GGUF file. A [`ChatTemplate`] turns a conversation into the text, or straight into
//! the ids, that a model was trained on. Nothing here sees a tensor, a path or the network: inputs are bytes,
//! strings and JSON values. A [`BpeTrainer`] makes a tokeniser of text.
#![forbid(unsafe_code)]

mod added;
mod bytes;
mod charsmap;
mod dialect;
mod error;
mod from;
mod model;
mod normalize;
mod pattern;
mod pretokenize;
mod slots;
mod spelling;
mod stops;
mod stream;
mod template;
#[cfg(test)]
mod testing;
mod tokenizer;
mod train;
mod vocab;

pub use added::Special;
pub use dialect::{Calling, Dialect, Given, Parser, Part, Stage, Telling, Thinking, ToLark, Tool};
pub use error::Error;
pub use from::gguf::GgufVocab;
pub use from::texts::Texts;
pub use spelling::Shown;
pub use stops::{Scanned, StopStrings};
pub use stream::TextStream;
pub use template::{Answer, Begins, ChatTemplate, Conversation, DateTime, Rendered};
pub use tokenizer::{Piece, Roles, Tokenizer};
pub use train::{BpeSettings, BpeTrainer};
pub use vocab::Kind;
