//! `bantam grads` and `bantam sgd`: that the decoder which runs is the one that learns. For checks.

use std::io::Write;

use anyhow::Result;
use bantam::Loaded;
use bantam_train::{gradients, sgd};
use serde_json::{Map, Value, json};

use crate::args::{BatchArgs, SgdArgs};
use crate::models::Models;
use crate::print::print_json;

/// Prints the loss and the norm of each gradient.
pub(crate) fn grads(args: &BatchArgs, models: &Models) -> Result<()> {
    let loaded = Loaded::open(&models.locate(&args.model)?)?;
    let gradients = gradients(&args.machine.machine(), &loaded.model, &args.batch.0)?;
    let norms = gradients.norms();
    if args.json {
        let of = norms.iter().map(|(name, norm)| ((*name).to_owned(), json!({ "norm": norm })));
        return print_json(&json!({ "loss": gradients.loss, "grads": of.collect::<Map<String, Value>>() }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "loss {:.6}", gradients.loss)?;
    for (name, norm) in norms {
        writeln!(out, "{norm:>12.6e}  {name}")?;
    }
    Ok(())
}

/// Prints the loss before each step.
pub(crate) fn descend(args: &SgdArgs, models: &Models) -> Result<()> {
    let batch = &args.batch;
    let loaded = Loaded::open(&models.locate(&batch.model)?)?;
    let machine = batch.machine.machine();
    let mut model = sgd::trainable(&loaded.model)?;
    let mut losses = Vec::with_capacity(args.steps);
    for step in 0..args.steps {
        let gradients = gradients(&machine, &model, &batch.batch.0)?;
        losses.push(gradients.loss);
        sgd::descend(&mut model, &gradients, args.rate)?;
        if !batch.json {
            writeln!(std::io::stdout().lock(), "step {step:>4}  loss {:.6}", gradients.loss)?;
        }
    }
    if batch.json { print_json(&json!({ "losses": losses })) } else { Ok(()) }
}
