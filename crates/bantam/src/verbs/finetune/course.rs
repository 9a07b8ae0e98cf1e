//! The loop: steps, evaluations, what is kept of them, and the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bantam::model::Adapter;
use bantam_data::Order;
use bantam_model::Machine;
use bantam_train::{Example, Noise, StepReport, Trainer};
use serde_json::{Value, json};

use super::folder::Folder;
use super::plan::Plan;
use super::private::Private;
use super::show::Show;
use crate::interrupt::Interrupt;

/// Examples that an evaluation looks at, at most.
const EVALUATED_MAX: usize = 256;

/// Why learning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All steps are done.
    Done,
    /// The validation loss did not fall any more.
    NoGain,
    /// Ctrl-C.
    Stopped,
}

/// A run under way.
pub(super) struct Course<'a> {
    pub(super) plan: &'a Plan,
    pub(super) machine: &'a Machine,
    pub(super) folder: &'a Folder,
    pub(super) train: &'a [bantam_data::Example],
    pub(super) examples: &'a [Example],
    pub(super) validation: &'a [Example],
    pub(super) trainer: Trainer,
    pub(super) metrics: Vec<Value>,
    pub(super) patience: usize,
    pub(super) private: Option<(Noise, Private)>,
    pub(super) seed: u64,
    pub(super) base_name: &'a str,
}

impl Course<'_> {
    /// Learns to the end; the best adapter lies in the folder then.
    pub(super) fn run(&mut self, interrupt: &Interrupt) -> Result<End> {
        if self.metrics.is_empty() {
            self.evaluate(None)?;
        }
        let mut show = Show::new(self.plan.steps, self.trainer.steps());
        let (mut order, mut of_epoch) = (Vec::new(), u64::MAX);
        let end = loop {
            let step = self.trainer.steps();
            if step >= self.plan.steps {
                break End::Done;
            }
            let epoch = step / self.plan.steps_per_epoch;
            if of_epoch != epoch {
                (order, of_epoch) = (Order::Shuffled.indices(self.train, self.seed, epoch), epoch);
            }
            let (report, took) = self.step(&order)?;
            show.step(&report, took);
            self.note_step(&report, took);
            if (step + 1).is_multiple_of(self.plan.evaluate_every) || step + 1 == self.plan.steps {
                self.evaluate(Some(&mut show))?;
                if self.gains_no_more() {
                    break End::NoGain;
                }
            }
            if interrupt.is_pressed() {
                self.keep()?;
                break End::Stopped;
            }
        };
        show.end();
        Ok(end)
    }

    fn step(&mut self, order: &[usize]) -> Result<(StepReport, Duration)> {
        let begin = (self.trainer.steps() % self.plan.steps_per_epoch) as usize * self.plan.batch;
        let end = (begin + self.plan.batch).min(order.len());
        let batch: Vec<&Example> = order[begin..end].iter().map(|place| &self.examples[*place]).collect();
        let clock = Instant::now();
        let report = match &self.private {
            Some((noise, private)) => private.step(&mut self.trainer, self.machine, self.examples, noise)?,
            None => self.trainer.step(self.machine, &batch)?,
        };
        Ok((report, clock.elapsed()))
    }

    fn note_step(&mut self, report: &StepReport, took: Duration) {
        self.metrics.push(json!({
            "step": self.trainer.steps(), "loss": report.loss, "grad_norm": report.grad_norm, "rate": report.rate,
            "tokens": report.tokens, "learnt_tokens": report.learnt_tokens, "seconds": took.as_secs_f64(),
        }));
    }

    /// Measures, keeps the adapter if it is the best so far, and keeps what is needed to go on.
    fn evaluate(&mut self, show: Option<&mut Show>) -> Result<()> {
        let looked_at = &self.validation[..self.validation.len().min(EVALUATED_MAX)];
        let before = best(&self.metrics);
        if !looked_at.is_empty() {
            let looked_at: Vec<&Example> = looked_at.iter().collect();
            let loss = self.trainer.evaluate(self.machine, &looked_at)?.loss;
            self.metrics.push(json!({ "step": self.trainer.steps(), "validation_loss": loss }));
            if let Some(show) = show {
                show.evaluated(loss, before);
            }
        }
        // Without validation, and where the choice would tell of examples, the latest is taken for the best.
        let is_best = looked_at.is_empty()
            || self.private.is_some()
            || before.is_none_or(|before| best(&self.metrics) < Some(before));
        if is_best && let Some(adapter) = self.trainer.adapter() {
            self.folder.write_adapter(adapter, self.trainer.model(), self.base_name)?;
        }
        self.keep()
    }

    fn keep(&self) -> Result<()> {
        self.folder.write_state(&self.trainer)?;
        self.folder.write_metrics(&self.metrics)
    }

    /// Whether the last evaluations brought nothing.
    fn gains_no_more(&self) -> bool {
        let losses: Vec<f64> = validation_losses(&self.metrics).map(|(_, loss)| loss).collect();
        let best = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(place, _)| place);
        self.patience > 0 && losses.len() > best + self.patience
    }

    /// The best adapter.
    pub(super) fn best(&self) -> Result<Arc<Adapter>> {
        Ok(Arc::new(self.folder.read_adapter(self.trainer.model())?))
    }
}

/// The steps of evaluations and their losses.
pub(super) fn validation_losses(metrics: &[Value]) -> impl Iterator<Item = (u64, f64)> {
    metrics.iter().filter_map(|line| Some((line["step"].as_u64()?, line["validation_loss"].as_f64()?)))
}

/// The least validation loss.
pub(super) fn best(metrics: &[Value]) -> Option<f64> {
    validation_losses(metrics).map(|(_, loss)| loss).min_by(f64::total_cmp)
}
