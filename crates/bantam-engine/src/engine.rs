//! The handle to the thread that owns the model's states and steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use bantam_model::{Isa, KvStorage, Model, Numerics};

use crate::Error;
use crate::request::{Event, Overflow, Request};
use crate::scheduler::Scheduler;

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
    /// Tokens that a sequence may have.
    pub context_length: usize,
    /// Rows of one step, at most; longer prompts take several.
    pub step_rows_max: usize,
    /// Sequences that run together; more wait.
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
            step_rows_max: 512,
            sequences_max: 16,
            kept_bytes_max: 1 << 30,
        }
    }
}

/// A request and where its events go.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) events: Sender<Event>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// A running engine. Dropping it ends its thread after the current step; open streams end.
pub struct Engine {
    model: Arc<Model>,
    settings: Settings,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// The events of one request, in order. Dropping it cancels the request.
pub struct Stream {
    events: Receiver<Event>,
    cancelled: Arc<AtomicBool>,
    ended: bool,
}

impl Engine {
    /// Starts a thread for a model.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] where the system gives no thread.
    pub fn start(model: Arc<Model>, settings: Settings) -> Result<Self, Error> {
        let (jobs, incoming) = channel();
        let mut scheduler = Scheduler::new(Arc::clone(&model), settings.clone());
        let run = move || {
            while serve(&mut scheduler, &incoming) {
                scheduler.step();
            }
        };
        let thread = std::thread::Builder::new().name("bantam-engine".into()).spawn(run);
        let thread = Some(thread.map_err(|_| Error::Stopped)?);
        Ok(Engine { model, settings, jobs: Some(jobs), thread })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// How it computes.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Hands in a request.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, before anything is computed.
    pub fn submit(&self, request: Request) -> Result<Stream, Error> {
        self.check(&request)?;
        let (sender, events) = channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let job = Job { request, events: sender, cancelled: Arc::clone(&cancelled) };
        let jobs = self.jobs.as_ref().ok_or(Error::Stopped)?;
        jobs.send(job).map_err(|_| Error::Stopped)?;
        Ok(Stream { events, cancelled, ended: false })
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        request.sampling.check()?;
        let (prompt, context) = (request.prompt.len(), self.settings.context_length);
        if prompt == 0 {
            return Err(Error::EmptyPrompt);
        }
        let vocab_size = self.model.description.vocab_size;
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

/// Takes in what has come, and waits where there is nothing to do; false at the end.
fn serve(scheduler: &mut Scheduler, incoming: &Receiver<Job>) -> bool {
    use std::sync::mpsc::TryRecvError;
    if scheduler.is_idle() {
        match incoming.recv() {
            Ok(job) => scheduler.accept(job),
            Err(_) => return false,
        }
    }
    loop {
        match incoming.try_recv() {
            Ok(job) => scheduler.accept(job),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The thread ends when nobody can hand in anything any more.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Stream {
    /// Ends the request after the current step; its last event tells so.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Something that cancels the request from elsewhere.
    pub fn canceller(&self) -> impl Fn() + Send + Sync + 'static {
        let cancelled = Arc::clone(&self.cancelled);
        move || cancelled.store(true, Ordering::Relaxed)
    }
}

impl Iterator for Stream {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().unwrap_or(Event::Failed(Error::Stopped));
        self.ended = matches!(event, Event::Done { .. } | Event::Failed(_));
        Some(event)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.cancel();
    }
}
