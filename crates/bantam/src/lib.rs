//! Small language models on hardware people own: the library's face.
//!
//! [`Loaded::open`] opens a model file or folder; [`Session`] talks to it. What they are made of is here too:
//! the [`model`], the [`engine`] that runs it, its [`text`] and the [`hub`] that models come from.
#![forbid(unsafe_code)]

mod adapters;
mod merge;

mod defaults;
mod export;
mod load;
mod memory;
mod session;
mod write;

pub use bantam_engine as engine;
pub use bantam_grammar as grammar;
pub use bantam_hub as hub;
pub use bantam_model as model;
pub use bantam_tensor as tensor;
pub use bantam_text as text;

pub use adapters::{WantedAdapter, virtual_tokens};
pub use defaults::{Defaults, Origin};
pub use export::export_gguf;
pub use load::{LoadError, Loaded, open_tokenizer};
pub use memory::{MemoryNeed, decode_bytes};
pub use merge::Merged;
pub use session::{
    Answer, Chunk, Ended, Message, Mode, Options, Reply, Role, Session, SessionError, Summary, Timings,
    WhenFull,
};
pub use write::{WriteError, write_model};
