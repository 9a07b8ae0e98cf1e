//! The loop: batches of examples in, a changed model or adapter out.
//!
//! Which examples come in which order is the caller's affair, and so is the time that they take. A step follows from
//! the state before it and the examples alone: a trainer that was stored and restored goes on with the same bits.

use std::ops::Range;
use std::sync::Arc;

use bantam_model::{Adapter, Machine, Model, Numerics};
use bantam_tensor::kernels::backward::cross_entropy;

use crate::example::{self, Example};
use crate::gradients::check_finite;
use crate::optimizer::Optimizer;
use crate::packed::Packed;
use crate::parameters::{self, Parameter};
use crate::pass::{Pass, Recompute, Setting};
use crate::pool::Pool;
use crate::tape::TensorGradients;
use crate::{Error, Rule, Schedule, Wanted};

/// How a trainer learns.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which tensors.
    pub wanted: Wanted,
    /// Which way from the gradients.
    pub rule: Rule,
    /// How far.
    pub schedule: Schedule,
    /// The length that all gradients together have at most.
    pub clip: Option<f32>,
    /// Tokens that go through the model together, at most; a longer example goes alone. Bounds the memory, and
    /// changes results by rounding alone.
    pub micro_tokens: usize,
    /// How products with quantised weights are rounded.
    pub numerics: Numerics,
    /// What is computed twice rather than kept.
    pub recompute: Recompute,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The loss before the step: the mean over the learnt tokens, in nats, or over the pairs.
    pub loss: f64,
    /// The length of all gradients together, before it was clipped.
    pub grad_norm: f64,
    /// The learning rate.
    pub rate: f32,
    /// Tokens of the examples; those of beginnings that several share went through the model once.
    pub tokens: usize,
    /// Those that carried loss.
    pub learnt_tokens: usize,
}

/// How well tokens are predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean over the learnt tokens, in nats.
    pub loss: f64,
    /// How many they are.
    pub learnt_tokens: usize,
}

/// A model or an adapter that learns.
pub struct Trainer {
    pub(crate) model: Model,
    pub(crate) adapter: Option<Arc<Adapter>>,
    pub(crate) settings: Settings,
    pub(crate) optimizer: Optimizer,
    /// Examples that were learnt from.
    pub(crate) examples: u64,
    pub(crate) gradients: TensorGradients,
    pub(crate) pool: Pool,
    /// Whether the gradients of an adapter are kept apart by examples.
    pub(crate) apart: bool,
    /// Examples whose gradients were held apart at most.
    pub(crate) apart_most: usize,
    /// Bytes that passes without a way back held at most.
    asked_bytes: usize,
}

impl Trainer {
    /// A trainer at its beginning. Tensors of the model that learn become f32 in memory of their own.
    ///
    /// # Errors
    ///
    /// Settings that leave nothing to learn or mean nothing.
    pub fn new(mut model: Model, adapter: Option<Adapter>, settings: Settings) -> Result<Self, Error> {
        check(&settings)?;
        if parameters::list(&model, adapter.as_ref(), &settings.wanted).is_empty() {
            let reason = "leaves nothing to learn; name tensors of this model, or give an adapter".into();
            return Err(Error::Setting { name: "wanted", reason });
        }
        if adapter.as_ref().is_some_and(Adapter::has_magnitudes) && settings.wanted != Wanted::Adapter {
            let reason =
                "names weights beside rows' lengths (DoRA), which are those of frozen weights".into();
            return Err(Error::Setting { name: "wanted", reason });
        }
        parameters::update(&mut model, None, &settings.wanted, |_, _| Ok(()))?;
        let optimizer = Optimizer::new(settings.rule);
        let adapter = adapter.map(Arc::new);
        let (gradients, pool) = (TensorGradients::new(), Pool::default());
        Ok(Trainer {
            model,
            adapter,
            settings,
            optimizer,
            examples: 0,
            gradients,
            pool,
            apart: false,
            apart_most: 0,
            asked_bytes: 0,
        })
    }

    /// The model as it is now.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The adapter as it is now.
    pub fn adapter(&self) -> Option<&Arc<Adapter>> {
        self.adapter.as_ref()
    }

    /// How it learns.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.optimizer.steps
    }

    /// Examples so far: where to go on in the data.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// The tensors that learn, in the order in which they are stored.
    pub fn parameters(&self) -> Vec<Parameter> {
        parameters::list(&self.model, self.adapter.as_deref(), &self.settings.wanted)
    }

    /// Bytes of activations and their gradients that were held at most, so far.
    pub fn activation_bytes(&self) -> usize {
        self.pool.peak_bytes().max(self.asked_bytes)
    }

    /// Examples whose gradients were held beside each other at most, so far: private steps do that.
    pub fn examples_apart(&self) -> usize {
        self.apart_most
    }

    /// Of the micro-batches that a step or an evaluation cuts these examples into the one with the most rows: how many,
    /// and which examples it has. Beginnings that several share are there once.
    pub fn fullest(&self, examples: &[&Example]) -> (usize, Range<usize>) {
        let micro = example::micro_batches(examples, self.settings.micro_tokens);
        self.fullest_of(micro.map(|micro| (micro.len(), micro.to_vec())))
    }

    /// The one with the most rows of groups of examples, each with how many places it takes.
    pub(crate) fn fullest_of<'e>(
        &self,
        groups: impl Iterator<Item = (usize, Vec<&'e Example>)>,
    ) -> (usize, Range<usize>) {
        let mut end = 0;
        let with_rows = groups.map(|(places, examples)| {
            end += places;
            let packed = Packed::shared(&self.model, &examples, self.adapter.as_ref());
            (packed.batch.tokens.len(), end - places..end)
        });
        with_rows.max_by_key(|(rows, _)| *rows).unwrap_or_default()
    }

    /// Gives the memory of steps back to the system, for others who are at work before the next step.
    pub fn rest(&mut self) {
        self.pool.shrink();
        self.gradients.clear();
        bantam_tensor::kernels::memory::give_back();
    }

    /// Learns to predict the next tokens, from all examples at once: the gradient of the mean loss over all tokens
    /// that carry loss, however the examples are cut into micro-batches.
    ///
    /// # Errors
    ///
    /// Examples without anything to learn, or with tokens or positions that the model does not have; activations or
    /// gradients that are no longer numbers. Nothing has changed then.
    pub fn step(&mut self, machine: &Machine, examples: &[&Example]) -> Result<StepReport, Error> {
        self.step_by(machine, examples, |trainer, packed, _, share| {
            let weights = vec![share as f32; packed.targets.len()];
            let losses = trainer.accumulate(machine, packed, |_, _| Ok(weights))?;
            Ok(losses.iter().sum())
        })
    }

    /// A step over all micro-batches. `learn` adds the gradients of one, each token's times a share, and gives the sum
    /// of its losses.
    pub(crate) fn step_by(
        &mut self,
        machine: &Machine,
        examples: &[&Example],
        mut learn: impl FnMut(&mut Self, &Packed, &[&Example], f64) -> Result<f64, Error>,
    ) -> Result<StepReport, Error> {
        let learnt_tokens = example::check(examples)?;
        let share = 1.0 / learnt_tokens as f64;
        self.clear_gradients();
        let (mut loss, mut tokens) = (0.0, 0);
        for micro in example::micro_batches(examples, self.settings.micro_tokens) {
            let packed = Packed::shared(&self.model, micro, self.adapter.as_ref());
            loss += learn(self, &packed, micro, share)?;
            tokens += packed.tokens;
        }
        let (grad_norm, rate) = self.descend(machine)?;
        self.examples += examples.len() as u64;
        Ok(StepReport { loss: loss * share, grad_norm, rate, tokens, learnt_tokens })
    }

    /// The loss of the next tokens, without learning.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`].
    pub fn evaluate(&mut self, machine: &Machine, examples: &[&Example]) -> Result<Evaluation, Error> {
        let learnt_tokens = example::check(examples)?;
        let loss = self.asked(|trainer| {
            let mut loss = 0.0;
            for micro in example::micro_batches(examples, trainer.settings.micro_tokens) {
                let packed = Packed::shared(&trainer.model, micro, trainer.adapter.as_ref());
                loss += trainer.losses(machine, &packed)?.iter().sum::<f64>();
            }
            Ok(loss)
        })?;
        Ok(Evaluation { loss: loss / learnt_tokens as f64, learnt_tokens })
    }

    /// Passes without a way back, in memory that is given back. They have more rows than those of steps often do, and
    /// buffers as long as theirs for all that a step keeps would be far more than either needs.
    pub(crate) fn asked<T>(&mut self, ask: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.pool.shrink();
        let learning = std::mem::take(&mut self.pool);
        let answer = ask(self);
        let asking = std::mem::replace(&mut self.pool, learning);
        self.asked_bytes = self.asked_bytes.max(asking.peak_bytes());
        drop(asking);
        bantam_tensor::kernels::memory::give_back();
        answer
    }

    /// The loss of each target.
    pub(crate) fn losses(&mut self, machine: &Machine, packed: &Packed) -> Result<Vec<f64>, Error> {
        let mut losses = vec![0.0; packed.targets.len()];
        let mut pass = self.forward(machine, packed, &Wanted::Nothing)?;
        show_losses(machine, &mut pass, packed, &mut losses)?;
        self.pool = pass.into_pool();
        Ok(losses)
    }

    /// Adds the gradients of the targets' losses, each times its weight; gives the losses. `weigh` may run through the
    /// head ([`show_losses`]) where the weights follow from the losses.
    pub(crate) fn accumulate(
        &mut self,
        machine: &Machine,
        packed: &Packed,
        weigh: impl FnOnce(&mut Pass<'_>, &mut [f64]) -> Result<Vec<f32>, Error>,
    ) -> Result<Vec<f64>, Error> {
        let mut losses = vec![0.0; packed.targets.len()];
        let wanted = self.settings.wanted.clone();
        let mut gradients = std::mem::take(&mut self.gradients);
        let mut pass = self.forward(machine, packed, &wanted)?;
        let weights = weigh(&mut pass, &mut losses)?;
        pass.head_and_back(&packed.rows, &mut gradients, |rows, logits| {
            let (targets, weights) = (&packed.targets[rows.clone()], &weights[rows.clone()]);
            cross_entropy(machine, logits, targets, weights, &mut losses[rows]);
        })?;
        pass.backward(&mut gradients);
        (self.pool, self.gradients) = (pass.into_pool(), gradients);
        Ok(losses)
    }

    /// Takes the memory of the pass before.
    pub(crate) fn forward<'a>(
        &'a mut self,
        machine: &'a Machine,
        packed: &'a Packed,
        wanted: &'a Wanted,
    ) -> Result<Pass<'a>, Error> {
        let Settings { numerics, recompute, .. } = self.settings;
        let setting = Setting { machine, model: &self.model, wanted, numerics, recompute, apart: self.apart };
        let mut pool = std::mem::take(&mut self.pool);
        pool.begin(packed.batch.tokens.len());
        Pass::forward(setting, &packed.batch, pool)
    }

    pub(crate) fn clear_gradients(&mut self) {
        self.gradients.values_mut().for_each(|gradient| gradient.fill(0.0));
    }

    /// What follows from an adapter that has changed.
    pub(crate) fn settle(&mut self, machine: &Machine) {
        if let Some(adapter) = self.adapter.as_mut().filter(|adapter| adapter.has_magnitudes()) {
            Arc::make_mut(adapter).settle(machine, &self.model);
        }
    }

    /// Takes a step by the gradients; gives their length and the rate.
    pub(crate) fn descend(&mut self, machine: &Machine) -> Result<(f64, f32), Error> {
        check_finite(&self.gradients)?;
        let square = |of: &Vec<f32>| of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let norm = self.gradients.values().map(square).sum::<f64>().sqrt();
        let too_long = self.settings.clip.map(f64::from).filter(|clip| norm > *clip);
        if let Some(clip) = too_long {
            // As `torch.nn.utils.clip_grad_norm_` has it.
            let factor = (clip / (norm + 1e-6)) as f32;
            self.gradients.values_mut().flatten().for_each(|x| *x *= factor);
        }
        let rate = self.settings.schedule.at(self.optimizer.steps);
        self.optimizer.steps += 1;
        let (gradients, optimizer) = (&self.gradients, &mut self.optimizer);
        let adapter = self.adapter.as_mut().map(Arc::make_mut);
        parameters::update(&mut self.model, adapter, &self.settings.wanted, |parameter, values| {
            // What no row of the batch leads to has no gradient, and stays.
            if let Some(gradient) = gradients.get(&parameter.name) {
                optimizer.update(machine, parameter, values, gradient, rate);
            }
            Ok(())
        })?;
        self.settle(machine);
        Ok((norm, rate))
    }
}

/// Runs through the head alone; gives the loss of each target.
pub(crate) fn show_losses(
    machine: &Machine,
    pass: &mut Pass<'_>,
    packed: &Packed,
    losses: &mut [f64],
) -> Result<(), Error> {
    pass.head(&packed.rows, |rows, logits| {
        let weights = vec![0.0; rows.len()];
        cross_entropy(machine, logits, &packed.targets[rows.clone()], &weights, &mut losses[rows]);
    })
}

fn check(settings: &Settings) -> Result<(), Error> {
    let refuse = |name, reason: String| Err(Error::Setting { name, reason });
    if settings.wanted == Wanted::Nothing {
        return refuse("wanted", "is nothing; wanted an adapter or weights".into());
    }
    if !(settings.schedule.rate.is_finite() && settings.schedule.rate >= 0.0) {
        return refuse("rate", format!("is {}; wanted a number from 0 on", settings.schedule.rate));
    }
    if let Some(clip) = settings.clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
        return refuse("clip", format!("is {clip}; wanted a number above 0"));
    }
    Ok(())
}
