//! The tape: the same forward pass, recorded, with its gradients; and the loop that learns with them.
//!
//! * [`Tape`] implements [`bantam_model::Ops`]: [`bantam_model::forward()`] runs on it unchanged, and every
//!   operation is recorded together with its derivative.
//! * [`gradients`] gives the loss of a batch and the gradients of all weights, in f32, from weights in any
//!   storage.
//! * [`Trainer`] learns from [`Example`]s: an adapter ([`Lora`], [`prefix_of`]) beside frozen weights in any storage, or the
//!   weights.
//! * [`sgd`] is plain gradient descent, enough to show that what runs is what learns.
//!
//! There is no second forward pass of anything here, and no text: tokens come in as ids. Results are the
//! same bits on any number of threads.
#![forbid(unsafe_code)]

pub mod sgd;

mod angles;
mod distill;
mod drawn;
mod error;
mod example;
mod gradients;
mod lora;
mod ops;
mod optimizer;
mod packed;
mod parameters;
mod pass;
mod plan;
mod pool;
mod preference;
mod prefix;
mod primitives;
mod private;
mod random;
mod reward;
mod schedule;
mod start;
mod state;
mod svd;
mod tape;
mod trainer;
mod wanted;

pub use bantam_tensor::kernels::backward::Divergence;
pub use distill::Distillation;
pub use drawn::{DRAWS_MAX, Draws, draw};
pub use error::Error;
pub use example::Example;
pub use gradients::{Gradients, gradients, loss};
pub use lora::{Lora, Scaling, Start, Variant};
pub use optimizer::{AdamW, Muon, Precision, Rule};
pub use parameters::{Kind, Parameter};
pub use pass::Recompute;
pub use plan::Plan;
pub use preference::{Pair, PairEvaluation, Preference};
pub use prefix::prefix_of;
pub use private::{Accountant, Noise, Privacy};
pub use reward::{Grpo, Rollout, advantages};
pub use schedule::{Decay, Schedule};
pub use start::start_of;
pub use tape::{Tape, TensorGradients, Var};
pub use trainer::{Evaluation, Settings, StepReport, Trainer};
pub use wanted::Wanted;
