//! Small language models on hardware people own: the library's face.
//!
//! [`Loaded::open`] opens a model file or folder and gives everything that is needed to talk to it: the
//! [`Model`](bantam_model::Model), its [`Tokenizer`](bantam_text::Tokenizer), its chat template and the
//! settings that its makers recommend.
#![forbid(unsafe_code)]

mod load;

pub use bantam_engine as engine;
pub use bantam_hub as hub;
pub use bantam_model as model;
pub use bantam_tensor as tensor;
pub use bantam_text as text;

pub use load::{LoadError, Loaded, open_tokenizer};
