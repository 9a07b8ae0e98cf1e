//! What `bantam finetune` and `bantam train` share: the loop over steps and evaluations, the folder of a run with what it
//! needs to go on, what a person sees of it, and the page at its end.
//!
//! Invariant: what a run does follows from its arguments, its data and its state alone, so that a run that was killed
//! goes on with the same bits.

mod batches;
mod course;
mod folder;
mod lessons;
mod page;
mod private;
mod samples;
mod show;
mod tensorboard;
mod trial;

pub(crate) use batches::{BatchSize, Batches};
pub(crate) use course::{Course, End, Evaluated, Route, best, validation_losses};
pub(crate) use folder::{Folder, Keep};
pub(crate) use lessons::{Lessons, Sides, Teacher};
pub(crate) use page::{Page, table};
pub(crate) use private::{Private, private_batch};
pub(crate) use samples::Sampler;
pub(crate) use tensorboard::EventFile;
pub(crate) use trial::{Advice, Beginning, Instead, LOOKED_AT, Trial};

use bantam_engine::Settings;
use bantam_train::Example;

/// Bytes of ended answers' states that are kept for prompts that begin alike.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// An engine that answers while something is learnt, or in between: its states are no part of the memory that the run was
/// said to need.
pub(crate) fn beside_learning(settings: Settings) -> Settings {
    Settings { kept_bytes_max: KEPT_BYTES_MAX, ..settings }
}

/// Examples as a trainer takes them.
pub(crate) fn learnt(examples: Vec<bantam_data::Example>) -> Vec<Example> {
    examples.into_iter().map(|example| Example { ids: example.ids, learn: example.learn }).collect()
}
