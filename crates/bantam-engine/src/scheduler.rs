//! Which rows go into the next step, and what becomes of their logits.

use std::any::Any;
use std::io::{Read, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bantam_model::{Batch, Executor, Machine, Model, Outputs, PAGE, Scratch, State, Want};

use crate::Error;
use crate::clients::Clients;
use crate::gauges::Gauges;
use crate::pace::Pace;
use crate::request::{Reason, Request};
use crate::sequence::{Room, Rows, Sequence};
use crate::settings::Settings;
use crate::speculation::Speculator;
use crate::stream::Outlet;
use crate::tree::{Tree, fingerprint};

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
    /// With empty states.
    waiting: Vec<Sequence>,
    running: Vec<Sequence>,
    clients: Clients,
    tree: Tree,
    pace: Pace,
    speculator: Speculator,
    arrived: u64,
    gauges: Arc<Gauges>,
}

/// A sequence's part of a step.
struct Part {
    /// Among those running.
    place: usize,
    rows: Rows,
}

impl Scheduler {
    pub(crate) fn new(model: Arc<Model>, settings: Settings, gauges: Arc<Gauges>) -> Self {
        let machine = Machine::new(settings.isa, settings.threads);
        Scheduler {
            tree: Tree::new(Arc::clone(&model)),
            model,
            machine,
            settings,
            scratch: Scratch::default(),
            waiting: Vec::new(),
            running: Vec::new(),
            clients: Clients::default(),
            pace: Pace::default(),
            speculator: Speculator::new(),
            arrived: 0,
            gauges,
        }
    }

    pub(crate) fn accept(&mut self, job: Job) {
        let Job { request, outlet } = job;
        self.clients.enter(request.client);
        let Settings { kv, context_length, .. } = self.settings;
        let state = State::new(&self.model.description, kv, context_length);
        self.waiting.push(Sequence::new(request, state, self.arrived, outlet));
        self.arrived += 1;
    }

    /// Writes what later requests may go on from.
    pub(crate) fn save(&self, out: &mut dyn Write) -> Result<usize, Error> {
        self.tree.save(&fingerprint(&self.model, &self.settings), out)
    }

    /// Takes in what was written, as far as it may be kept.
    pub(crate) fn load(&mut self, input: &mut dyn Read) -> Result<usize, Error> {
        let Settings { kept_bytes_max, state_bytes_max, .. } = self.settings;
        let free = state_bytes_max.saturating_sub(self.used_bytes()).min(kept_bytes_max);
        self.tree.load(&fingerprint(&self.model, &self.settings), &self.settings, free, input)
    }

    /// Starts what can start, computes one batch, and tells what came of it; false if there was nothing to compute,
    /// be it that all sequences wait for their readers.
    pub(crate) fn step(&mut self) -> bool {
        self.end_cancelled();
        self.begin_waiting();
        self.guess();
        let plan = self.plan_within_memory();
        match &plan[..] {
            [] => {}
            [only] => self.run_alone(only),
            several => {
                // Rows do not depend on each other: each alone gives the same, and shows which one fails.
                if self.run(several).is_err() {
                    several.iter().rev().for_each(|part| self.run_alone(part));
                }
            }
        }
        self.gauges.set_bytes(self.used_bytes());
        self.gauges.set_sequences(self.running.len(), self.waiting.len());
        !plan.is_empty()
    }

    fn end_cancelled(&mut self) {
        let cancelled: Vec<Sequence> =
            self.waiting.extract_if(.., |sequence| sequence.is_cancelled()).collect();
        for sequence in cancelled {
            self.clients.leave(sequence.client());
            sequence.end(Reason::Cancelled);
        }
        for place in (0..self.running.len()).rev() {
            if self.running[place].is_cancelled() {
                self.end(place, Reason::Cancelled);
            }
        }
    }

    fn begin_waiting(&mut self) {
        while self.running.len() < self.settings.running_max()
            && let Some(place) = self.next_waiting()
        {
            let mut sequence = self.waiting.remove(place);
            sequence.begin(&mut self.tree);
            if !self.running.is_empty() && !self.has_memory_for(&sequence) {
                sequence.pause();
                return self.waiting.insert(place, sequence);
            }
            sequence.has_begun = true;
            // Rows of one adapter go through its products together, if they are neighbours.
            let adapter = |of: &Sequence| of.adapter().map(Arc::as_ptr);
            let alike = self.running.iter().rposition(|other| adapter(other) == adapter(&sequence));
            self.running.insert(alike.map_or(self.running.len(), |place| place + 1), sequence);
        }
    }

    /// Who begins next: first those that were paused, then whose client got least, in the order of their arrival. Those
    /// that another one computes for, too, wait for it.
    fn next_waiting(&self) -> Option<usize> {
        let is_behind = |sequence: &Sequence| self.running.iter().any(|running| sequence.is_behind(running));
        let waiting = self.waiting.iter().enumerate();
        let ready = waiting.filter(|(_, sequence)| sequence.has_begun || !is_behind(sequence));
        let first = ready.min_by_key(|(_, s)| (!s.has_begun, self.clients.served(s.client()), s.number));
        first.map(|(place, _)| place)
    }

    /// Whether there is memory for all that is pending, and for some more tokens, so that none must be paused soon.
    fn has_memory_for(&self, sequence: &Sequence) -> bool {
        if self.settings.state_bytes_max == usize::MAX {
            return true;
        }
        let growth = |sequence: &Sequence| {
            let left = sequence.state.length_max() - sequence.state.length();
            sequence.state.growth_bytes((sequence.pending() + SPARE_TOKENS).min(left))
        };
        let wanted: usize = self.running.iter().chain([sequence]).map(growth).sum();
        let used = self.used_bytes() - self.tree.kept_bytes();
        used + wanted <= self.settings.state_bytes_max
    }

    /// Bytes of all pages.
    fn used_bytes(&self) -> usize {
        self.tree.bytes() + self.running.iter().map(|sequence| sequence.state.own_bytes()).sum::<usize>()
    }

    /// Has the next tokens of all sequences guessed, once they are past their prompts. Guesses take no row that a sequence
    /// needs. While prompts are read, a step is bound by its products, not by reading weights: a wrong guess would cost as
    /// much as a right one gains.
    fn guess(&mut self) {
        if !self.running.iter().all(Sequence::is_decoding) {
            return;
        }
        let mut rows = self.running.len();
        for sequence in &mut self.running {
            let room = self.settings.step_rows_max - rows;
            rows += sequence.guess(&mut self.speculator, &self.machine, &self.settings, (rows, room));
        }
    }

    /// A plan whose pages fit the memory: what nobody uses goes for it, then the latest sequences wait.
    fn plan_within_memory(&mut self) -> Vec<Part> {
        loop {
            let plan = self.plan();
            let growth = plan.iter().map(|part| self.running[part.place].state.growth_bytes(part.rows.count));
            let wanted = growth.sum();
            if self.make_room(wanted) || !self.pause_latest() {
                return plan;
            }
        }
    }

    /// Whether so many bytes are free, after as much as needed was let go.
    fn make_room(&mut self, wanted: usize) -> bool {
        let over = |used: usize| (used + wanted).saturating_sub(self.settings.state_bytes_max);
        match over(self.used_bytes()) {
            0 => true,
            missing => {
                self.tree.evict(missing);
                over(self.used_bytes()) == 0
            }
        }
    }

    /// Has the latest sequence wait, if another one runs on.
    fn pause_latest(&mut self) -> bool {
        let latest = self.running.iter().enumerate().max_by_key(|(_, sequence)| sequence.number);
        let Some((place, _)) = latest.filter(|_| self.running.len() > 1) else { return false };
        let mut sequence = self.running.remove(place);
        sequence.pause();
        self.waiting.push(sequence);
        self.gauges.count_pause();
        true
    }

    /// The parts of the next step: first those that only need their newest token, then prompts, those of clients first
    /// that got least, until the step is full, or as long as streams should wait. Decoding never fills it, since no more
    /// sequences run than a step has rows.
    fn plan(&self) -> Vec<Part> {
        let Settings { step_rows_max, step_time_max, .. } = self.settings;
        let wanted = (LOGITS_MAX / self.model.description.vocab_size).max(1);
        let mut room = Room { rows: step_rows_max, wanted };
        let (decoding, mut reading): (Vec<usize>, Vec<usize>) =
            (0..self.running.len()).partition(|place| self.running[*place].is_decoding());
        let mut plan = self.parts(&decoding, &mut room);
        if !decoding.is_empty() {
            room.rows = room.rows.min(self.pace.rows(step_time_max, step_rows_max));
        }
        reading.sort_by_key(|place| {
            let sequence = &self.running[*place];
            (self.clients.served(sequence.client()), sequence.number)
        });
        plan.extend(self.parts(&reading, &mut room));
        plan.sort_by_key(|part| part.place);
        plan
    }

    fn parts(&self, places: &[usize], room: &mut Room) -> Vec<Part> {
        let part = |place: &usize| Some(Part { place: *place, rows: self.running[*place].rows(room)? });
        places.iter().filter_map(part).collect()
    }

    /// Computes some parts of a plan and hands out their logits. An error leaves every sequence as it was.
    fn run(&mut self, parts: &[Part]) -> Result<(), Error> {
        let outputs = match caught(|| self.compute(parts))? {
            Ok(outputs) => outputs,
            // Nobody listens any more: the next step ends them all.
            Err(bantam_model::Error::Stopped) => return Ok(()),
            Err(error) => return Err(Error::Model(Arc::new(error))),
        };
        self.gauges.set_bytes(self.used_bytes());
        for Part { place, rows } in parts {
            self.clients.charge(self.running[*place].client(), rows.count);
        }
        self.deliver(parts, &outputs);
        self.scratch.take_back(outputs.logits);
        Ok(())
    }

    fn run_alone(&mut self, part: &Part) {
        if let Err(error) = self.run(std::slice::from_ref(part)) {
            self.fail(part.place, error);
        }
    }

    fn compute(&mut self, parts: &[Part]) -> Result<Outputs, bantam_model::Error> {
        let mut batch = Batch::default();
        let mut states = Vec::with_capacity(parts.len());
        let mut outlets = Vec::with_capacity(parts.len());
        let mut parts = parts.iter().peekable();
        let mut prompt_rows = 0;
        for (place, sequence) in self.running.iter_mut().enumerate() {
            if let Some(Part { rows, .. }) = parts.next_if(|part| part.place == place) {
                prompt_rows += if sequence.is_decoding() { 0 } else { rows.count };
                let begin = sequence.state.length();
                batch.push(&sequence.input(rows), begin, sequence.state.length_max(), rows.want);
                sequence.adapter().into_iter().for_each(|adapter| batch.adapt(adapter));
                states.push(&mut sequence.state);
                outlets.push(&sequence.outlet);
            }
        }
        let Settings { clock, numerics, .. } = self.settings;
        let begin = clock();
        let (machine, scratch) = (&self.machine, &mut self.scratch);
        let stopped = || outlets.iter().all(|outlet| outlet.is_cancelled());
        let outputs =
            Executor::outputs(machine, &self.model, numerics, &batch, &mut states, scratch, &stopped)?;
        let (rows, took) = (batch.tokens.len(), clock() - begin);
        if prompt_rows == 0 {
            self.speculator.note(rows, took);
            self.pace.note_base(took);
        } else {
            self.pace.note(prompt_rows, took);
        }
        Ok(outputs)
    }

    /// Hands out the logits and hidden states. Each sequence chooses on its own, so they do it at the same time; what
    /// follows from it comes from the last to the first, since some end.
    fn deliver(&mut self, parts: &[Part], outputs: &Outputs) {
        let description = &self.model.description;
        let mut logits = (&outputs.logits[..], description.vocab_size);
        let mut hidden = (&outputs.hidden[..], description.hidden_size);
        let mut turns = Vec::with_capacity(parts.len());
        let mut rest = parts.iter().peekable();
        for (place, sequence) in self.running.iter_mut().enumerate() {
            let Some(Part { rows, .. }) = rest.next_if(|part| part.place == place) else { continue };
            let (numbers, width) = if rows.want == Want::Hidden { &mut hidden } else { &mut logits };
            let (outputs, others) = numbers.split_at(rows.wanted() * *width);
            *numbers = others;
            turns.push(Mutex::new(Turn::new(sequence, rows, (outputs, *width))));
        }
        take_turns(&turns, &self.machine);
        let turns = turns.into_iter().map(|turn| turn.into_inner().unwrap_or_else(PoisonError::into_inner));
        let outcomes: Vec<_> = turns.map(|turn| (turn.outcome, turn.was_in_prompt)).collect();
        for (Part { place, .. }, (outcome, was_in_prompt)) in parts.iter().zip(outcomes).rev() {
            match outcome {
                Ok(None) => self.share(*place, was_in_prompt),
                Ok(Some(reason)) => self.end(*place, reason),
                Err(error) => self.fail(*place, error),
            }
        }
    }

    /// Lets others have what a sequence has computed; the last page of its prompt, which is then copied, if one waits for it.
    fn share(&mut self, place: usize, was_in_prompt: bool) {
        let sequence = &mut self.running[place];
        sequence.share(&mut self.tree);
        if was_in_prompt
            && !sequence.is_in_prompt()
            && self.waiting.iter().any(|waiting| waiting.wants_tail_of(sequence))
        {
            sequence.share_all(&mut self.tree);
        }
    }

    fn end(&mut self, place: usize, reason: Reason) {
        let mut sequence = self.running.remove(place);
        sequence.share_all(&mut self.tree);
        self.clients.leave(sequence.client());
        sequence.end(reason);
        let kept = self.tree.kept_bytes();
        self.tree.evict(kept.saturating_sub(self.settings.kept_bytes_max));
    }

    fn fail(&mut self, place: usize, error: Error) {
        let sequence = self.running.remove(place);
        self.clients.leave(sequence.client());
        sequence.fail(error);
    }
}

/// A sequence that chooses.
struct Turn<'a> {
    sequence: &'a mut Sequence,
    rows: &'a Rows,
    outputs: &'a [f32],
    /// Numbers of a row of outputs.
    width: usize,
    was_in_prompt: bool,
    outcome: Result<Option<Reason>, Error>,
}

impl<'a> Turn<'a> {
    fn new(sequence: &'a mut Sequence, rows: &'a Rows, (outputs, width): (&'a [f32], usize)) -> Self {
        let was_in_prompt = sequence.is_in_prompt();
        Turn { sequence, rows, outputs, width, was_in_prompt, outcome: Ok(None) }
    }

    fn take(&mut self) {
        let Turn { sequence, rows, outputs, width, .. } = self;
        self.outcome = caught(|| sequence.take(rows, outputs, *width)).flatten();
    }
}

/// Other threads come where there is enough for them.
fn take_turns(turns: &[Mutex<Turn<'_>>], machine: &Machine) {
    let numbers: usize = turns.iter().map(|turn| lock(turn).outputs.len()).sum();
    let take = |range: Range<usize>| turns[range].iter().for_each(|turn| lock(turn).take());
    if numbers < SPLIT_NUMBERS_MIN { take(0..turns.len()) } else { machine.split(turns.len(), 1, take) }
}

/// Nobody panics with a turn in his hand.
fn lock<'a, 'b>(turn: &'b Mutex<Turn<'a>>) -> MutexGuard<'b, Turn<'a>> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Logits from which on a second thread saves more than it costs.
const SPLIT_NUMBERS_MIN: usize = 1 << 18;

/// Tokens that each sequence should have room for before another one begins.
const SPARE_TOKENS: usize = 2 * PAGE;

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
