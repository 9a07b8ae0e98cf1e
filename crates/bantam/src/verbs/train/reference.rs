//! How hard texts are, by the loss of another model.

use anyhow::Result;
use bantam::Loaded;
use bantam_data::Example;
use bantam_model::Machine;
use bantam_text::{Shown, Special};

use crate::progress::bar;

/// The loss of each example's text in nats for each byte, so that vocabularies do not matter.
pub(super) fn losses(
    machine: &Machine,
    reference: &Loaded,
    learner: &Loaded,
    examples: &[Example],
) -> Result<Vec<f64>> {
    let (theirs, ours) = (reference.tokenizer()?, learner.tokenizer()?);
    let context = reference.model.description.context_length;
    let progress = bar(examples.len() as u64);
    let mut losses = Vec::with_capacity(examples.len());
    for example in examples {
        let text = ours.to_text(&example.ids, Shown::Text);
        let mut ids = theirs.begin(theirs.to_ids(&text, Special::AsText)?);
        ids.truncate(context);
        let tokens = ids.len().saturating_sub(1);
        let loss = match tokens {
            0 => 0.0,
            _ => bantam_train::loss(machine, &reference.model, &[ids])? * tokens as f64,
        };
        losses.push(loss / text.len().max(1) as f64);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(losses)
}
