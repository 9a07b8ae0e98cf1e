//! Learning from another model's predictions, computed as they are needed.

use bantam_model::{Machine, Model};
use bantam_tensor::kernels::backward::{DivergenceRows, cross_entropy, divergence};

use crate::example::Example;
use crate::packed::Packed;
use crate::pass::{Pass, Setting};
use crate::pool::Pool;
use crate::{Divergence, Error, Settings, StepReport, Trainer, Wanted};

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
        let [ours, theirs] = [&self.model, teacher].map(|model| model.description.vocab_size);
        if ours != theirs {
            let reason =
                format!("has a vocabulary of {theirs} tokens; wanted {ours}, as the model that learns has");
            return Err(Error::Setting { name: "teacher", reason });
        }
        self.step_by(machine, examples, |trainer, packed, micro, share| {
            let plain = Packed::shared(teacher, micro, None);
            trainer.distill(machine, teacher, how, (packed, &plain), share)
        })
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
        let Settings { numerics, recompute, .. } = self.settings;
        let wanted = &Wanted::Nothing;
        let setting = Setting { machine, model: teacher, wanted, numerics, recompute, apart: false };
        let mut teaching = Pass::forward(setting, &plain.batch, Pool::default())?;
        let wanted = self.settings.wanted.clone();
        let mut gradients = std::mem::take(&mut self.gradients);
        let mut pass = self.forward(machine, packed, &wanted)?;
        let (mut loss, mut failed) = (0.0, Ok(()));
        pass.head_and_back(&packed.rows, &mut gradients, |rows, student| {
            let chosen = &plain.rows[rows.clone()];
            let targets = &packed.targets[rows];
            let shown = teaching.head(chosen, |part, teacher| {
                let width = teacher.len() / part.len();
                let student = &mut student[part.start * width..part.end * width];
                loss += turn(machine, how, teacher, student, &targets[part], share);
            });
            if let Err(error) = shown {
                failed = Err(error);
            }
        })?;
        failed?;
        pass.backward(&mut gradients);
        (self.pool, self.gradients) = (pass.into_pool(), gradients);
        Ok(loss)
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
