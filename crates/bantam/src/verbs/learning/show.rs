//! What a person sees of a run: a bar on a terminal, a line at each evaluation elsewhere; on stderr.

use std::io::IsTerminal;
use std::time::Duration;

use bantam_train::StepReport;
use indicatif::{ProgressBar, ProgressStyle};

use crate::chat::style::visible;
use crate::units;
use crate::verbs::bench::resident_bytes;

const BAR: &str = "[{bar:28}] {pos}/{len} {msg} {eta}";
/// What is told of losses and speeds leans on about so many steps.
const MEMORY: f64 = 0.9;

pub(super) struct Show {
    bar: Option<ProgressBar>,
    step: u64,
    loss: Option<f64>,
    tok_s: f64,
}

impl Show {
    pub(super) fn new(steps: u64, done: u64) -> Self {
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| ProgressBar::new(steps).with_style(style.progress_chars("=> ")).with_position(done));
        Show { bar, step: done, loss: None, tok_s: 0.0 }
    }

    pub(super) fn step(&mut self, report: &StepReport, took: Duration) {
        let now = report.tokens as f64 / took.as_secs_f64().max(1e-9);
        let first = self.loss.is_none();
        self.loss = Some(self.loss.map_or(report.loss, |loss| MEMORY * loss + (1.0 - MEMORY) * report.loss));
        self.tok_s = if first { now } else { MEMORY * self.tok_s + (1.0 - MEMORY) * now };
        self.step += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.step);
            let memory = units::bytes(resident_bytes());
            bar.set_message(format!("{}, {memory}", self.message()));
        }
    }

    fn message(&self) -> String {
        format!("loss {:.3}, {:.0} tok/s", self.loss.unwrap_or(0.0), self.tok_s)
    }

    pub(super) fn evaluated(&self, loss: Option<f64>, best: Option<f64>, texts: &[String]) {
        let found = loss.map_or(String::new(), |loss| {
            let gain = if best.is_none_or(|best| loss < best) { ", the best so far" } else { "" };
            format!("; validation loss {loss:.4}{gain}")
        });
        self.tell(&format!("step {}: {}{found}", self.step, self.message()));
        texts.iter().for_each(|text| self.tell(&format!("    {}", visible(text))));
    }

    fn tell(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
