//! The loop: steps, evaluations, what is kept of them, and the end.

use std::time::{Duration, Instant};

use anyhow::Result;
use bantam_data::{Key, Order};
use bantam_model::Machine;
use bantam_train::{StepReport, Trainer};
use serde_json::{Value, json};

use super::show::Show;
use super::{BatchSize, Batches, EventFile, Folder, Keep, Lessons, Sampler};
use crate::interrupt::{Interrupt, Stopped};

/// Why learning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All steps are done.
    Done,
    /// The validation loss did not fall any more.
    NoGain,
    /// Ctrl-C.
    Stopped,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) steps: u64,
    /// Times that all examples are gone through, the last in part perhaps.
    pub(crate) epochs: u64,
    /// Steps from one evaluation to the next.
    pub(crate) evaluate_every: u64,
    pub(crate) batch: BatchSize,
    pub(crate) order: Order,
    pub(crate) seed: u64,
    /// Evaluations without a gain after which it ends; 0: never.
    pub(crate) patience: usize,
}

/// A run under way.
pub(crate) struct Course<'a> {
    pub(crate) route: &'a Route,
    pub(crate) machine: &'a Machine,
    pub(crate) folder: &'a Folder,
    pub(crate) lessons: &'a Lessons,
    /// What the lessons are ordered by.
    pub(crate) keys: &'a [Key],
    pub(crate) keep: Keep<'a>,
    pub(crate) sampler: Option<Sampler>,
    pub(crate) events: Option<EventFile>,
    pub(crate) trainer: Trainer,
    pub(crate) metrics: Vec<Value>,
}

/// What an evaluation found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evaluated {
    pub(crate) step: u64,
    pub(crate) loss: f64,
}

impl Course<'_> {
    /// From the beginning, or from where an earlier run stopped, to the end.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where it was interrupted: the folder has what is needed to go on.
    pub(crate) fn complete(&mut self, resume: bool, tensorboard: bool, interrupt: &Interrupt) -> Result<End> {
        if resume {
            self.resume()?;
        }
        if tensorboard {
            let folder = self.folder.path().join("tensorboard");
            self.events = Some(EventFile::create(&folder, self.trainer.steps())?);
        }
        match self.run(interrupt)? {
            End::Stopped => Err(Stopped("stopped; go on with the same arguments and --resume").into()),
            end => Ok(end),
        }
    }

    /// Goes back to the state that an earlier run left in the folder.
    fn resume(&mut self) -> Result<()> {
        self.folder.read_state(&mut self.trainer)?;
        self.metrics = self.folder.metrics(self.trainer.steps())?;
        eprintln!("going on behind step {} of {}", self.trainer.steps(), self.route.steps);
        Ok(())
    }

    /// Learns to the end; the best lies in the folder then.
    fn run(&mut self, interrupt: &Interrupt) -> Result<End> {
        if self.metrics.is_empty() {
            self.evaluate(None)?;
        }
        let Route { order, seed, batch, epochs, steps, .. } = *self.route;
        let mut show = Show::new(steps, self.trainer.steps());
        let done = self.trainer.steps() as usize;
        let mut batches = Batches::new(self.keys, order, seed, batch, epochs).skip(done);
        let end = loop {
            let step = self.trainer.steps();
            let Some(batch) = batches.next().filter(|_| step < steps) else { break End::Done };
            let clock = Instant::now();
            let report = self.lessons.step(&mut self.trainer, self.machine, &batch)?;
            let took = clock.elapsed();
            show.step(&report, took);
            self.note_step(&report, took)?;
            if (step + 1).is_multiple_of(self.route.evaluate_every) || step + 1 == steps {
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

    fn note_step(&mut self, report: &StepReport, took: Duration) -> Result<()> {
        let (step, seconds) = (self.trainer.steps(), took.as_secs_f64());
        self.metrics.push(json!({
            "step": step, "loss": report.loss, "grad_norm": report.grad_norm, "rate": report.rate,
            "tokens": report.tokens, "learnt_tokens": report.learnt_tokens, "seconds": seconds,
        }));
        let Some(events) = &mut self.events else { return Ok(()) };
        let speed = report.tokens as f64 / seconds.max(1e-9);
        let scalars = [
            ("train/loss", report.loss),
            ("train/grad_norm", report.grad_norm),
            ("train/learning_rate", f64::from(report.rate)),
            ("train/tokens_per_second", speed),
        ];
        events.scalars(step, &scalars)
    }

    /// Measures, keeps what was learnt if it is the best so far, and keeps what is needed to go on.
    fn evaluate(&mut self, show: Option<&mut Show>) -> Result<()> {
        let before = best(&self.metrics).map(|best| best.loss);
        let loss = self.lessons.evaluate(&mut self.trainer, self.machine, self.lessons.evaluated())?;
        if let Some(loss) = loss {
            let step = self.trainer.steps();
            self.metrics.push(json!({ "step": step, "validation_loss": loss }));
            if let Some(events) = &mut self.events {
                events.scalars(step, &[("validation/loss", loss)])?;
            }
        }
        // Texts, checkpoint and state are made in the memory that steps give back.
        self.trainer.rest();
        let texts = self.sample()?;
        if let Some(show) = show {
            show.evaluated(loss, before, &texts);
        }
        // Without validation, and where the choice would tell of examples, the latest is taken for the best.
        let is_best =
            self.lessons.is_private() || loss.is_none_or(|loss| before.is_none_or(|before| loss < before));
        if is_best {
            self.folder.write_best(&self.keep, &self.trainer)?;
        }
        self.keep()
    }

    /// Texts of the model as it is now.
    fn sample(&mut self) -> Result<Vec<String>> {
        let Some(sampler) = &self.sampler else { return Ok(Vec::new()) };
        let (step, trainer) = (self.trainer.steps(), &self.trainer);
        let texts = sampler.write(trainer.model(), trainer.adapter())?;
        if !texts.is_empty() {
            self.metrics.push(json!({ "step": step, "texts": texts }));
        }
        if let Some(events) = &mut self.events {
            events.texts(step, "samples", &texts)?;
        }
        Ok(texts)
    }

    fn keep(&self) -> Result<()> {
        self.folder.write_state(&self.trainer)?;
        self.folder.write_metrics(&self.metrics)
    }

    /// Whether the last evaluations brought nothing.
    fn gains_no_more(&self) -> bool {
        let losses: Vec<Evaluated> = validation_losses(&self.metrics).collect();
        let best = losses.iter().enumerate().min_by(|a, b| a.1.loss.total_cmp(&b.1.loss));
        let best = best.map_or(0, |(place, _)| place);
        self.route.patience > 0 && losses.len() > best + self.route.patience
    }
}

/// The evaluations among what was measured.
pub(crate) fn validation_losses(metrics: &[Value]) -> impl Iterator<Item = Evaluated> {
    metrics.iter().filter_map(|line| {
        Some(Evaluated { step: line["step"].as_u64()?, loss: line["validation_loss"].as_f64()? })
    })
}

/// The first evaluation with the least loss.
pub(crate) fn best(metrics: &[Value]) -> Option<Evaluated> {
    validation_losses(metrics).min_by(|a, b| a.loss.total_cmp(&b.loss))
}
