//! The tape: the same forward pass, recorded, with its gradients.
//!
//! * [`Tape`] implements [`bantam_model::Ops`]: [`bantam_model::forward`] runs on it unchanged, and every
//!   operation is recorded together with its derivative.
//! * [`gradients`] gives the loss of a batch and the gradients of all weights, in f32, from weights in any
//!   storage.
//! * [`sgd`] is plain gradient descent, enough to show that what runs is what learns.
//!
//! There is no second forward pass of anything here, and no text: tokens come in as ids. Results are the
//! same bits on any number of threads.
#![forbid(unsafe_code)]

pub mod sgd;

mod angles;
mod error;
mod gradients;
mod loss;
mod ops;
mod primitives;
mod tape;

pub use error::Error;
pub use gradients::{Gradients, gradients, loss};
pub use tape::{Tape, Var};
