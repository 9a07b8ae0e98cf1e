//! The models that are served, by their names: loaded when they are asked for, let go when they are not.

mod adapters;
mod loading;
mod shelf;

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bantam_engine::Adapter;
use bantam_grammar::Vocabulary;
use bantam_text::Dialect;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::counters::Counters;
use crate::error::Error;
use crate::fault::broken;
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::keep_alive::KeepAlive;
use crate::library::{Library, Listed};
use crate::limits::LOADS_WAITING_MAX;
use crate::names::{AdapterName, AdapterPart, Alias, NamedAdapter, Wanted, are_same, canonical};
use crate::queue::Queue;
use crate::refusal::Refusal;
use crate::served::Served;
use crate::settings::Settings;

use loading::blocking;
pub(crate) use shelf::{Figures, Loaded};
use shelf::{LastUsed, Shelf};

/// A model that a request uses, which stays loaded as long as this is held.
pub(crate) struct Model {
    /// What the reply calls it: the model, or its adapter.
    pub(crate) name: String,
    /// What changes the model for this request.
    pub(crate) adapter: Option<Arc<Adapter>>,
    core: Arc<Core>,
    // Behind the model: when this goes, the model is no longer in use.
    release: Release,
}

/// What all requests for a model share.
pub(crate) struct Core {
    pub(crate) served: Served,
    /// How it thinks and calls.
    pub(crate) dialect: Dialect,
    pub(crate) queue: Arc<Queue>,
    pub(crate) counters: Arc<Counters>,
    /// What grammars are compiled over.
    pub(crate) vocabulary: Vocabulary,
    /// Those that are open, longest first.
    adapters: Mutex<Vec<(Vec<AdapterPart>, Arc<Adapter>)>>,
}

struct Release(Arc<LastUsed>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Core {
    /// About how long one that comes now waits for its turn, by how long others took.
    pub(crate) fn wait(&self) -> Duration {
        let ahead = self.queue.inside().saturating_sub(self.queue.running() + 1);
        let rounds = ahead.div_ceil(self.served.sequences_max.max(1));
        self.counters.whole.mean().saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }
}

impl Deref for Model {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Model {
    fn new(core: &Arc<Core>, last_used: &Arc<LastUsed>) -> Self {
        let (name, core) = (core.served.name.clone(), Arc::clone(core));
        Model { name, adapter: None, core, release: Release(Arc::clone(last_used)) }
    }

    /// The same model, changed by an adapter.
    fn with(&self, name: String, adapter: Arc<Adapter>) -> Self {
        let (core, release) = (Arc::clone(&self.core), Release(Arc::clone(&self.release.0)));
        Model { name, adapter: Some(adapter), core, release }
    }
}

/// All models.
#[derive(Clone)]
pub(crate) struct Models(Arc<Shared>);

struct Shared {
    library: Box<dyn Library>,
    aliases: Vec<Alias>,
    memory_max: u64,
    models_max: usize,
    waiting_max: usize,
    keep_alive: KeepAlive,
    adapters: Mutex<Vec<NamedAdapter>>,
    shelf: Mutex<Shelf>,
    /// Whose turn it is to load.
    loading: Arc<tokio::sync::Mutex<()>>,
    /// Requests that may wait for that.
    places: Semaphore,
    /// Some model has become idle, or some memory free.
    changed: watch::Sender<()>,
}

impl Models {
    /// The models of a library.
    ///
    /// # Errors
    ///
    /// Names that are there twice; an alias of nothing.
    pub(crate) fn new(library: Box<dyn Library>, settings: &Settings) -> Result<Self, Error> {
        let mut shelf = Shelf::default();
        shelf.refresh(library.list());
        let why_not =
            |name: &str| library.why_not(name).unwrap_or_else(|| "there is no such model here".into());
        let adapters = adapters_of(&shelf, &settings.adapters, &why_not)?;
        check_names(&shelf, settings, &why_not)?;
        Ok(Models(Arc::new(Shared {
            library,
            aliases: settings.aliases.clone(),
            memory_max: settings.memory_max,
            models_max: settings.models_max.max(1),
            waiting_max: settings.waiting_max,
            keep_alive: settings.keep_alive,
            adapters: Mutex::new(adapters),
            shelf: Mutex::new(shelf),
            loading: Arc::default(),
            places: Semaphore::new(LOADS_WAITING_MAX),
            changed: watch::Sender::new(()),
        })))
    }

    /// The model that a request wants, loaded.
    ///
    /// # Errors
    ///
    /// A name that nothing has; a model that does not fit, or cannot be loaded; too many that wait.
    pub(crate) async fn open(&self, fields: &Fields<'_>) -> Result<Arc<Model>, Fault> {
        self.open_wanted(&Wanted::read(fields)?).await
    }

    /// As [`Models::open`]; where several models stand in for each other, the first that can be had.
    pub(crate) async fn open_wanted(&self, wanted: &Wanted) -> Result<Arc<Model>, Fault> {
        let mut first = None;
        for target in self.targets(wanted.name.as_deref()).await? {
            match self.open_target(&target, wanted).await {
                Ok(model) => return Ok(model),
                Err(fault) => drop(first.get_or_insert(fault)),
            }
        }
        Err(first.unwrap_or_else(|| self.0.unknown("")))
    }

    async fn open_target(&self, target: &Target, wanted: &Wanted) -> Result<Arc<Model>, Fault> {
        let model = match self.0.lease(&target.model, wanted.keep_alive) {
            Some(model) => model,
            None => self.0.load(&target.model, wanted.keep_alive).await?,
        };
        let named = target.adapter.iter().map(|name| (AdapterName::Name(name.clone()), 1.0));
        let adapters = wanted.adapters.clone().unwrap_or_else(|| named.collect());
        self.0.adapted(model, &adapters).await
    }

    /// The model of a name.
    async fn open_name(&self, name: Option<&str>) -> Result<Arc<Model>, Fault> {
        self.open_wanted(&Wanted { name: name.map(str::to_owned), ..Wanted::default() }).await
    }

    /// What is known of the model that a request wants, loaded or not.
    ///
    /// # Errors
    ///
    /// A name that nothing has.
    pub(crate) async fn find(&self, name: Option<&str>) -> Result<Listed, Fault> {
        let targets = self.targets(name).await?;
        let shelf = self.0.shelf();
        let found = targets.iter().find_map(|target| shelf.find(&target.model));
        let found = found.map(|entry| entry.listed.clone());
        drop(shelf);
        found.ok_or_else(|| self.0.unknown(name.unwrap_or_default()))
    }

    /// All models that there are now, the default one first.
    pub(crate) async fn all(&self) -> Vec<Listed> {
        // A library that breaks off leaves what was known.
        let _ = self.refresh().await;
        self.0.shelf().listed().cloned().collect()
    }

    /// Other names of a model.
    pub(crate) fn aliases_of(&self, name: &str) -> Vec<String> {
        let default = self.0.shelf().listed().next().map(|listed| listed.name.clone()).unwrap_or_default();
        let is_of = |alias: &&Alias| match alias.models.first() {
            Some(first) => are_same(first, name),
            None => are_same(&default, name),
        };
        self.0.aliases.iter().filter(is_of).map(|alias| alias.name.clone()).collect()
    }

    /// Bytes that all that are loaded may take together; `None` without a limit.
    pub(crate) fn memory_max(&self) -> Option<u64> {
        Some(self.0.memory_max).filter(|max| *max < u64::MAX)
    }

    /// Those that are loaded.
    pub(crate) fn loaded(&self) -> Vec<Loaded> {
        self.0.shelf().loaded()
    }

    /// What was done for each.
    pub(crate) fn figures(&self) -> Vec<Figures> {
        self.0.shelf().figures()
    }

    /// Lets go of a model as soon as nobody uses it; its name.
    ///
    /// # Errors
    ///
    /// A name that nothing has.
    pub(crate) async fn unload(&self, name: Option<&str>) -> Result<String, Fault> {
        let name = self.find(name).await?.name;
        let mut shelf = self.0.shelf();
        if let Some(resident) = shelf.find_mut(&name).and_then(|entry| entry.resident.as_mut()) {
            resident.keep_alive = KeepAlive::For(Duration::ZERO);
        }
        drop(shelf);
        self.0.changed.send_replace(());
        Ok(name)
    }

    /// Lets go of models when their time is over, for ever.
    pub(crate) async fn unload_expired(&self) {
        Arc::clone(&self.0).unload_expired().await;
    }

    /// What a name stands for. What is new in the library is looked for if that is nothing.
    async fn targets(&self, name: Option<&str>) -> Result<Vec<Target>, Fault> {
        if let Some(targets) = self.0.resolve(name) {
            return Ok(targets);
        }
        self.refresh().await?;
        match self.0.resolve(name) {
            Some(targets) => Ok(targets),
            None => Err(self.missing(name.unwrap_or_default()).await),
        }
    }

    /// Why a name stands for nothing: what is here and cannot be used is told apart from what is not here.
    async fn missing(&self, name: &str) -> Fault {
        let (shared, name) = (Arc::clone(&self.0), name.to_owned());
        let looked = spawn_blocking(move || {
            let aliased = shared.aliases.iter().find(|alias| are_same(&alias.name, &name));
            let mut names = std::iter::once(&name).chain(aliased.iter().flat_map(|alias| &alias.models));
            let unusable = names.find_map(|name| Some((name.clone(), shared.library.why_not(name)?)));
            unusable.map_or_else(|| shared.unknown(&name), |(name, why)| unusable_fault(&name, &why))
        });
        looked.await.unwrap_or_else(|_| broken("looking for the model broke off"))
    }

    /// Has the library do something that changes what there is.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(crate) async fn change(
        &self,
        change: impl FnOnce(&dyn Library) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<(), Fault> {
        let done = self.ask(change).await;
        self.refresh().await?;
        done
    }

    /// Has the library do something that takes its time.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Library) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Fault> {
        let shared = Arc::clone(&self.0);
        blocking(move || work(&*shared.library)).await
    }

    async fn refresh(&self) -> Result<(), Fault> {
        let shared = Arc::clone(&self.0);
        let list = spawn_blocking(move || shared.library.list()).await;
        self.0.shelf().refresh(list.map_err(|_| broken("listing the models broke off"))?);
        // What is out of date can go.
        self.0.changed.send_replace(());
        Ok(())
    }
}

impl Shared {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A model that is loaded and takes requests.
    fn lease(&self, name: &str, keep_alive: Option<KeepAlive>) -> Option<Arc<Model>> {
        let mut shelf = self.shelf();
        let resident = shelf.find_mut(name)?.resident.as_mut().filter(|resident| resident.is_welcome())?;
        resident.keep_alive = keep_alive.unwrap_or(self.keep_alive);
        resident.last_asked = Instant::now();
        Some(Arc::new(Model::new(&resident.core, &resident.last_used)))
    }

    fn adapters(&self) -> MutexGuard<'_, Vec<NamedAdapter>> {
        self.adapters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a name stands for: a model, an adapter, or several that stand in for each other; `None` if none of them is
    /// known.
    fn resolve(&self, name: Option<&str>) -> Option<Vec<Target>> {
        let shelf = self.shelf();
        let plain = |listed: &Listed| Target { model: listed.name.clone(), adapter: None };
        let default = || shelf.listed().next().map(|listed| vec![plain(listed)]);
        let Some(name) = name else { return default() };
        if let Some(alias) = self.aliases.iter().find(|alias| are_same(&alias.name, name)) {
            let known = alias.models.iter().filter_map(|name| self.named(&shelf, name));
            let known: Vec<Target> = known.collect();
            return if alias.models.is_empty() {
                default()
            } else {
                Some(known).filter(|known| !known.is_empty())
            };
        }
        self.named(&shelf, name).map(|target| vec![target])
    }

    /// A model, or a model with an adapter.
    fn named(&self, shelf: &Shelf, name: &str) -> Option<Target> {
        if let Some(entry) = shelf.find(name) {
            return Some(Target { model: entry.listed.name.clone(), adapter: None });
        }
        let adapters = self.adapters();
        let adapter = adapters.iter().find(|adapter| are_same(&adapter.name, name))?;
        Some(Target { model: adapter.model.clone()?, adapter: Some(adapter.name.clone()) })
    }

    fn unknown(&self, name: &str) -> Fault {
        let shelf = self.shelf();
        let listed = shelf.listed().map(|listed| listed.name.as_str());
        let names: Vec<&str> =
            listed.chain(self.aliases.iter().map(|alias| alias.name.as_str())).take(NAMES_TOLD_MAX).collect();
        // Clients know this as a model that was not found by these words.
        let names = if names.is_empty() { "no models".to_owned() } else { names.join(", ") };
        let message = format!("model `{name}` not found: this server has {names}");
        Fault {
            param: Some("model".into()),
            code: Some("model_not_found"),
            ..Fault::new(Kind::NotFound, message)
        }
    }
}

/// A model that is here and cannot be loaded is not one that is not here.
fn unusable_fault(name: &str, why: &str) -> Fault {
    let message = format!("model `{name}` is on this machine and cannot be used: {why}");
    Fault { param: Some("model".into()), code: Some("model_unusable"), ..Fault::new(Kind::Internal, message) }
}

/// What a name stands for.
struct Target {
    model: String,
    adapter: Option<String>,
}

/// Names that an error tells.
const NAMES_TOLD_MAX: usize = 20;

/// Adapters with the names of their models.
fn adapters_of(
    shelf: &Shelf,
    adapters: &[NamedAdapter],
    why_not: &dyn Fn(&str) -> String,
) -> Result<Vec<NamedAdapter>, Error> {
    let of = |adapter: &NamedAdapter| {
        let listed = match &adapter.model {
            Some(model) => shelf.find(model).map(|entry| &entry.listed),
            None => shelf.listed().next(),
        };
        let model = listed.map(|listed| listed.name.clone());
        let unknown = || Error::AdapterOfNothing {
            name: adapter.name.clone(),
            model: adapter.model.clone().unwrap_or_default(),
            why: why_not(adapter.model.as_deref().unwrap_or_default()),
        };
        Ok(NamedAdapter { model: Some(model.ok_or_else(unknown)?), ..adapter.clone() })
    };
    adapters.iter().map(of).collect()
}

fn check_names(shelf: &Shelf, settings: &Settings, why_not: &dyn Fn(&str) -> String) -> Result<(), Error> {
    let (aliases, adapters) = (&settings.aliases, &settings.adapters);
    let names = shelf.listed().map(|listed| &listed.name).chain(aliases.iter().map(|alias| &alias.name));
    let names = names.chain(adapters.iter().map(|adapter| &adapter.name));
    let mut names: Vec<String> = names.map(|name| canonical(name)).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::SameName { name: twice[0].clone() });
    }
    let is_named = |name: &String| {
        shelf.find(name).is_some() || adapters.iter().any(|adapter| are_same(&adapter.name, name))
    };
    for alias in aliases {
        let is_known = alias.models.is_empty() || alias.models.iter().any(is_named);
        if !is_known {
            let (name, models) = (alias.name.clone(), alias.models.join(", "));
            let why = why_not(alias.models.first().map_or("", String::as_str));
            return Err(Error::AliasOfNothing { name, models, why });
        }
    }
    Ok(())
}
