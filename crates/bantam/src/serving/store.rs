//! What clients change of the store: they name models, never paths.

use std::io::Read;

use anyhow::{Context, Result};
use bantam::Loaded;
use bantam_hub::{
    Base, Digest, Error, Event, Observer, Progress as Advance, Recipe as Kept, Reference, Terms,
};
use bantam_server::{Progress, Recipe, Refusal};
use bantam_tensor::format::adapter::AdapterFile;

use super::library::without_latest;
use super::recipe;
use crate::models::{Models, now_unix_s};

pub(super) fn pull(
    models: &Models,
    name: &str,
    tell: &mut dyn FnMut(Progress) -> bool,
) -> Result<(), Refusal> {
    let mut watch =
        Telling { tell, progress: Progress::default(), accepts: models.accepts_terms(), is_over: false };
    models.hub.pull(&reference(name)?, now_unix_s(), &mut watch).map_err(refused)?;
    Ok(())
}

pub(super) fn create(models: &Models, name: &str, wanted: &Recipe) -> Result<(), Refusal> {
    let kept = Kept {
        from: wanted.from.clone(),
        system: wanted.system.clone(),
        template: wanted.template.clone(),
        parameters: wanted.parameters.clone(),
        messages: wanted.messages.clone(),
        adapters: Vec::new(),
    };
    recipe::check(&kept).map_err(|error| Refusal::Invalid(format!("{error:#}")))?;
    let base = match &wanted.from {
        Some(from) => Base::Stored(stored(models, from)?),
        None => Base::Blobs(digests(&wanted.files)?),
    };
    let (name, adapters) = (without_latest(name).to_owned(), digests(&wanted.adapters)?);
    // It has its name when it can be used: another model may have it until then.
    let trial = format!("{name}.new");
    models.hub.make(&trial, &base, &adapters, kept, now_unix_s()).map_err(refused)?;
    let made = try_out(models, &trial).and_then(|()| Ok(models.hub.copy(&trial, &name)?));
    models.hub.remove(&Reference::Name(trial)).map_err(refused)?;
    made.map(drop).map_err(|error| Refusal::Invalid(format!("{error:#}")))
}

/// Whether a model that was made can be used.
fn try_out(models: &Models, name: &str) -> Result<()> {
    let located = models.hub.stored(name)?.context("what was made is gone")?;
    Loaded::open(&located.path).context("its files are no model")?;
    for adapter in located.manifest.iter().flat_map(|manifest| models.hub.adapters(manifest)) {
        AdapterFile::open(&adapter).context("its adapter is none")?;
    }
    Ok(())
}

pub(super) fn copy(models: &Models, from: &str, to: &str) -> Result<(), Refusal> {
    models.hub.copy(&stored(models, from)?, without_latest(to)).map(drop).map_err(refused)
}

pub(super) fn delete(models: &Models, name: &str) -> Result<(), Refusal> {
    let name = stored(models, name)?;
    models.hub.remove(&Reference::Name(name)).map(drop).map_err(refused)
}

pub(super) fn has_blob(models: &Models, digest: &str) -> Result<bool, Refusal> {
    Ok(models.hub.has_blob(&digest.parse().map_err(refused)?))
}

pub(super) fn put_blob(
    models: &Models,
    digest: &str,
    bytes: &mut dyn Read,
    announced: u64,
) -> Result<(), Refusal> {
    let digest: Digest = digest.parse().map_err(refused)?;
    models.hub.put_blob(&digest, bytes, announced).map_err(refused)
}

fn digests(files: &[(String, String)]) -> Result<Vec<(String, Digest)>, Refusal> {
    files.iter().map(|(name, digest)| Ok((name.clone(), digest.parse().map_err(refused)?))).collect()
}

/// The name of a model of the store that is meant.
fn stored(models: &Models, name: &str) -> Result<String, Refusal> {
    let exact = without_latest(name).to_owned();
    if models.hub.stored(&exact).ok().flatten().is_some() {
        return Ok(exact);
    }
    // One whose files are damaged can be taken away, too.
    Ok(models.hub.show(&reference(name)?).map_err(refused)?.name)
}

/// What a client may name: of files on this machine it is told nothing.
fn reference(name: &str) -> Result<Reference, Refusal> {
    match without_latest(name).parse().map_err(refused)? {
        Reference::Path(_) => {
            Err(Refusal::Invalid(format!("`{name}` is a path: wanted the name of a model")))
        }
        reference => Ok(reference),
    }
}

fn refused(error: Error) -> Refusal {
    let told = error.to_string();
    match error {
        Error::UnknownModel { .. } | Error::NotHere { .. } | Error::NotFound { .. } => {
            Refusal::NotFound(told)
        }
        Error::Offline { .. } | Error::TermsRefused { .. } => Refusal::Unsupported(told),
        Error::AllMirrors { .. } => Refusal::Upstream(told),
        Error::BadReference { .. }
        | Error::BadDigest { .. }
        | Error::WrongHash { .. }
        | Error::Borrowed { .. }
        | Error::Manifest { .. } => Refusal::Invalid(told),
        _ => Refusal::Failed(told),
    }
}

/// Watches a pull for a client.
struct Telling<'a> {
    tell: &'a mut dyn FnMut(Progress) -> bool,
    progress: Progress,
    accepts: bool,
    is_over: bool,
}

/// A line for so many bytes.
const LINE_EVERY_BYTES: u64 = 4 << 20;

impl Telling<'_> {
    fn tell(&mut self) {
        self.is_over |= !(self.tell)(self.progress.clone());
    }
}

impl Advance for Telling<'_> {
    fn start(&mut self, name: &str, total_bytes: Option<u64>, done_bytes: u64) {
        let status = format!("pulling {name}");
        self.progress =
            Progress { status, part: Some(name.to_owned()), total_bytes, completed_bytes: done_bytes };
        self.tell();
    }

    fn advance(&mut self, bytes: u64) {
        let before = self.progress.completed_bytes / LINE_EVERY_BYTES;
        self.progress.completed_bytes += bytes;
        if self.progress.completed_bytes / LINE_EVERY_BYTES > before {
            self.tell();
        }
    }

    fn finish(&mut self) {
        self.tell();
    }
}

impl Observer for Telling<'_> {
    fn accept_terms(&mut self, _: &Terms<'_>) -> bool {
        self.accepts
    }

    fn event(&mut self, event: &Event<'_>) {
        if let Event::Verifying { .. } = event {
            self.progress = Progress { status: "verifying sha256 digest".into(), ..Progress::default() };
            self.tell();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_over
    }
}
