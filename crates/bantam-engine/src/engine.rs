//! The handle to the thread that owns the model's states and steps.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use bantam_model::Model;

use crate::Error;
use crate::gauges::{Figures, Gauges};
use crate::inbox::{Inbox, Patience, Wake};
use crate::request::{Overflow, Request};
use crate::scheduler::{Job, Scheduler};
use crate::settings::{Memory, Settings};
use crate::stream::{Stream, stream};

/// A running engine. Dropping it ends its thread after the current step; open streams end.
pub struct Engine {
    model: Arc<Model>,
    settings: Settings,
    inbox: Arc<Inbox<Task>>,
    gauges: Arc<Gauges>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked for.
enum Task {
    Run(Box<Job>),
    Save(Box<dyn Write + Send>, Sender<Result<usize, Error>>),
    Load(Box<dyn Read + Send>, Sender<Result<usize, Error>>),
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
        let gauges = Arc::new(Gauges::default());
        let scheduler = Scheduler::new(Arc::clone(&model), settings.clone(), Arc::clone(&gauges));
        let run = {
            let inbox = Arc::clone(&inbox);
            move || serve(scheduler, &inbox)
        };
        let thread = std::thread::Builder::new().name("bantam-engine".into()).spawn(run);
        let thread = Some(thread.map_err(|_| Error::Stopped)?);
        Ok(Engine { model, settings, inbox, gauges, thread })
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

    /// What it does at the moment.
    pub fn figures(&self) -> Figures {
        self.gauges.figures(self.settings.state_bytes_max)
    }

    /// Writes the states that requests without an adapter may go on from; how many tokens they stand for.
    ///
    /// Nothing is computed meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Saved`] with what the writer says.
    pub fn save_states(&self, out: impl Write + Send + 'static) -> Result<usize, Error> {
        let (reply, answer) = channel();
        self.inbox.put(Task::Save(Box::new(out), reply))?;
        answer.recv().map_err(|_| Error::Stopped)?
    }

    /// Takes in states that [`Engine::save_states`] wrote, of the same model and settings, up to what may be kept; how
    /// many tokens they stand for.
    ///
    /// # Errors
    ///
    /// [`Error::Saved`] for those of another model or other settings, and damaged ones; what came before the damage is
    /// kept.
    pub fn load_states(&self, input: impl Read + Send + 'static) -> Result<usize, Error> {
        let (reply, answer) = channel();
        self.inbox.put(Task::Load(Box::new(input), reply))?;
        answer.recv().map_err(|_| Error::Stopped)?
    }

    /// Hands in a request. Requests of one client start in the order in which they are handed in.
    ///
    /// # Errors
    ///
    /// What is wrong with the request, before anything is computed.
    pub fn submit(&self, request: Request) -> Result<Stream, Error> {
        self.check(&request)?;
        let (outlet, stream) = stream(Arc::clone(&self.inbox) as Arc<dyn Wake>);
        self.inbox.put(Task::Run(Box::new(Job { request, outlet })))?;
        Ok(stream)
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        let vocab_size = self.model.description.vocab_size;
        request.sampling.check(vocab_size)?;
        if let Some(adapter) = &request.adapter {
            adapter.check(&self.model).map_err(|error| Error::Adapter(Arc::new(error)))?;
        }
        let ahead = request.adapter.as_ref().map_or(0, |adapter| adapter.virtual_tokens());
        let (prompt, context) = (request.prompt.len(), self.settings.context_length.saturating_sub(ahead));
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
fn serve(mut scheduler: Scheduler, inbox: &Inbox<Task>) {
    /// However the thread ends, nobody waits for it afterwards.
    struct Close<'a>(&'a Inbox<Task>);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }
    let _close = Close(inbox);
    let mut patience = Patience::UntilNews;
    while let Some(tasks) = inbox.take(patience) {
        tasks.into_iter().for_each(|task| task.begin(&mut scheduler));
        patience = if scheduler.step() { Patience::None } else { Patience::UntilNews };
    }
}

impl Task {
    /// Who asked for states and no longer waits for the answer does not need it.
    fn begin(self, scheduler: &mut Scheduler) {
        match self {
            Task::Run(job) => scheduler.accept(*job),
            Task::Save(mut out, reply) => drop(reply.send(scheduler.save(&mut *out))),
            Task::Load(mut input, reply) => drop(reply.send(scheduler.load(&mut *input))),
        }
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
