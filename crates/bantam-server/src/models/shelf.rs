//! The models there are, those among them that are loaded, and the memory that these take.
//!
//! A model in use is one whose `Core` somebody besides the shelf holds. Only the shelf hands it out, so while the
//! shelf is locked a model that is not in use stays so, and can be let go.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use bantam_engine::Adapter;
use tokio::sync::watch;

use crate::counters::Counters;
use crate::keep_alive::KeepAlive;
use crate::library::Listed;
use crate::models::Core;
use crate::names::are_same;
use crate::queue::Queue;

/// All models.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(super) entries: Vec<Entry>,
    /// Of models that are being loaded, and of those that are being let go.
    pub(super) moving_bytes: u64,
}

/// A model, loaded or not.
pub(crate) struct Entry {
    pub(crate) listed: Listed,
    pub(crate) counters: Arc<Counters>,
    pub(super) resident: Option<Resident>,
    /// Whether the library still has it; what is in use outlives that.
    is_there: bool,
}

/// A model that is loaded.
pub(crate) struct Resident {
    pub(super) core: Arc<Core>,
    own_bytes: u64,
    /// What its adapters take that somebody still holds.
    adapters: Vec<(Weak<Adapter>, u64)>,
    pub(super) keep_alive: KeepAlive,
    pub(super) last_used: Arc<LastUsed>,
    /// When a request last began: by this models take turns, since one may end after its reply was read.
    pub(super) last_asked: Instant,
    /// Whether its place is wanted: who asks for it now waits behind those who want the place.
    pub(super) is_leaving: bool,
    /// Whether its name has come to mean another model.
    is_outdated: bool,
}

/// When a model was last in use, and who is told that it no longer is.
pub(crate) struct LastUsed {
    at: Mutex<Instant>,
    changed: watch::Sender<()>,
}

/// A model as it is told of.
pub(crate) struct Loaded {
    pub(crate) listed: Listed,
    pub(crate) bytes: u64,
    pub(crate) context_length: usize,
    /// `None` for never.
    pub(crate) expires: Option<Instant>,
}

/// A model with what was done for it.
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) counters: Arc<Counters>,
    /// The queue before it, while it is loaded.
    pub(crate) queue: Option<Arc<Queue>>,
    pub(crate) loaded_bytes: u64,
    /// What its engine does, while it is loaded.
    pub(crate) engine: Option<bantam_engine::Figures>,
}

impl LastUsed {
    pub(super) fn new(changed: watch::Sender<()>) -> Self {
        LastUsed { at: Mutex::new(Instant::now()), changed }
    }

    fn at(&self) -> Instant {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was in use until now.
    pub(super) fn release(&self) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.changed.send_replace(());
    }
}

impl Resident {
    pub(super) fn new(core: Arc<Core>, bytes: u64, keep_alive: KeepAlive, last_used: Arc<LastUsed>) -> Self {
        Resident {
            core,
            own_bytes: bytes,
            adapters: Vec::new(),
            keep_alive,
            last_used,
            last_asked: Instant::now(),
            is_leaving: false,
            is_outdated: false,
        }
    }

    /// What it takes at most, adapters included.
    pub(super) fn bytes(&self) -> u64 {
        let held = self.adapters.iter().filter(|(adapter, _)| adapter.strong_count() > 0);
        held.fold(self.own_bytes, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.core) == 1
    }

    /// Whether requests may still begin.
    pub(super) fn is_welcome(&self) -> bool {
        !self.is_leaving && !self.is_outdated
    }

    fn expires(&self) -> Option<Instant> {
        self.keep_alive.end(self.last_used.at())
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.is_idle() && (self.is_outdated || self.expires().is_some_and(|end| end <= now))
    }
}

impl Shelf {
    /// Takes in what the library has now. A name with another version is another model.
    pub(super) fn refresh(&mut self, list: Vec<Listed>) {
        let mut old = std::mem::take(&mut self.entries);
        for listed in list {
            let place = old.iter().position(|entry| entry.listed.name == listed.name);
            let entry = match place.map(|place| old.remove(place)) {
                Some(entry) => entry.with(listed),
                None => Entry { listed, counters: Arc::default(), resident: None, is_there: true },
            };
            self.entries.push(entry);
        }
        let left = old.into_iter().filter(|entry| entry.resident.is_some());
        self.entries.extend(left.map(Entry::gone));
    }

    /// The models that the library has.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.entries.iter().filter(|entry| entry.is_there).map(|entry| &entry.listed)
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is_there && are_same(&entry.listed.name, name))
    }

    pub(super) fn find_mut(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.is_there && are_same(&entry.listed.name, name))
    }

    pub(super) fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.entries.iter().filter_map(|entry| entry.resident.as_ref())
    }

    /// Bytes that are spoken for.
    pub(super) fn used_bytes(&self) -> u64 {
        self.residents().fold(self.moving_bytes, |sum, resident| sum.saturating_add(resident.bytes()))
    }

    /// The model that was asked for longest ago and is not in use.
    pub(super) fn take_idle(&mut self) -> Option<Resident> {
        let entries =
            self.entries.iter().filter(|entry| entry.resident.as_ref().is_some_and(Resident::is_idle));
        let oldest =
            entries.min_by_key(|entry| entry.resident.as_ref().map(|resident| resident.last_asked))?;
        let name = oldest.listed.name.clone();
        self.take(name)
    }

    /// A model under this name that is not the library's any more, once it is not in use.
    pub(super) fn take_outdated(&mut self, name: &str) -> Option<Result<Resident, InUse>> {
        let resident = self.find(name)?.resident.as_ref().filter(|resident| resident.is_outdated)?;
        if !resident.is_idle() {
            return Some(Err(InUse));
        }
        self.take(self.find(name)?.listed.name.clone()).map(Ok)
    }

    fn take(&mut self, name: String) -> Option<Resident> {
        let entry =
            self.entries.iter_mut().find(|entry| entry.listed.name == name && entry.resident.is_some())?;
        let resident = entry.resident.take()?;
        self.moving_bytes = self.moving_bytes.saturating_add(resident.bytes());
        Some(resident)
    }

    /// Asks the model that was asked for longest ago to leave when its answers have ended.
    pub(super) fn ask_to_leave(&mut self) {
        let residents = self.entries.iter_mut().filter_map(|entry| entry.resident.as_mut());
        if let Some(oldest) = residents.min_by_key(|resident| resident.last_asked) {
            oldest.is_leaving = true;
        }
    }

    /// A model has one more adapter.
    pub(super) fn adapt(&mut self, core: &Arc<Core>, adapter: &Arc<Adapter>, bytes: u64) {
        let residents = self.entries.iter_mut().filter_map(|entry| entry.resident.as_mut());
        for resident in residents.filter(|resident| Arc::ptr_eq(&resident.core, core)) {
            resident.adapters.retain(|(adapter, _)| adapter.strong_count() > 0);
            resident.adapters.push((Arc::downgrade(adapter), bytes));
        }
    }

    /// Nobody's place is wanted any more.
    pub(super) fn welcome_all(&mut self) {
        self.entries
            .iter_mut()
            .filter_map(|entry| entry.resident.as_mut())
            .for_each(|one| one.is_leaving = false);
    }

    /// Those whose time is over, and when the next one's will be.
    pub(super) fn take_expired(&mut self, now: Instant) -> (Vec<Resident>, Option<Instant>) {
        let expired =
            |entry: &Entry| entry.resident.as_ref().is_some_and(|resident| resident.is_expired(now));
        let names: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| expired(entry))
            .map(|entry| entry.listed.name.clone())
            .collect();
        let gone = names.into_iter().filter_map(|name| self.take(name)).collect();
        self.entries.retain(|entry| entry.is_there || entry.resident.is_some());
        let idle = self.residents().filter(|resident| resident.is_idle());
        (gone, idle.filter_map(Resident::expires).min())
    }

    pub(super) fn loaded(&self) -> Vec<Loaded> {
        let told = |entry: &Entry| {
            entry.resident.as_ref().map(|resident| Loaded {
                listed: entry.listed.clone(),
                bytes: resident.bytes(),
                context_length: resident.core.served.context_length,
                expires: resident.expires(),
            })
        };
        self.entries.iter().filter_map(told).collect()
    }

    pub(super) fn figures(&self) -> Vec<Figures> {
        let figures = |entry: &Entry| Figures {
            name: entry.listed.name.clone(),
            counters: Arc::clone(&entry.counters),
            queue: entry.resident.as_ref().map(|resident| Arc::clone(&resident.core.queue)),
            loaded_bytes: entry.resident.as_ref().map_or(0, Resident::bytes),
            engine: entry.resident.as_ref().and_then(|resident| resident.core.served.generator.figures()),
        };
        self.entries.iter().map(figures).collect()
    }
}

/// Somebody uses it.
pub(crate) struct InUse;

impl Entry {
    fn with(mut self, listed: Listed) -> Self {
        if let Some(resident) = self.resident.as_mut() {
            resident.is_outdated |= listed.version != self.listed.version;
        }
        Entry { listed, is_there: true, ..self }
    }

    fn gone(mut self) -> Self {
        if let Some(resident) = self.resident.as_mut() {
            resident.is_outdated = true;
        }
        Entry { is_there: false, ..self }
    }
}
