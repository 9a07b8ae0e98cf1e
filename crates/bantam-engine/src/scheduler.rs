//! Which rows go into the next step, and what becomes of their logits.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bantam_model::{Batch, Executor, Machine, Model, Scratch, State};

use crate::Error;
use crate::engine::{Job, Settings};
use crate::kept::Kept;
use crate::request::{PromptOutput, Reason};
use crate::sequence::{Rows, Sequence};

/// The model, its machine, and all sequences.
pub(crate) struct Scheduler {
    model: Arc<Model>,
    machine: Machine,
    settings: Settings,
    scratch: Scratch,
    waiting: VecDeque<Job>,
    running: Vec<Sequence>,
    kept: Kept,
}

impl Scheduler {
    pub(crate) fn new(model: Arc<Model>, settings: Settings) -> Self {
        let machine = Machine::new(settings.isa, settings.threads);
        let kept = Kept::new(settings.kept_bytes_max);
        Scheduler {
            model,
            machine,
            settings,
            scratch: Scratch::default(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            kept,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    pub(crate) fn accept(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Starts what can start, computes one batch, and tells what came of it.
    pub(crate) fn step(&mut self) {
        self.start_waiting();
        self.end_cancelled();
        let plan = self.plan();
        if plan.is_empty() {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| self.compute(&plan))) {
            Ok(Ok(logits)) => self.deliver(plan, &logits),
            Ok(Err(error)) => self.fail(plan, &Error::Model(error.to_string())),
            Err(_) => {
                self.fail(plan, &Error::Model("the forward pass broke off: this is a bug in bantam".into()))
            }
        }
    }

    fn start_waiting(&mut self) {
        while self.running.len() < self.settings.sequences_max
            && let Some(job) = self.waiting.pop_front()
        {
            let reusable = job.request.prompt_output == PromptOutput::None;
            let kept = if reusable { self.kept.take(&job.request.prompt) } else { None };
            let state = kept.unwrap_or_else(|| {
                State::new(&self.model.description, self.settings.kv, self.settings.context_length)
            });
            self.running.push(Sequence::new(job.request, state, job.events, job.cancelled));
        }
    }

    fn end_cancelled(&mut self) {
        let mut place = 0;
        while place < self.running.len() {
            if self.running[place].is_cancelled() {
                let (tokens, state) = self.running.remove(place).done(Reason::Cancelled);
                self.kept.keep(tokens, state);
            } else {
                place += 1;
            }
        }
    }

    /// The rows of each sequence in the next step: first those that only need their newest token, then prompts, in
    /// the order of their arrival, until the step is full.
    fn plan(&self) -> Vec<(usize, Rows)> {
        let mut room = self.settings.step_rows_max;
        let mut plan = Vec::new();
        for decoding in [true, false] {
            for (place, sequence) in self.running.iter().enumerate() {
                if sequence.is_decoding() == decoding && room > 0 {
                    let rows = sequence.rows(room);
                    room -= rows.count;
                    plan.push((place, rows));
                }
            }
        }
        plan.sort_by_key(|(place, _)| *place);
        plan
    }

    fn compute(&mut self, plan: &[(usize, Rows)]) -> Result<Vec<f32>, bantam_model::Error> {
        let mut batch = Batch::default();
        let mut states = Vec::with_capacity(plan.len());
        let mut planned = plan.iter().peekable();
        for (place, sequence) in self.running.iter_mut().enumerate() {
            if let Some((_, rows)) = planned.next_if(|(planned, _)| *planned == place) {
                let begin = sequence.state.length();
                let tokens = &sequence.tokens[begin..begin + rows.count];
                batch.push(tokens, begin, sequence.state.length_max(), rows.want);
                states.push(&mut sequence.state);
            }
        }
        let numerics = self.settings.numerics;
        Executor::run(&self.machine, &self.model, numerics, &batch, &mut states, &mut self.scratch)
    }

    /// Hands out the logits; from the last sequence to the first, since some end.
    fn deliver(&mut self, plan: Vec<(usize, Rows)>, logits: &[f32]) {
        let vocab_size = self.model.description.vocab_size;
        let mut rest = logits;
        for (place, rows) in plan.into_iter().rev() {
            let count = match rows.want {
                bantam_model::Want::Nothing => 0,
                bantam_model::Want::Last => 1,
                bantam_model::Want::All => rows.count,
            };
            let (before, own) = rest.split_at(rest.len() - count * vocab_size);
            rest = before;
            if let Some(reason) = self.running[place].take(&rows, own, vocab_size) {
                let (tokens, state) = self.running.remove(place).done(reason);
                self.kept.keep(tokens, state);
            }
        }
    }

    /// Ends every sequence of a failed step: which of them brought it down is not known.
    fn fail(&mut self, plan: Vec<(usize, Rows)>, error: &Error) {
        for (place, _) in plan.into_iter().rev() {
            self.running.remove(place).failed(error.clone());
        }
    }
}
