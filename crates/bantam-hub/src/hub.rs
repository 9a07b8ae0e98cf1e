//! The door of this crate: find a model, or bring it here.

use crate::catalogue::{Catalogue, Pick};
use crate::error::MirrorFailure;
use crate::hf::{self, HubWant};
use crate::manifest::Manifest;
use crate::net::Client;
use crate::observer::{Event, Observer, Terms};
use crate::ollama::OllamaStore;
use crate::pip::Pip;
use crate::quant::Want;
use crate::reference::{HubReference, Reference};
use crate::settings::{Allowed, Network, Settings};
use crate::store::{Listing, Located, Removal, Store};
use crate::{Error, Result};

/// Models: where they come from and where they lie.
pub struct Hub {
    settings: Settings,
    catalogue: Catalogue,
    pub(crate) store: Store,
    ollama: OllamaStore,
}

/// A reference made definite: what the store calls it, and what the hub is to be asked for.
struct Target<'a> {
    name: String,
    pick: Option<Pick<'a>>,
    repo: &'a str,
    revision: &'a str,
    want: Want<'a>,
}

impl Hub {
    /// A hub over the built-in catalogue.
    pub fn new(settings: Settings) -> Result<Hub> {
        Ok(Hub::with_catalogue(settings, Catalogue::builtin()?))
    }

    /// A hub over another catalogue.
    pub fn with_catalogue(settings: Settings, catalogue: Catalogue) -> Hub {
        let store = Store::new(&settings.home);
        let ollama = OllamaStore::new(&settings.ollama);
        Hub { settings, catalogue, store, ollama }
    }

    /// The models that can be named.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The model, if it is in the store or is a path: opens no socket, starts nothing, and hashes nothing.
    ///
    /// # Errors
    /// [`Error::NotHere`] when it would have to be pulled, [`Error::UnknownModel`] when nothing has that name.
    pub fn resolve(&self, reference: &Reference) -> Result<Located> {
        let target = match reference {
            Reference::Path(path) => return locate_path(path),
            Reference::Name(name) => match self.stored(name)? {
                Some(located) => return Ok(located),
                None => match self.named(name) {
                    Ok(target) => target,
                    // It cannot be brought here, and is here in part.
                    Err(unknown) => return Err(self.store.why_not(name)?.unwrap_or(unknown)),
                },
            },
            Reference::Hub(hub) => Target::of_hub(hub),
        };
        let here = self.stored(&target.name)?;
        here.ok_or(Error::NotHere { name: target.name })
    }

    /// The model, brought here first if need be: from the store, else from the hub's cache on this machine, else from
    /// the first mirror that has it with the right hash. An interrupted pull goes on from where it stopped.
    ///
    /// `now_unix_s` is kept in the manifest as the time of the pull.
    ///
    /// # Errors
    /// [`Error::AllMirrors`] lists each mirror with its reason.
    pub fn pull(
        &self,
        reference: &Reference,
        now_unix_s: u64,
        observer: &mut dyn Observer,
    ) -> Result<Located> {
        let why = match self.resolve(reference) {
            Err(why @ (Error::NotHere { .. } | Error::Manifest { .. })) => why,
            result => return result,
        };
        let target = match reference {
            Reference::Path(path) => return locate_path(path),
            // What is wrong with a model that is here says more than that none can be brought here.
            Reference::Name(name) => match (self.named(name), why) {
                (Err(_), why @ Error::Manifest { .. }) => return Err(why),
                (target, _) => target?,
            },
            Reference::Hub(hub) => Target::of_hub(hub),
        };
        let mut manifest = match hf::find_cached(&self.settings, &target.hub_want()?, observer)? {
            Some(manifest) => manifest,
            None => self.fetch(&target, observer)?,
        };
        manifest.licence =
            target.pick.and_then(|pick| self.catalogue.licence(pick.entry)).map(|l| l.name.clone());
        manifest.pulled_unix_s = now_unix_s;
        self.store.install(manifest)
    }

    /// The models of the store.
    pub fn list(&self) -> Listing {
        self.store.list()
    }

    /// The models of a store of Ollama's on this machine whose names no model of our own has. They are used where they
    /// lie, and only read.
    pub fn list_borrowed(&self) -> Vec<Located> {
        let is_free = |manifest: &Manifest| matches!(self.store.manifest(&manifest.name), Ok(None));
        let borrowed = self.ollama.list().into_iter().filter(is_free);
        borrowed.map(|manifest| self.store.located(manifest)).collect()
    }

    /// A model on this machine by its exact name: one of the store, else one of Ollama's.
    ///
    /// # Errors
    /// A name that cannot be one; a manifest that cannot be read.
    pub fn stored(&self, name: &str) -> Result<Option<Located>> {
        let borrowed = || self.ollama.find(name).map(|manifest| self.store.located(manifest));
        Ok(self.store.locate(name)?.or_else(borrowed))
    }

    /// Why a model cannot be used that the store has under this exact name: a manifest that cannot be read, a file that
    /// is gone or has another length. `None` where there is no such model, and where nothing is wrong.
    pub fn why_not(&self, name: &str) -> Option<Error> {
        match self.store.why_not(name) {
            Ok(damaged) => damaged,
            Err(Error::BadReference { .. }) => None,
            Err(error) => Some(error),
        }
    }

    /// What is known of such a model.
    pub(crate) fn manifest(&self, name: &str) -> Result<Option<Manifest>> {
        Ok(self.store.manifest(name)?.or_else(|| self.ollama.find(name)))
    }

    /// What is known of a model on this machine.
    ///
    /// # Errors
    /// [`Error::NotHere`]; a manifest that cannot be read.
    pub fn show(&self, reference: &Reference) -> Result<Manifest> {
        let name = self.store_name(reference)?;
        self.manifest(&name)?.ok_or(Error::NotHere { name })
    }

    /// Takes a model out of the store. Files outside the store stay where they are.
    ///
    /// # Errors
    /// [`Error::NotHere`]; [`Error::Borrowed`] for one of Ollama's.
    pub fn remove(&self, reference: &Reference) -> Result<Removal> {
        let name = self.store_name(reference)?;
        match self.store.remove(&name) {
            Err(Error::NotHere { .. }) if self.ollama.find(&name).is_some() => Err(Error::Borrowed { name }),
            done => done,
        }
    }

    /// An exact name comes first: it may be of a model that the catalogue does not have.
    fn store_name(&self, reference: &Reference) -> Result<String> {
        match reference {
            Reference::Path(path) => Err(Error::NotHere { name: path.display().to_string() }),
            Reference::Hub(hub) => Ok(hub.to_string()),
            Reference::Name(name) if self.manifest(name)?.is_some() => Ok(name.clone()),
            Reference::Name(name) => Ok(self.named(name)?.name),
        }
    }

    fn named<'a>(&'a self, name: &'a str) -> Result<Target<'a>> {
        let pick = self.catalogue.find(name)?;
        let entry = pick.entry;
        Ok(Target {
            name: pick.store_name(),
            pick: Some(pick),
            repo: &entry.repo,
            revision: &entry.revision,
            want: pick.want(),
        })
    }

    /// Asks the mirrors in turn.
    fn fetch(&self, target: &Target<'_>, observer: &mut dyn Observer) -> Result<Manifest> {
        let Network::Allowed(allowed) = &self.settings.network else {
            let offline = Error::Offline { name: target.name.clone() };
            return Err(self.why_not(&target.name).unwrap_or(offline));
        };
        self.ask_for_terms(target, observer)?;
        let mut failures = Vec::new();
        for mirror in target.mirrors(&self.settings) {
            observer.event(&Event::Trying { mirror: &mirror.label });
            let reason = match self.fetch_from(&mirror, allowed, target, observer) {
                Ok(manifest) => return Ok(manifest),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => error,
            };
            observer.event(&Event::MirrorFailed { mirror: &mirror.label, reason: &reason });
            failures.push(MirrorFailure { mirror: mirror.label, reason: Box::new(reason) });
        }
        Err(Error::AllMirrors { model: target.name.clone(), failures })
    }

    fn fetch_from(
        &self,
        mirror: &Mirror,
        allowed: &Allowed,
        target: &Target<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Manifest> {
        match mirror.kind {
            MirrorKind::Hub => {
                let client = Client::connect(allowed, &self.settings)?;
                hf::fetch(&client, &self.settings, &target.hub_want()?, observer)
            }
            MirrorKind::Packages => {
                let packages = target.pick.and_then(|pick| pick.entry.packages.as_ref());
                let packages = packages.ok_or_else(|| Error::NotHere { name: target.name.clone() })?;
                Pip::find(allowed, &self.settings)?.fetch(&self.store, &target.name, packages, observer)
            }
        }
    }

    fn ask_for_terms(&self, target: &Target<'_>, observer: &mut dyn Observer) -> Result<()> {
        let Some(licence) = target.pick.and_then(|pick| self.catalogue.licence(pick.entry)) else {
            return Ok(());
        };
        let Some(notice) = &licence.notice else { return Ok(()) };
        let terms = Terms { model: &target.name, licence: &licence.name, url: &licence.url, notice };
        if observer.accept_terms(&terms) {
            return Ok(());
        }
        let (model, licence, url) = (target.name.clone(), licence.name.clone(), licence.url.clone());
        Err(Error::TermsRefused { model, licence, url })
    }
}

fn locate_path(path: &std::path::Path) -> Result<Located> {
    match path.exists() {
        true => Ok(Located { path: path.into(), manifest: None }),
        false => {
            Err(Error::NotFound { wanted: path.display().to_string(), why: "no such file or folder".into() })
        }
    }
}

/// A mirror to be tried, by the name it has in messages.
struct Mirror {
    kind: MirrorKind,
    label: String,
}

#[derive(Clone, Copy)]
enum MirrorKind {
    Hub,
    Packages,
}

impl<'a> Target<'a> {
    fn of_hub(hub: &'a HubReference) -> Target<'a> {
        Target {
            name: hub.to_string(),
            pick: None,
            repo: &hub.repo,
            revision: &hub.revision,
            want: hub.want(),
        }
    }

    fn hub_want(&self) -> Result<HubWant<'_>> {
        // The catalogue's digest is that of its default.
        let default = self.pick.filter(|pick| pick.quant.is_none());
        let digest = default.map_or(Ok(None), |pick| pick.entry.digest())?;
        Ok(HubWant { name: &self.name, repo: self.repo, revision: self.revision, want: self.want, digest })
    }

    fn mirrors(&self, settings: &Settings) -> Vec<Mirror> {
        let bare = settings.endpoint.split("://").last().unwrap_or_default();
        let mut mirrors = vec![Mirror { kind: MirrorKind::Hub, label: format!("{bare}/{}", self.repo) }];
        let default = self.pick.filter(|pick| pick.quant.is_none());
        if let Some(packages) = default.and_then(|pick| pick.entry.packages.as_ref()) {
            let first = packages.parts.first().map_or("", |part| part.package.as_str());
            mirrors.push(Mirror { kind: MirrorKind::Packages, label: format!("pip ({first})") });
        }
        mirrors
    }
}
