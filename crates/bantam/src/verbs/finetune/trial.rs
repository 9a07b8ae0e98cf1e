//! One step, thrown away: how fast this machine learns, and what memory it takes.

use std::time::Instant;

use anyhow::{Result, bail};
use bantam::Loaded;
use bantam::model::Adapter;
use bantam_model::Machine;
use bantam_train::{Example, Noise, Trainer};

use super::plan::Plan;
use super::private::Private;
use crate::units;

/// What a step of the fullest micro-batch took.
pub(super) struct Trial {
    tok_s: f64,
    /// Weights, adapter with its gradients and moments, activations.
    bytes: u64,
    free_bytes: Option<u64>,
}

impl Trial {
    pub(super) fn new(
        machine: &Machine,
        loaded: &Loaded,
        plan: &Plan,
        start: &Adapter,
        examples: &[Example],
        private: Option<&Private>,
    ) -> Result<Self> {
        let fullest = fullest(examples, plan.settings.micro_tokens.min(tokens_of_step(examples, plan)));
        let mut trainer = Trainer::new((*loaded.model).clone(), Some(start.clone()), plan.settings.clone())?;
        let clock = Instant::now();
        let report = match private {
            // The noise of a step that is thrown away may be known.
            Some(private) => {
                trainer.step_private(machine, &fullest, private.privacy, &Noise::new([0; 32]))?
            }
            None => trainer.step(machine, &fullest)?,
        };
        let tok_s = report.tokens as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        // Numbers, gradients and two moments.
        let learning = super::parameters(start) * (16 + 4 * trainer.examples_apart() as u64);
        let bytes = loaded.model.weights_bytes() + learning + trainer.activation_bytes() as u64;
        Ok(Trial { tok_s, bytes, free_bytes: free_bytes() })
    }

    pub(super) fn tell(&self, examples: &[Example], plan: &Plan) {
        let per_epoch: usize = examples.iter().map(|example| example.ids.len()).sum();
        let epochs = plan.steps as f64 / plan.steps_per_epoch as f64;
        let seconds = per_epoch as f64 * epochs / self.tok_s;
        eprintln!(
            "takes about {} at {:.0} tok/s, and {} of memory",
            span(seconds),
            self.tok_s,
            units::bytes(self.bytes)
        );
    }

    /// Refuses what does not fit.
    pub(super) fn check(&self) -> Result<()> {
        match self.free_bytes {
            Some(free) if free < self.bytes => bail!(
                "this needs {} of memory and {} are free: lower --micro-tokens or --max-length",
                units::bytes(self.bytes),
                units::bytes(free)
            ),
            _ => Ok(()),
        }
    }
}

fn tokens_of_step(examples: &[Example], plan: &Plan) -> usize {
    let all: usize = examples.iter().map(|example| example.ids.len()).sum();
    (all * plan.batch).div_ceil(examples.len().max(1))
}

/// The longest examples, as many as go through the model together.
fn fullest(examples: &[Example], tokens_max: usize) -> Vec<&Example> {
    let mut sorted: Vec<&Example> = examples.iter().collect();
    sorted.sort_by_key(|example| std::cmp::Reverse(example.ids.len()));
    let mut tokens = 0;
    let fit = sorted.iter().take_while(|example| {
        tokens += example.ids.len();
        tokens <= tokens_max
    });
    let count = fit.count().max(1);
    sorted.truncate(count);
    sorted
}

/// Memory that programs may still take, where the system says so.
fn free_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// `2 h 5 min`, `12 min`, `40 s`
fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
