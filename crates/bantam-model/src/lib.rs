//! The description of a decoder, the families, the operations, the forward pass.
//!
//! * [`Description`](description::Description) says what a model computes; `families` make one from a checkpoint's config.
//! * [`Model::bind`] finds the weights; they stay in the mapped file, in their own bits.
//! * [`forward()`] is the one forward pass, over [`Ops`]; [`Executor`] runs it on the processor.
//!
//! Nothing outside `families` knows the name of a family, and nothing here reads or writes a file.
#![forbid(unsafe_code)]

pub mod description;
pub mod forward;
pub mod rope;
pub mod weights;

mod adapter;
mod batch;
mod bind;
mod config;
mod error;
mod executor;
mod families;
mod gguf;
mod hash;
mod model;
mod names;
mod ops;
mod state;
mod stored;

pub use adapter::{Adapter, BaseCheck, KvPrefix, KvPrefixLayer, LowRank, Magnitude};
pub use bantam_tensor::kernels::attention::{KvStorage, PAGE};
pub use bantam_tensor::kernels::{Isa, Machine};
pub use batch::{Batch, Span, Want};
pub use bind::{BlankTensor, Start};
pub use config::Config;
pub use error::Error;
pub use executor::{Executor, Numerics, Outputs, Scratch};
pub use forward::forward;
pub use gguf::GgufParts;
pub use hash::fnv1a;
pub use model::Model;
pub use names::{Role, Site};
pub use ops::Ops;
pub use state::{Chunk, REWIND_MAX, State};
