//! The handle to the thread that owns the model's states and steps.

use std::sync::Arc;
use std::thread::JoinHandle;

use bantam_model::Model;

use crate::Error;
use crate::inbox::{Inbox, Patience, Wake};
use crate::request::{Overflow, Request};
use crate::scheduler::{Job, Scheduler};
use crate::settings::{Memory, Settings};
use crate::stream::{Stream, stream};

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
        let (outlet, stream) = stream(Arc::clone(&self.inbox) as Arc<dyn Wake>);
        self.inbox.put(Job { request, outlet })?;
        Ok(stream)
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let vocab_size = self.model.description.vocab_size;
        request.sampling.check(vocab_size)?;
        if let Some(adapter) = &request.adapter {
            adapter.check(&self.model).map_err(|error| Error::Adapter(Arc::new(error)))?;
        }
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
