//! Requests to scheduled batches to sampled tokens.
//!
//! [`Engine::start`] gives a thread a model; [`Engine::submit`] hands it a [`Request`] and returns the
//! [`Stream`] of its [`Event`]s. All that run, evaluate or serve go through these two calls. The engine
//! knows token ids only: no text, no network, no clock but the one it is given.
//!
//! A request's tokens depend on the request alone: not on who else is in the batch, on how its prompt was
//! cut into steps, on what was reused or guessed, or on the number of threads.
#![forbid(unsafe_code)]

mod clients;
mod engine;
mod error;
mod gauges;
mod inbox;
mod pace;
mod pooling;
mod request;
pub mod sampling;
mod scheduler;
mod sequence;
mod settings;
mod speculation;
mod stream;
mod tree;

pub use bantam_model::Adapter;
pub use engine::Engine;
pub use error::Error;
pub use gauges::Figures;
pub use pooling::Pooling;
pub use request::{Event, Overflow, PromptOutput, Reason, Request, Stopping, Usage};
pub use sampling::Sampling;
pub use settings::{Memory, Settings, Speculation};
pub use stream::Stream;
