//! The models of the command line, then those of the store.
//!
//! Headers are read once for each version of a model. A model whose files cannot be read, or that does not generate
//! text, is not listed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use bantam::Loaded;
use bantam_hub::Located;
use bantam_server::{Fit, Library, Listed, Need, Refusal, Served};

use super::{facts, load};
use crate::args::ServeArgs;
use crate::models::Models;
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
    pub(crate) fn new(models: Models, args: ServeArgs, named: Vec<Named>) -> Self {
        ModelLibrary { models, args, named, seen: Mutex::default() }
    }

    /// All that there are now, by their names.
    fn located(&self) -> Vec<(String, Located)> {
        let named = self.named.iter().map(|named| (named.name.clone(), named.located.clone()));
        let mut all: Vec<(String, Located)> = named.collect();
        for manifest in self.models.hub.list().models {
            // What lies in the store under no name of the catalogue is found by its own.
            let reference = manifest.name.parse();
            let located = reference.ok().and_then(|reference| self.models.hub.resolve(&reference).ok());
            if let Some(located) = located.filter(|_| all.iter().all(|(name, _)| *name != manifest.name)) {
                all.push((manifest.name, located));
            }
        }
        all
    }

    fn find(&self, name: &str) -> Result<Located, Refusal> {
        let found = self.located().into_iter().find(|(found, _)| found == name);
        found
            .map(|(_, located)| located)
            .ok_or_else(|| Refusal::NotFound(format!("model `{name}` not found")))
    }

    fn listed(&self, name: &str, located: &Located) -> Option<Listed> {
        let version = facts::version(located);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(listed) = seen.filter(|listed| listed.version == version) {
            return Some(listed);
        }
        let loaded = Loaded::open(&located.path).ok()?;
        let listed = load::listed(&self.args, name, located, &loaded);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), listed.clone());
        Some(listed)
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
        self.located().iter().filter_map(|(name, located)| self.listed(name, located)).collect()
    }

    fn need(&self, name: &str) -> Result<Need, Refusal> {
        let located = self.find(name)?;
        let need = Loaded::open(&located.path)
            .map_err(anyhow::Error::from)
            .and_then(|loaded| load::need(&self.args, &self.models, &loaded));
        need.with_context(|| format!("cannot load {name}")).map_err(failed)
    }

    fn load(&self, name: &str, fit: Fit) -> Result<Served, Refusal> {
        let located = self.find(name)?;
        let load = || -> Result<Served> {
            let loaded = Loaded::open(&located.path)?;
            let need = load::need(&self.args, &self.models, &loaded)?;
            let listed = load::listed(&self.args, name, &located, &loaded);
            let served = load::load(&self.args, &self.models, listed, &loaded, fit)?;
            self.announce(name, &need, fit);
            Ok(served)
        };
        load().with_context(|| format!("cannot load {name}")).map_err(failed)
    }
}

fn failed(error: anyhow::Error) -> Refusal {
    Refusal::Failed(crate::print::told(&error))
}
