//! Loading a model, and letting others go for it.
//!
//! One model is loaded at a time, in the order in which they are asked for. What it may take is set aside before it is
//! loaded, and given back after its memory is: so all that is loaded, being loaded and being let go stays below the
//! budget. Only what is not in use is let go; where that is not enough, a model in use takes no new requests, and its
//! place is waited for.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bantam_grammar::Vocabulary;
use bantam_text::Dialect;
use futures_util::future::select;
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use crate::fault::broken;
use crate::fault::{Fault, Kind};
use crate::keep_alive::KeepAlive;
use crate::memory::{Fit, Need, bytes};
use crate::models::shelf::{LastUsed, Resident};
use crate::models::{Core, Model, Shared};
use crate::queue::Queue;
use crate::refusal::Refusal;

/// Memory that is set aside until this is dropped.
pub(super) struct Reserved {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Reserved {
    /// Of memory that the shelf counts as moving already.
    pub(super) fn new(shared: &Arc<Shared>, bytes: u64) -> Self {
        Reserved { shared: Arc::clone(shared), bytes }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut shelf = self.shared.shelf();
        shelf.moving_bytes = shelf.moving_bytes.saturating_sub(self.bytes);
        drop(shelf);
        self.shared.changed.send_replace(());
    }
}

/// What is being let go: first the model, then its memory.
pub(super) struct Gone {
    _resident: Resident,
    _reserved: Reserved,
}

/// What is to be done for room.
enum Step {
    Load(Fit, Reserved),
    LetGo(Gone),
    Wait,
}

/// While this lives, models may be asked to leave.
struct Asking<'a>(&'a Shared);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.shelf().welcome_all();
    }
}

impl Shared {
    /// Loads a model when it is its turn, unless it is there by then.
    pub(super) async fn load(
        self: &Arc<Self>,
        name: &str,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Arc<Model>, Fault> {
        let _place = self.places.try_acquire().map_err(|_| many_loads())?;
        let turn = Arc::clone(&self.loading).lock_owned().await;
        if let Some(model) = self.lease(name, keep_alive) {
            return Ok(model);
        }
        let shared = Arc::clone(self);
        let of = name.to_owned();
        let need = blocking(move || shared.library.need(&of)).await?;
        let (fit, reserved) = self.make_room(name, &need).await?;
        let (shared, of) = (Arc::clone(self), name.to_owned());
        let bytes = need.bytes(fit);
        // From here on it goes on without who asked for it: what was begun takes memory until it is done.
        let load = tokio::spawn(async move {
            let _turn = turn;
            let library = Arc::clone(&shared);
            let wanted = of.clone();
            let served = blocking(move || library.library.load(&wanted, fit)).await?;
            Ok(shared.place(&of, Core::new(served, shared.waiting_max), bytes, reserved, keep_alive))
        });
        load.await.map_err(|_| broken("loading the model broke off"))?
    }

    /// Puts a model that was loaded among the others.
    fn place(
        self: &Arc<Self>,
        name: &str,
        core: Core,
        bytes: u64,
        reserved: Reserved,
        keep_alive: Option<KeepAlive>,
    ) -> Arc<Model> {
        let last_used = Arc::new(LastUsed::new(self.changed.clone()));
        let mut shelf = self.shelf();
        let entry = shelf.find_mut(name);
        let counters = entry.as_ref().map(|entry| Arc::clone(&entry.counters)).unwrap_or_default();
        let core = Arc::new(Core { counters, ..core });
        let model = Model::new(&core, &last_used);
        // A name that is gone meanwhile has this request alone.
        if let Some(entry) = entry {
            let keep_alive = keep_alive.unwrap_or(self.keep_alive);
            entry.resident = Some(Resident::new(core, bytes, keep_alive, last_used));
        }
        drop(shelf);
        drop(reserved);
        Arc::new(model)
    }

    /// Lets go of others until a model fits, and sets its memory aside.
    async fn make_room(self: &Arc<Self>, name: &str, need: &Need) -> Result<(Fit, Reserved), Fault> {
        if need.least_bytes() > self.memory_max {
            return Err(self.too_large(name, need));
        }
        let mut changed = self.changed.subscribe();
        let _asking = Asking(self);
        loop {
            match self.next_step(name, need) {
                Step::Load(fit, reserved) => return Ok((fit, reserved)),
                Step::LetGo(gone) => drop(spawn_blocking(move || drop(gone)).await),
                Step::Wait => drop(changed.changed().await),
            }
        }
    }

    /// All that it could use, if that much can be had without anybody's harm; else as much as there is.
    fn next_step(self: &Arc<Self>, name: &str, need: &Need) -> Step {
        let mut shelf = self.shelf();
        match shelf.take_outdated(name) {
            Some(Ok(resident)) => return Step::LetGo(self.gone(resident)),
            Some(Err(_)) => return Step::Wait,
            None => {}
        }
        let room = self.memory_max.saturating_sub(shelf.used_bytes());
        let has_place = shelf.residents().count() < self.models_max;
        let fit = need.within(room).filter(|_| has_place);
        if !fit.is_some_and(|fit| need.has_all_sequences(&fit))
            && let Some(resident) = shelf.take_idle()
        {
            return Step::LetGo(self.gone(resident));
        }
        let Some(fit) = fit else {
            shelf.ask_to_leave();
            return Step::Wait;
        };
        let bytes = need.bytes(fit);
        shelf.moving_bytes = shelf.moving_bytes.saturating_add(bytes);
        Step::Load(fit, Reserved::new(self, bytes))
    }

    /// The shelf has set its memory aside already.
    pub(super) fn gone(self: &Arc<Self>, resident: Resident) -> Gone {
        let bytes = resident.bytes();
        Gone { _resident: resident, _reserved: Reserved::new(self, bytes) }
    }

    /// Lets go of models when their time is over, for ever.
    pub(super) async fn unload_expired(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        loop {
            let (expired, next) = self.shelf().take_expired(Instant::now());
            for resident in expired {
                let gone = self.gone(resident);
                spawn_blocking(move || drop(gone));
            }
            let time = async {
                match next {
                    Some(moment) => sleep_until(moment.into()).await,
                    None => pending().await,
                }
            };
            select(pin!(changed.changed()), pin!(time)).await;
        }
    }

    fn too_large(&self, name: &str, need: &Need) -> Fault {
        let message = format!(
            "model `{name}` does not fit: it needs {}, and the budget is {}; serve it with a smaller --ctx, keys in \
             q8_0 (--kv), or a larger --memory-max",
            need.told(),
            bytes(self.memory_max)
        );
        Fault {
            param: Some("model".into()),
            code: Some("out_of_memory"),
            ..Fault::new(Kind::Memory, message)
        }
    }
}

fn many_loads() -> Fault {
    let kind = Kind::Busy { retry_after_s: 10 };
    Fault::new(kind, "too many requests wait for models to be loaded: try again later")
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Fault> {
    let done = spawn_blocking(work).await.map_err(|_| broken("the library broke off"))?;
    Ok(done?)
}

impl Core {
    fn new(served: crate::served::Served, waiting_max: usize) -> Self {
        let queue = Arc::new(Queue::new(served.sequences_max, waiting_max));
        let vocabulary = Vocabulary::new(&served.tokenizer, served.vocab_size, &served.stop_tokens);
        let dialect = served.template.as_ref().map(Dialect::of).unwrap_or_default();
        Core { served, dialect, queue, counters: Arc::default(), vocabulary, adapters: Mutex::default() }
    }
}
