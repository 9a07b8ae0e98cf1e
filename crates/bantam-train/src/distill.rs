//! Learning from another model's predictions, computed as they are needed.

use std::ops::Range;

use bantam_model::{Machine, Model};
use bantam_tensor::kernels::backward::{DivergenceRows, cross_entropy, divergence};

use crate::example::{self, Example};
use crate::packed::Packed;
use crate::pass::{Pass, Setting};
use crate::pool::Pool;
use crate::{Divergence, Error, Evaluation, Settings, StepReport, Trainer, Wanted};

/// What is learnt of a teacher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// The distance that is made small.
    pub divergence: Divergence,
    /// What logits of both are divided by.
    pub temperature: f32,
    /// How much of the loss is the plain one of the next token, from 0 to 1.
    pub hard_share: f32,
}

impl Trainer {
    /// Learns from all examples at once what a teacher with the same vocabulary predicts in the place of each token
    /// that carries loss.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`], and a teacher with another vocabulary.
    pub fn step_distill(
        &mut self,
        machine: &Machine,
        teacher: &Model,
        how: Distillation,
        examples: &[&Example],
    ) -> Result<StepReport, Error> {
        self.check_teacher(teacher)?;
        self.step_by(machine, examples, |trainer, packed, micro, share| {
            let plain = Packed::shared(teacher, micro, None);
            trainer.distill(machine, teacher, how, (packed, &plain), share)
        })
    }

    /// The distance from a teacher, as [`Trainer::step_distill`] makes it small, without learning.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step_distill`].
    pub fn evaluate_distill(
        &mut self,
        machine: &Machine,
        teacher: &Model,
        how: Distillation,
        examples: &[&Example],
    ) -> Result<Evaluation, Error> {
        self.check_teacher(teacher)?;
        let learnt_tokens = example::check(examples)?;
        let loss = self.asked(|trainer| {
            let mut loss = 0.0;
            for micro in example::micro_batches(examples, trainer.settings.micro_tokens) {
                let packed = Packed::shared(&trainer.model, micro, trainer.adapter.as_ref());
                let plain = Packed::shared(teacher, micro, None);
                let mut teaching = Teaching::new(machine, teacher, how, &plain, &trainer.settings)?;
                let mut pass = trainer.forward(machine, &packed, &Wanted::Nothing)?;
                pass.head(&packed.rows, |rows, student| {
                    teaching.turn(rows.clone(), student, &packed.targets[rows], 1.0);
                })?;
                trainer.pool = pass.into_pool();
                loss += teaching.loss()?;
            }
            Ok(loss)
        })?;
        Ok(Evaluation { loss: loss / learnt_tokens as f64, learnt_tokens })
    }

    fn check_teacher(&self, teacher: &Model) -> Result<(), Error> {
        let [ours, theirs] = [&self.model, teacher].map(|model| model.description.vocab_size);
        if ours == theirs {
            return Ok(());
        }
        let reason =
            format!("has a vocabulary of {theirs} tokens; wanted {ours}, as the model that learns has");
        Err(Error::Setting { name: "teacher", reason })
    }

    /// Adds the gradients of a micro-batch, each token's times `share`; gives the sum of the losses.
    fn distill(
        &mut self,
        machine: &Machine,
        teacher: &Model,
        how: Distillation,
        (packed, plain): (&Packed, &Packed),
        share: f64,
    ) -> Result<f64, Error> {
        if packed.targets.is_empty() {
            return Ok(0.0);
        }
        let mut teaching = Teaching::new(machine, teacher, how, plain, &self.settings)?;
        let wanted = self.settings.wanted.clone();
        let mut gradients = std::mem::take(&mut self.gradients);
        let mut pass = self.forward(machine, packed, &wanted)?;
        pass.head_and_back(&packed.rows, &mut gradients, |rows, student| {
            teaching.turn(rows.clone(), student, &packed.targets[rows], share);
        })?;
        let loss = teaching.loss()?;
        pass.backward(&mut gradients);
        (self.pool, self.gradients) = (pass.into_pool(), gradients);
        Ok(loss)
    }
}

/// A teacher's pass over a micro-batch, and what came of it.
struct Teaching<'a> {
    machine: &'a Machine,
    how: Distillation,
    plain: &'a Packed,
    pass: Pass<'a>,
    loss: f64,
    failed: Result<(), Error>,
}

impl<'a> Teaching<'a> {
    fn new(
        machine: &'a Machine,
        teacher: &'a Model,
        how: Distillation,
        plain: &'a Packed,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let Settings { numerics, recompute, .. } = *settings;
        let wanted = &Wanted::Nothing;
        let setting = Setting { machine, model: teacher, wanted, numerics, recompute, apart: false };
        let pass = Pass::forward(setting, &plain.batch, Pool::default())?;
        Ok(Teaching { machine, how, plain, pass, loss: 0.0, failed: Ok(()) })
    }

    /// Turns a student's logits of some rows into their gradient, and adds the losses.
    fn turn(&mut self, rows: Range<usize>, student: &mut [f32], targets: &[u32], share: f64) {
        let Teaching { machine, how, plain, pass, loss, failed } = self;
        let shown = pass.head(&plain.rows[rows], |part, teacher| {
            let width = teacher.len() / part.len();
            let student = &mut student[part.start * width..part.end * width];
            *loss += turn(machine, *how, teacher, student, &targets[part], share);
        });
        if shown.is_err() {
            *failed = shown;
        }
    }

    /// The sum of the losses.
    fn loss(self) -> Result<f64, Error> {
        self.failed.map(|()| self.loss)
    }
}

/// Turns a student's logits into their gradient; gives the sum of the losses.
fn turn(
    machine: &Machine,
    how: Distillation,
    teacher: &mut [f32],
    student: &mut [f32],
    targets: &[u32],
    share: f64,
) -> f64 {
    let mut losses = vec![0.0; targets.len()];
    let hard = f64::from(how.hard_share);
    let mut total = 0.0;
    let by_targets = (hard > 0.0).then(|| {
        let mut logits = student.to_vec();
        let weights = vec![(share * hard) as f32; targets.len()];
        cross_entropy(machine, &mut logits, targets, &weights, &mut losses);
        total += hard * losses.iter().sum::<f64>();
        logits
    });
    let weights = vec![(share * (1.0 - hard)) as f32; targets.len()];
    let rows = DivergenceRows { teacher, student: &mut *student, weights: &weights, losses: &mut losses };
    divergence(machine, how.divergence, how.temperature, rows);
    for (sum, gradient) in student.iter_mut().zip(by_targets.into_iter().flatten()) {
        *sum += gradient;
    }
    total + (1.0 - hard) * losses.iter().sum::<f64>()
}
