//! The loss of a batch, and the gradients of all weights.

use std::collections::BTreeMap;

use bantam_model::{Batch, Machine, Model, Want, forward};

use crate::loss::cross_entropy;
use crate::{Error, Tape, Var};

/// The loss of a batch, and the gradient of every weight.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The mean cross entropy of the next token, in nats, over all tokens but the last of each sequence.
    pub loss: f64,
    /// By the names of the checkpoint's tensors, each in the layout of its tensor. A tensor that is used
    /// twice, such as a tied head, has one entry.
    pub of: BTreeMap<String, Vec<f32>>,
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
    let batch = Prediction::new(model, batch)?;
    let (tape, logits) = batch.record(machine, model)?;
    let mut dy = tape.values(logits).to_vec();
    let loss = cross_entropy(&mut dy, &batch.targets);
    let of = tape.backward(logits, dy);
    match of.iter().find(|(_, of)| !of.iter().all(|x| x.is_finite())) {
        Some((name, _)) => Err(Error::NotFinite { name: name.clone() }),
        None => Ok(Gradients { loss, of }),
    }
}

/// The loss alone.
///
/// # Errors
///
/// As [`gradients`].
pub fn loss(machine: &Machine, model: &Model, batch: &[Vec<u32>]) -> Result<f64, Error> {
    let batch = Prediction::new(model, batch)?;
    let (tape, logits) = batch.record(machine, model)?;
    Ok(cross_entropy(&mut tape.values(logits).to_vec(), &batch.targets))
}

/// A batch that wants the logits of all rows that have a next token.
struct Prediction {
    batch: Batch,
    /// The next tokens, one for each wanted row.
    targets: Vec<u32>,
}

impl Prediction {
    fn new(model: &Model, sequences: &[Vec<u32>]) -> Result<Self, Error> {
        if sequences.is_empty() {
            return Err(Error::EmptyBatch);
        }
        let mut this = Prediction { batch: Batch::default(), targets: Vec::new() };
        for (sequence, tokens) in sequences.iter().enumerate() {
            if tokens.len() < 2 {
                return Err(Error::ShortSequence { sequence, tokens: tokens.len() });
            }
            let begin = this.batch.tokens.len();
            this.batch.push(tokens, 0, tokens.len(), Want::Nothing);
            this.batch.wanted.extend(begin..begin + tokens.len() - 1);
            this.targets.extend(&tokens[1..]);
        }
        this.batch.check(model)?;
        Ok(this)
    }

    /// Runs the forward pass; gives the logits of the wanted rows, which are all numbers.
    fn record<'a>(&'a self, machine: &'a Machine, model: &Model) -> Result<(Tape<'a>, Var), Error> {
        let mut tape = Tape::new(machine, &self.batch)?;
        let logits = forward(&mut tape, model);
        let layers = model.description.layers.len();
        let finite = tape.values(logits).iter().all(|x| x.is_finite());
        match tape.fault.or((!finite).then_some(layers)) {
            Some(layer) => {
                Err(bantam_model::Error::NotFinite { what: "NaN or infinity", layer, layers }.into())
            }
            None => Ok((tape, logits)),
        }
    }
}
