//! One step, thrown away: how fast this machine learns, and what memory it takes.

use std::time::Instant;

use anyhow::{Result, bail};
use bantam_model::Machine;
use bantam_train::{Plan, Trainer};

use super::{BatchSize, Lessons, Route};
use crate::units;
use crate::verbs::bench::bytes_told;

/// What a step of the fullest micro-batch took.
pub(crate) struct Trial {
    tok_s: f64,
    /// Weights, gradients, what the optimiser remembers, activations; a teacher's weights.
    bytes: u64,
    free_bytes: Option<u64>,
}

impl Trial {
    /// Takes a step; nobody should go on with this trainer.
    pub(crate) fn new(
        machine: &Machine,
        mut trainer: Trainer,
        route: &Route,
        lessons: &Lessons,
    ) -> Result<Self> {
        let tokens_max = trainer.settings().micro_tokens.min(tokens_of_step(lessons, route));
        let fullest = fullest(lessons, tokens_max);
        let plan =
            Plan::new(trainer.model(), trainer.adapter().map(|adapter| &**adapter), trainer.settings());
        let clock = Instant::now();
        let report = lessons.step(&mut trainer, machine, &fullest)?;
        let tok_s = report.tokens as f64 / clock.elapsed().as_secs_f64().max(1e-9);
        // What the activations take is measured, not planned: not all examples fill a micro-batch.
        let weights = plan.bytes() - plan.activations;
        let bytes = (weights + trainer.activation_bytes()) as u64 + lessons.teacher_bytes();
        Ok(Trial { tok_s, bytes, free_bytes: free_bytes() })
    }

    pub(crate) fn tell(&self, route: &Route, lessons: &Lessons) {
        let per_epoch: usize = (0..lessons.count()).map(|place| lessons.tokens(place)).sum();
        let per_step = match route.batch {
            BatchSize::Examples(count) => per_epoch as f64 / lessons.count().div_ceil(count) as f64,
            BatchSize::Tokens(tokens) => tokens as f64,
        };
        eprintln!(
            "takes about {} at {:.0} tok/s, and {} of memory",
            span(per_step * route.steps as f64 / self.tok_s),
            self.tok_s,
            units::bytes(self.bytes)
        );
    }

    /// Refuses what does not fit; `advice` names the settings that would.
    pub(crate) fn check(&self, advice: &str) -> Result<()> {
        match self.free_bytes {
            Some(free) if free < self.bytes => bail!(
                "this needs {} of memory and {} are free: {advice}",
                units::bytes(self.bytes),
                units::bytes(free)
            ),
            _ => Ok(()),
        }
    }
}

fn tokens_of_step(lessons: &Lessons, route: &Route) -> usize {
    let count = match route.batch {
        BatchSize::Examples(count) => count,
        BatchSize::Tokens(tokens) => return tokens,
    };
    let all: usize = (0..lessons.count()).map(|place| lessons.tokens(place)).sum();
    (all * count).div_ceil(lessons.count().max(1))
}

/// The longest examples, as many as go through the model together.
fn fullest(lessons: &Lessons, tokens_max: usize) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..lessons.count()).collect();
    sorted.sort_by_key(|place| std::cmp::Reverse(lessons.tokens(*place)));
    let mut tokens = 0;
    let fit = sorted.iter().take_while(|place| {
        tokens += lessons.tokens(**place);
        tokens <= tokens_max
    });
    let count = fit.count().max(1);
    sorted.truncate(count);
    sorted
}

/// Memory that programs may still take, where the system says so.
fn free_bytes() -> Option<u64> {
    bytes_told("/proc/meminfo", "MemAvailable:")
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
