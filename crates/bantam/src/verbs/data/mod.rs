//! `bantam data`: training data looked at, answered by a model, and with a model's predictions.

pub(crate) mod answer;
pub(crate) mod inspect;
pub(crate) mod logits;

use anyhow::Result;
use bantam::Loaded;
use bantam_data::Encoder;

use crate::args::{DataArgs, DataVerb};
use crate::chat::now;
use crate::interrupt::Interrupt;
use crate::models::Models;

pub(crate) fn run(args: &DataArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    match &args.verb {
        DataVerb::Inspect(args) => inspect::run(args, models),
        DataVerb::Logits(args) => logits::run(args, models, interrupt),
        DataVerb::Answer(args) => answer::run(args, models, interrupt),
    }
}

/// Text to ids as a model reads it.
pub(crate) fn encoder(loaded: &Loaded) -> Result<Encoder> {
    let tokenizer = loaded.tokenizer()?;
    let template = loaded.template(&tokenizer)?;
    let mut encoder = Encoder::new(tokenizer, template);
    encoder.now = Some(now());
    Ok(encoder)
}
