//! Which rows go into the next step, and what becomes of their logits.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bantam_model::{Batch, Executor, Machine, Model, Scratch, State};

use crate::Error;
use crate::kept::Kept;
use crate::request::{Event, Reason, Request, Usage};
use crate::sequence::{Room, Rows, Sequence};
use crate::settings::Settings;
use crate::speculation::Speculator;
use crate::stream::Outlet;

/// A request and where its events go.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) outlet: Outlet,
}

/// The model, its machine, and all sequences.
pub(crate) struct Scheduler {
    model: Arc<Model>,
    machine: Machine,
    settings: Settings,
    scratch: Scratch,
    waiting: VecDeque<Job>,
    running: Vec<Sequence>,
    kept: Kept,
    speculator: Speculator,
}

/// A sequence's part of a step.
struct Part {
    /// Among those running.
    place: usize,
    rows: Rows,
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
            speculator: Speculator::new(),
        }
    }

    pub(crate) fn accept(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Starts what can start, computes one batch, and tells what came of it; false if there was nothing to compute,
    /// be it that all sequences wait for their readers.
    pub(crate) fn step(&mut self) -> bool {
        self.end_cancelled();
        self.start_waiting();
        self.guess();
        let plan = self.plan();
        match &plan[..] {
            [] => return false,
            [only] => self.run_alone(only),
            several => {
                // Rows do not depend on each other: each alone gives the same, and shows which one fails.
                if self.run(several).is_err() {
                    several.iter().rev().for_each(|part| self.run_alone(part));
                }
            }
        }
        true
    }

    fn end_cancelled(&mut self) {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (cancelled, waiting): (VecDeque<Job>, _) = waiting.partition(|job| job.outlet.is_cancelled());
        self.waiting = waiting;
        for job in cancelled {
            let usage = Usage { prompt_tokens: job.request.prompt.len(), ..Usage::default() };
            job.outlet.send(Event::Done { reason: Reason::Cancelled, usage });
        }
        for place in (0..self.running.len()).rev() {
            if self.running[place].is_cancelled() {
                self.end(place, Reason::Cancelled);
            }
        }
    }

    fn start_waiting(&mut self) {
        while self.running.len() < self.settings.running_max()
            && let Some(Job { request, outlet }) = self.waiting.pop_front()
        {
            let adapter = request.adapter.as_ref();
            let kept = request.reuses_states().then(|| self.kept.take(&request.prompt, adapter)).flatten();
            let state = kept.unwrap_or_else(|| {
                State::new(&self.model.description, self.settings.kv, self.settings.context_length)
            });
            self.start(Sequence::new(request, state, outlet));
        }
    }

    fn start(&mut self, mut sequence: Sequence) {
        match caught(|| sequence.begin()).flatten() {
            Ok(None) => self.running.push(sequence),
            Ok(Some(reason)) => {
                if let Some(left) = sequence.end(reason) {
                    self.kept.keep(left);
                }
            }
            Err(error) => sequence.fail(error),
        }
    }

    /// Has the next tokens of all sequences guessed that are past their prompts. Guesses take no row that a sequence
    /// needs.
    fn guess(&mut self) {
        let decoding = |sequence: &&mut Sequence| sequence.is_decoding();
        let mut rows = self.running.iter_mut().filter(decoding).count();
        for sequence in self.running.iter_mut().filter(decoding) {
            let room = self.settings.step_rows_max - rows;
            rows += sequence.guess(&mut self.speculator, &self.machine, &self.settings, (rows, room));
        }
    }

    /// The parts of the next step: first those that only need their newest token, then prompts, in the order of
    /// their arrival, until the step is full. Decoding never fills it, since no more sequences run than a step
    /// has rows.
    fn plan(&self) -> Vec<Part> {
        let wanted = (LOGITS_MAX / self.model.description.vocab_size).max(1);
        let mut room = Room { rows: self.settings.step_rows_max, wanted };
        let mut plan = Vec::new();
        for decoding in [true, false] {
            for (place, sequence) in self.running.iter().enumerate() {
                if sequence.is_decoding() == decoding
                    && let Some(rows) = sequence.rows(&mut room)
                {
                    plan.push(Part { place, rows });
                }
            }
        }
        plan.sort_by_key(|part| part.place);
        plan
    }

    /// Computes some parts of a plan and hands out their logits. An error leaves every sequence as it was.
    fn run(&mut self, parts: &[Part]) -> Result<(), Error> {
        let logits = caught(|| self.compute(parts))?.map_err(|error| Error::Model(Arc::new(error)))?;
        self.deliver(parts, &logits);
        Ok(())
    }

    fn run_alone(&mut self, part: &Part) {
        if let Err(error) = self.run(std::slice::from_ref(part)) {
            self.running.remove(part.place).fail(error);
        }
    }

    fn compute(&mut self, parts: &[Part]) -> Result<Vec<f32>, bantam_model::Error> {
        let mut batch = Batch::default();
        let mut states = Vec::with_capacity(parts.len());
        let mut parts = parts.iter().peekable();
        let mut is_decoding = true;
        for (place, sequence) in self.running.iter_mut().enumerate() {
            if let Some(Part { rows, .. }) = parts.next_if(|part| part.place == place) {
                is_decoding &= sequence.is_decoding();
                let begin = sequence.state.length();
                batch.push(&sequence.input(rows), begin, sequence.state.length_max(), rows.want);
                sequence.adapter().into_iter().for_each(|adapter| batch.adapt(adapter));
                states.push(&mut sequence.state);
            }
        }
        let Settings { clock, numerics, .. } = self.settings;
        let begin = clock();
        let (machine, scratch) = (&self.machine, &mut self.scratch);
        let logits = Executor::run(machine, &self.model, numerics, &batch, &mut states, scratch)?;
        if is_decoding {
            self.speculator.note(batch.tokens.len(), clock() - begin);
        }
        Ok(logits)
    }

    /// Hands out the logits; from the last sequence to the first, since some end.
    fn deliver(&mut self, parts: &[Part], logits: &[f32]) {
        let vocab_size = self.model.description.vocab_size;
        let mut rest = logits;
        for Part { place, rows } in parts.iter().rev() {
            let (before, own) = rest.split_at(rest.len() - rows.wanted() * vocab_size);
            rest = before;
            let sequence = &mut self.running[*place];
            match caught(|| sequence.take(rows, own, vocab_size)).flatten() {
                Ok(None) => {}
                Ok(Some(reason)) => self.end(*place, reason),
                Err(error) => self.running.remove(*place).fail(error),
            }
        }
    }

    fn end(&mut self, place: usize, reason: Reason) {
        if let Some(left) = self.running.remove(place).end(reason) {
            self.kept.keep(left);
        }
    }
}

/// The numbers of logits that a step computes for prompts, at most: 64 MiB.
const LOGITS_MAX: usize = 16 << 20;

/// Runs something whose panic is one request's failure and nobody else's.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    // What a panic leaves half done belongs to sequences that end, or is not yet part of their states.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Error::Panic { reason: reason_of(&*payload) })
}

fn reason_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it gave no reason").to_owned()
}
