//! The handle to the thread that owns the model's states and steps.

use std::sync::Arc;
use std::thread::JoinHandle;

use bantam_model::description::{Description, Positions};
use bantam_model::{Isa, KvStorage, Model, Numerics, State};

use crate::Error;
use crate::inbox::{Inbox, Patience};
use crate::request::{Overflow, Request};
use crate::scheduler::Scheduler;
use crate::stream::{Outlet, Stream, stream};

/// How an engine computes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The instruction set.
    pub isa: Isa,
    /// Threads; 0 takes one for each processor that this process may use.
    pub threads: usize,
    /// How products are rounded.
    pub numerics: Numerics,
    /// How keys and values are kept.
    pub kv: KvStorage,
    /// Tokens that a sequence may have. Rotary scalings that depend on a sequence's length (LongRoPE, dynamic NTK)
    /// go by this length for all sequences, so that their states can stand for each other.
    pub context_length: usize,
    /// Rows of one step, at most; longer prompts take several.
    pub step_rows_max: usize,
    /// Sequences that run together, at most as many as a step has rows; more wait.
    pub sequences_max: usize,
    /// Bytes of ended sequences' states that are kept for requests that begin alike.
    pub kept_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            isa: Isa::best(),
            threads: 0,
            numerics: Numerics::Default,
            kv: KvStorage::F16,
            context_length: 4096,
            step_rows_max: 128,
            sequences_max: 16,
            kept_bytes_max: 1 << 30,
        }
    }
}

/// Bytes that states of sequences take beside the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of one sequence that fills the context.
    pub sequence_bytes: usize,
    /// Of as many of them as run together.
    pub running_bytes_max: usize,
    /// Of ended sequences.
    pub kept_bytes_max: usize,
}

impl Settings {
    /// What states of a model take at most with these settings; pages are taken as sequences grow.
    pub fn memory(&self, description: &Description) -> Memory {
        let sequence_bytes = State::bytes_at(description, self.kv, self.context_length);
        Memory {
            sequence_bytes,
            running_bytes_max: sequence_bytes.saturating_mul(self.running_max()),
            kept_bytes_max: self.kept_bytes_max,
        }
    }

    /// Sequences that run together: each must be sure of a row in every step.
    pub(crate) fn running_max(&self) -> usize {
        self.sequences_max.min(self.step_rows_max)
    }

    fn check(&self, description: &Description) -> Result<(), Error> {
        let counts = [
            ("context_length", self.context_length),
            ("step_rows_max", self.step_rows_max),
            ("sequences_max", self.sequences_max),
        ];
        if let Some((setting, found)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(Error::Setting { setting, found: found.to_string(), wanted: "a number from 1 up" });
        }
        match description.embed.positions {
            Positions::Learned(positions) if positions < self.context_length => {
                Err(Error::ContextTooLong { context: self.context_length, positions })
            }
            _ => Ok(()),
        }
    }
}

/// A request and where its events go.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) outlet: Outlet,
}

/// A running engine. Dropping it ends its thread after the current step; open streams end.
pub struct Engine {
    model: Arc<Model>,
    settings: Settings,
    inbox: Arc<Inbox<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts a thread for a model.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`], [`Error::ContextTooLong`]; [`Error::Stopped`] where the system gives no thread.
    pub fn start(model: Arc<Model>, settings: Settings) -> Result<Self, Error> {
        settings.check(&model.description)?;
        let inbox = Arc::new(Inbox::new());
        let scheduler = Scheduler::new(Arc::clone(&model), settings.clone());
        let run = {
            let inbox = Arc::clone(&inbox);
            move || serve(scheduler, &inbox)
        };
        let thread = std::thread::Builder::new().name("bantam-engine".into()).spawn(run);
        let thread = Some(thread.map_err(|_| Error::Stopped)?);
        Ok(Engine { model, settings, inbox, thread })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// How it computes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the states of sequences take at most.
    pub fn memory(&self) -> Memory {
        self.settings.memory(&self.model.description)
    }

    /// Hands in a request. Requests start in the order in which they are handed in.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, before anything is computed.
    pub fn submit(&self, request: Request) -> Result<Stream, Error> {
        self.check(&request)?;
        let (outlet, stream) = stream(&self.inbox);
        self.inbox.put(Job { request, outlet })?;
        Ok(stream)
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let vocab_size = self.model.description.vocab_size;
        request.sampling.check(vocab_size)?;
        let (prompt, context) = (request.prompt.len(), self.settings.context_length);
        if prompt == 0 {
            return Err(Error::EmptyPrompt);
        }
        if let Some(&token) = request.prompt.iter().find(|token| **token as usize >= vocab_size) {
            return Err(Error::Token { token, vocab_size });
        }
        // Half of the context must be left to shift.
        let shifts = matches!(request.overflow, Overflow::Shift { .. });
        if prompt > context || (shifts && context < 4) {
            return Err(Error::PromptTooLong { prompt, context });
        }
        Ok(())
    }
}

/// Steps while there is work, and sleeps while there is none, until the inbox is closed.
fn serve(mut scheduler: Scheduler, inbox: &Inbox<Job>) {
    /// However the thread ends, nobody waits for it afterwards.
    struct Close<'a>(&'a Inbox<Job>);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _close = Close(inbox);
    let mut patience = Patience::UntilNews;
    while let Some(jobs) = inbox.take(patience) {
        jobs.into_iter().for_each(|job| scheduler.accept(job));
        patience = if scheduler.step() { Patience::None } else { Patience::UntilNews };
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
