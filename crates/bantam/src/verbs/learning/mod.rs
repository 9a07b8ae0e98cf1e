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
mod samples;
mod show;
mod tensorboard;
mod trial;

pub(crate) use batches::{BatchSize, Batches};
pub(crate) use course::{Course, End, Evaluated, Route, best, validation_losses};
pub(crate) use folder::{Folder, Keep};
pub(crate) use lessons::{Lessons, Sides, Teacher};
pub(crate) use page::{Page, table};
pub(crate) use samples::Sampler;
pub(crate) use tensorboard::EventFile;
pub(crate) use trial::Trial;

use bantam_train::Example;

/// Examples as a trainer takes them.
pub(crate) fn learnt(examples: Vec<bantam_data::Example>) -> Vec<Example> {
    examples.into_iter().map(|example| Example { ids: example.ids, learn: example.learn }).collect()
}
