//! The store: `blobs/sha256-<hex>` and one manifest per model.
//!
//! Every path in it is made from a checked digest or name. A blob is there whole or not at all; a manifest is written
//! after its blobs and under the store's lock, which removal takes too, so no manifest loses its blobs to a removal.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::disk::{self, Lock, files_below};
use crate::manifest::{Manifest, name_path};
use crate::observer::Observer;
use crate::record::{FileRecord, Place};
use crate::{Error, Result};

const NAME_DEPTH: usize = 16;

/// A model on this machine.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file (the first, if it is split) or folder to open.
    pub path: PathBuf,
    /// What the store knows of it; none for a path that the user named.
    pub manifest: Option<Manifest>,
}

/// The models of a store, by name.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that can be read.
    pub models: Vec<Manifest>,
    /// Why the others cannot.
    pub broken: Vec<Error>,
}

/// What removing a model did.
#[derive(Debug, PartialEq, Eq)]
pub struct Removal {
    /// The model.
    pub name: String,
    /// Bytes of blobs that no other model needs, now free.
    pub freed_bytes: u64,
    /// Files outside the store, left where they are: other programs may use them.
    pub kept: Vec<PathBuf>,
}

pub(crate) struct Store {
    home: PathBuf,
}

impl Store {
    pub(crate) fn new(home: &Path) -> Store {
        Store { home: home.into() }
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.home.join("blobs").join(digest.file_name())
    }

    /// Where work in progress is kept between runs.
    pub(crate) fn partial(&self, name: &str) -> PathBuf {
        self.home.join("partial").join(name)
    }

    pub(crate) fn lock_blob(&self, digest: &Digest, name: &str, observer: &mut dyn Observer) -> Result<Lock> {
        disk::lock(&self.home.join("locks").join(format!("{}.lock", digest.file_name())), name, observer)
    }

    fn lock(&self) -> Result<Lock> {
        disk::lock_briefly(&self.home.join("locks").join("store.lock"))
    }

    fn manifests(&self) -> PathBuf {
        self.home.join("manifests")
    }

    fn manifest_path(&self, name: &str) -> Result<PathBuf> {
        let refused = |why| Error::BadReference { text: name.chars().take(200).collect(), why };
        Ok(self.manifests().join(name_path(name).map_err(refused)?))
    }

    /// The manifest of `name`, if there is one.
    pub(crate) fn manifest(&self, name: &str) -> Result<Option<Manifest>> {
        let path = self.manifest_path(name)?;
        if !path.is_file() {
            return Ok(None);
        }
        let manifest = Manifest::read(&path)?;
        if manifest.name != name {
            return Err(Error::Manifest { path, why: format!("is about {}, not {name}", manifest.name) });
        }
        Ok(Some(manifest))
    }

    /// The model called `name`, if all its files are where the manifest says and as long as it says.
    pub(crate) fn locate(&self, name: &str) -> Result<Option<Located>> {
        let Some(manifest) = self.manifest(name)? else { return Ok(None) };
        Ok(self.damage(&manifest).is_none().then(|| self.located(manifest)))
    }

    /// Why the model called `name` cannot be located, if the store knows of it.
    pub(crate) fn why_not(&self, name: &str) -> Result<Option<Error>> {
        let Some(manifest) = self.manifest(name)? else { return Ok(None) };
        let damaged = |(path, why)| Error::Damaged { name: name.into(), path, why };
        Ok(self.damage(&manifest).map(damaged))
    }

    /// The first file that is not where the manifest says and as long as it says, and what is wrong with it.
    fn damage(&self, manifest: &Manifest) -> Option<(PathBuf, String)> {
        let wrong = |file: &FileRecord| {
            let path = self.file_path(file);
            let why = match fs::metadata(&path) {
                Ok(meta) if meta.len() == file.bytes => return None,
                Ok(meta) => format!("has {} bytes where it had {}", meta.len(), file.bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => "is gone".into(),
                Err(error) => format!("cannot be looked at: {error}"),
            };
            Some((path, why))
        };
        manifest.all_files().find_map(wrong)
    }

    fn file_path(&self, file: &FileRecord) -> PathBuf {
        match &file.place {
            Place::Blob => self.blob(&file.digest),
            Place::Outside(path) => path.clone(),
        }
    }

    /// A folder's path is that of its first file without the file's own path.
    pub(crate) fn located(&self, manifest: Manifest) -> Located {
        let first = manifest.files.first();
        let file = first.map(|file| self.file_path(file)).unwrap_or_default();
        let depth = first.map_or(0, |file| file.path.split('/').count());
        let folder = file.ancestors().nth(depth).map(Path::to_path_buf);
        let path = if manifest.is_folder { folder.unwrap_or_default() } else { file };
        Located { path, manifest: Some(manifest) }
    }

    /// Where the adapters of a model lie.
    pub(crate) fn adapters(&self, manifest: &Manifest) -> Vec<PathBuf> {
        let adapters = manifest.recipe.iter().flat_map(|recipe| &recipe.adapters);
        adapters.map(|file| self.file_path(file)).collect()
    }

    /// Keeps the manifest, once all its files are there.
    pub(crate) fn install(&self, manifest: Manifest) -> Result<Located> {
        let path = self.manifest_path(&manifest.name)?;
        let _lock = self.lock()?;
        if self.damage(&manifest).is_some() {
            return Err(Error::Manifest {
                path,
                why: "a file of the model went away while it was pulled".into(),
            });
        }
        manifest.write(&path)?;
        Ok(self.located(manifest))
    }

    pub(crate) fn list(&self) -> Listing {
        let mut listing = Listing::default();
        let folder = self.manifests();
        for file in files_below(&folder, NAME_DEPTH).iter().filter(|file| file.ends_with(".json")) {
            match Manifest::read(&folder.join(file)) {
                Ok(manifest) => listing.models.push(manifest),
                Err(error) => listing.broken.push(error),
            }
        }
        listing.models.sort_by(|a, b| a.name.cmp(&b.name));
        listing
    }

    /// Removes the manifest and those of its blobs that no other manifest names. While a manifest cannot be read, blobs
    /// stay: it may need them.
    pub(crate) fn remove(&self, name: &str) -> Result<Removal> {
        let _lock = self.lock()?;
        let manifest = self.manifest(name)?.ok_or_else(|| Error::NotHere { name: name.into() })?;
        let path = self.manifest_path(name)?;
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        self.prune_folders(&path);
        let rest = self.list();
        let needed: HashSet<Digest> = rest.models.iter().flat_map(Manifest::blobs).collect();
        let mut freed_bytes = 0;
        for digest in manifest.blobs().filter(|digest| rest.broken.is_empty() && !needed.contains(digest)) {
            freed_bytes += self.remove_blob(&digest)?;
        }
        let outside = |file: &FileRecord| match &file.place {
            Place::Outside(path) => Some(path.clone()),
            Place::Blob => None,
        };
        Ok(Removal {
            name: name.into(),
            freed_bytes,
            kept: manifest.files.iter().filter_map(outside).collect(),
        })
    }

    fn remove_blob(&self, digest: &Digest) -> Result<u64> {
        let blob = self.blob(digest);
        let Ok(meta) = fs::metadata(&blob) else { return Ok(0) };
        fs::remove_file(&blob).map_err(Error::io("remove", &blob))?;
        Ok(meta.len())
    }

    /// Removes the manifest's folders that are empty now; a folder in use refuses to go, which is right.
    fn prune_folders(&self, manifest: &Path) {
        let top = self.manifests();
        for folder in manifest.ancestors().skip(1).take_while(|folder| **folder != top) {
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}
