//! The loss of a batch, and the gradients of all weights.

use std::collections::BTreeMap;
use std::ops::Range;

use bantam_model::{Batch, Machine, Model, Numerics, Want};
use bantam_tensor::kernels::backward::cross_entropy;

use crate::pass::{Pass, Recompute, Setting};
use crate::pool::Pool;
use crate::tape::TensorGradients;
use crate::{Error, Wanted};

/// The loss of a batch, and the gradient of every weight.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The mean cross entropy of the next token, in nats, over all tokens but the last of each sequence.
    pub loss: f64,
    /// By the names of the checkpoint's tensors, each in the layout of its tensor. A tensor that is used
    /// twice, such as a tied head, has one entry.
    pub of: TensorGradients,
}

impl Gradients {
    /// The Euclidean norm of each gradient.
    pub fn norms(&self) -> BTreeMap<&str, f64> {
        let norm = |of: &[f32]| of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        self.of.iter().map(|(name, of)| (name.as_str(), norm(of))).collect()
    }
}

/// The loss of a batch of sequences, each on its own from position 0, and the gradients of all weights.
///
/// # Errors
///
/// No sequences, or one without a token to predict; tokens or positions that the model does not have;
/// activations or gradients that are no longer numbers.
pub fn gradients(machine: &Machine, model: &Model, batch: &[Vec<u32>]) -> Result<Gradients, Error> {
    let mut of = TensorGradients::new();
    let loss = run(machine, model, batch, &Wanted::All, &mut of)?;
    check_finite(&of)?;
    Ok(Gradients { loss, of })
}

/// The loss alone.
///
/// # Errors
///
/// As [`gradients`].
pub fn loss(machine: &Machine, model: &Model, batch: &[Vec<u32>]) -> Result<f64, Error> {
    run(machine, model, batch, &Wanted::Nothing, &mut TensorGradients::new())
}

/// Refuses gradients that are no longer numbers.
pub(crate) fn check_finite(gradients: &TensorGradients) -> Result<(), Error> {
    let finite = |of: &[f32]| of.iter().fold(true, |all, x| all & x.is_finite());
    match gradients.iter().find(|(_, of)| !finite(of)) {
        Some((name, _)) => Err(Error::NotFinite { name: name.clone() }),
        None => Ok(()),
    }
}

fn run(
    machine: &Machine,
    model: &Model,
    sequences: &[Vec<u32>],
    wanted: &Wanted,
    tensors: &mut TensorGradients,
) -> Result<f64, Error> {
    let (batch, targets) = prediction(sequences)?;
    let (numerics, recompute) = (Numerics::Exact, Recompute::Layers);
    let setting = Setting { machine, model, wanted, numerics, recompute, apart: false };
    let mut pass = Pass::forward(setting, &batch, Pool::default())?;
    let share = 1.0 / targets.len() as f64;
    let mut losses = vec![0.0; targets.len()];
    let turn = |rows: Range<usize>, logits: &mut [f32]| {
        let weights = vec![share as f32; rows.len()];
        cross_entropy(machine, logits, &targets[rows.clone()], &weights, &mut losses[rows]);
    };
    match wanted {
        Wanted::Nothing => pass.head(&batch.wanted, turn)?,
        _ => pass.head_and_back(&batch.wanted, tensors, turn)?,
    }
    pass.backward(tensors);
    Ok(losses.iter().sum::<f64>() * share)
}

/// A batch that wants the logits of all rows that have a next token, and these tokens.
fn prediction(sequences: &[Vec<u32>]) -> Result<(Batch, Vec<u32>), Error> {
    if sequences.is_empty() {
        return Err(Error::EmptyBatch);
    }
    let (mut batch, mut targets) = (Batch::default(), Vec::new());
    for (sequence, tokens) in sequences.iter().enumerate() {
        if tokens.len() < 2 {
            return Err(Error::ShortSequence { sequence, tokens: tokens.len() });
        }
        let begin = batch.tokens.len();
        batch.push(tokens, 0, tokens.len(), Want::Nothing);
        batch.wanted.extend(begin..begin + tokens.len() - 1);
        targets.extend(&tokens[1..]);
    }
    Ok((batch, targets))
}
