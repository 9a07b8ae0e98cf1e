//! The models of the command line, then those of the store, then those of a store of Ollama's.
//!
//! Headers are read once for each version of a model. A model whose files cannot be read, or that does not generate
//! text, is not listed.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Error, Result};
use bantam_hub::Located;
use bantam_server::{Fit, Library, Listed, Need, Progress, Recipe, Refusal, Served};
use bantam_tensor::format::adapter::AdapterFile;

use super::load::{self, Opened};
use super::{facts, store};
use crate::args::ServeArgs;
use crate::models::{Models, advised};
use crate::print::told;
use crate::units;

/// The models that can be served.
pub(crate) struct ModelLibrary {
    models: Models,
    args: ServeArgs,
    named: Vec<Named>,
    seen: Mutex<HashMap<String, Listed>>,
}

/// A model of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// As it stands there.
    pub(crate) wanted: String,
    /// As clients call it.
    pub(crate) name: String,
    located: Located,
}

impl Named {
    /// Finds a model, or fetches it.
    pub(crate) fn find(models: &Models, wanted: &str) -> Result<Self> {
        let located = models.pull(wanted)?;
        Ok(Named { wanted: wanted.to_owned(), name: facts::name(wanted, &located), located })
    }
}

impl ModelLibrary {
    /// The models that were named, before those of the store.
    ///
    /// # Errors
    ///
    /// One that was named and cannot be served.
    pub(crate) fn new(models: Models, args: ServeArgs, named: Vec<Named>) -> Result<Self> {
        let library = ModelLibrary { models, args, named, seen: Mutex::default() };
        for Named { name, located, .. } in &library.named {
            library.read(name, located).with_context(|| format!("cannot serve {name}"))?;
        }
        for (name, why) in library.unusable() {
            eprintln!("note: {name} is not served: {}", told(&why));
        }
        Ok(library)
    }

    /// All that there are now, by their names.
    fn located(&self) -> Vec<(String, Located)> {
        let named = self.named.iter().map(|named| (named.name.clone(), named.located.clone()));
        let mut all: Vec<(String, Located)> = named.collect();
        let hub = &self.models.hub;
        let own = hub.list().models.into_iter().filter_map(|model| hub.stored(&model.name).ok().flatten());
        for located in own.chain(hub.list_borrowed()) {
            let name = facts::name("", &located);
            if all.iter().all(|(other, _)| *other != name) {
                all.push((name, located));
            }
        }
        all
    }

    /// What is on this machine and not served, each with its reason.
    fn unusable(&self) -> Vec<(String, Error)> {
        let hub = &self.models.hub;
        let listing = hub.list();
        let damaged = listing
            .models
            .iter()
            .filter_map(|model| Some((model.name.clone(), Error::from(hub.why_not(&model.name)?))));
        let unread = listing.broken.into_iter().map(|error| ("a model".to_owned(), Error::from(error)));
        let unreadable = self.located().into_iter().filter_map(|(name, located)| {
            let why = self.read(&name, &located).err()?;
            Some((name, why))
        });
        damaged.chain(unread).chain(unreadable).collect()
    }

    fn find(&self, name: &str) -> Result<Located, Refusal> {
        let found = self.located().into_iter().find(|(found, _)| found == name);
        found
            .map(|(_, located)| located)
            .ok_or_else(|| Refusal::NotFound(format!("model `{name}` not found")))
    }

    /// What is told of a model; its header is read once.
    fn read(&self, name: &str, located: &Located) -> Result<Listed> {
        let version = facts::version(located);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(listed) = seen.filter(|listed| listed.version == version) {
            return Ok(listed);
        }
        let opened = Opened::open(&self.args, &self.models, located);
        let listed =
            opened.and_then(|opened| opened.listed(name)).map_err(|error| advised(error, located))?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), listed.clone());
        Ok(listed)
    }

    /// A model of the command line is there, if not in the store.
    fn of_store(&self, name: &str, refusal: Refusal) -> Refusal {
        let is_it = |named: &Named| named.located.manifest.is_none() && named.name == without_latest(name);
        match refusal {
            Refusal::NotFound(_) if self.named.iter().any(is_it) => Refusal::Invalid(format!(
                "`{name}` was named on the command line and is not in the store: wanted a model of the store"
            )),
            refusal => refusal,
        }
    }

    fn announce(&self, name: &str, need: &Need, fit: Fit) {
        eprintln!(
            "loaded {name}: {} of weights; {} answers at once, {} each, and {} for reuse: {} in all",
            units::bytes(need.weights_bytes),
            fit.sequences_max,
            units::bytes(need.sequence_bytes),
            units::bytes(fit.kept_bytes_max),
            units::bytes(need.bytes(fit)),
        );
    }
}

impl Library for ModelLibrary {
    fn list(&self) -> Vec<Listed> {
        self.located().iter().filter_map(|(name, located)| self.read(name, located).ok()).collect()
    }

    fn why_not(&self, name: &str) -> Option<String> {
        let name = without_latest(name);
        let is_it = |found: &str| without_latest(found).eq_ignore_ascii_case(name);
        let why = match self.located().into_iter().find(|(found, _)| is_it(found)) {
            Some((found, located)) => self.read(&found, &located).err()?,
            None => self.models.hub.why_not(name)?.into(),
        };
        Some(told(&why))
    }

    fn need(&self, name: &str) -> Result<Need, Refusal> {
        let located = self.find(name)?;
        let need = Opened::open(&self.args, &self.models, &located).and_then(|opened| opened.need());
        need.with_context(|| format!("cannot load {name}")).map_err(failed)
    }

    fn load(&self, name: &str, fit: Fit) -> Result<Served, Refusal> {
        let located = self.find(name)?;
        let load = || -> Result<Served> {
            let opened = Opened::open(&self.args, &self.models, &located)?;
            let need = opened.need()?;
            let served = opened.serve(name, fit)?;
            self.announce(name, &need, fit);
            Ok(served)
        };
        load().with_context(|| format!("cannot load {name}")).map_err(failed)
    }

    fn pull(&self, name: &str, tell: &mut dyn FnMut(Progress) -> bool) -> Result<(), Refusal> {
        store::pull(&self.models, name, tell)
    }

    fn create(&self, name: &str, recipe: &Recipe) -> Result<(), Refusal> {
        let made = store::create(&self.models, name, recipe);
        made.map_err(|refusal| self.of_store(recipe.from.as_deref().unwrap_or_default(), refusal))
    }

    fn copy(&self, from: &str, to: &str) -> Result<(), Refusal> {
        store::copy(&self.models, from, to).map_err(|refusal| self.of_store(from, refusal))
    }

    fn delete(&self, name: &str) -> Result<(), Refusal> {
        store::delete(&self.models, name).map_err(|refusal| self.of_store(name, refusal))
    }

    fn has_blob(&self, digest: &str) -> Result<bool, Refusal> {
        store::has_blob(&self.models, digest)
    }

    fn put_blob(&self, digest: &str, bytes: &mut dyn Read, announced: u64) -> Result<(), Refusal> {
        store::put_blob(&self.models, digest, bytes, announced)
    }

    fn adapter_bytes(&self, place: &str) -> Result<u64, Refusal> {
        let path = self.args.adapters.path(place).ok_or_else(|| {
            let folders = self.args.adapters.folders_told();
            Refusal::NotFound(format!(
                "no adapter at {place}: wanted one that the server was started with, or in {folders}"
            ))
        })?;
        let file = AdapterFile::open(&path).map_err(|error| Refusal::Invalid(error.to_string()))?;
        Ok(load::adapter_bytes(&file))
    }
}

fn failed(error: Error) -> Refusal {
    Refusal::Failed(told(&error))
}

/// `:latest` is what a name without a tag means.
pub(super) fn without_latest(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}
