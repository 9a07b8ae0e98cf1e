//! Models that are made on this machine: from others of the store, or from files that were brought.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::disk;
use crate::hub::Hub;
use crate::manifest::{Manifest, Source};
use crate::recipe::Recipe;
use crate::record::{FileRecord, Place};
use crate::store::{Located, Store};
use crate::{Error, Result};

const CHUNK_BYTES: usize = 1 << 16;

/// What a model is made from.
#[derive(Clone, Debug)]
pub enum Base {
    /// A model of the store.
    Stored(String),
    /// Files among the store's blobs, by their names.
    Blobs(Vec<(String, Digest)>),
}

impl Hub {
    /// Where the adapters of a model of the store lie.
    pub fn adapters(&self, manifest: &Manifest) -> Vec<PathBuf> {
        self.store.adapters(manifest)
    }

    /// Gives a model of the store another name, too.
    ///
    /// # Errors
    /// [`Error::NotHere`]; a name that cannot be one.
    pub fn copy(&self, from: &str, to: &str) -> Result<Located> {
        let mut manifest = self.base(from)?;
        manifest.name = to.into();
        self.store.install(manifest)
    }

    /// Makes a model: the files of another one, or files that were brought, and what is added to them. `adapters` are
    /// among the store's blobs.
    ///
    /// # Errors
    /// What it is made from is not here; a name that cannot be one.
    pub fn make(
        &self,
        name: &str,
        base: &Base,
        adapters: &[(String, Digest)],
        recipe: Recipe,
        now_unix_s: u64,
    ) -> Result<Located> {
        let mut manifest = match base {
            Base::Stored(from) => self.base(from)?,
            Base::Blobs(files) => Manifest::new(name.into(), Source::Made, false, self.store.records(files)?),
        };
        let recipe = Recipe { adapters: self.store.records(adapters)?, ..recipe };
        manifest.recipe = Some(recipe.over(manifest.recipe.take()));
        manifest.pulled_unix_s = now_unix_s;
        manifest.name = name.into();
        self.store.install(manifest)
    }

    fn base(&self, name: &str) -> Result<Manifest> {
        self.manifest(name)?.ok_or_else(|| Error::NotHere { name: name.into() })
    }

    /// Whether the store has a blob.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.store.blob(digest).is_file()
    }

    /// Takes a blob in, if its bytes are what its digest says. `bytes_max` are on their way.
    ///
    /// # Errors
    /// [`Error::WrongHash`], [`Error::DiskFull`]; nothing is kept then.
    pub fn put_blob(&self, digest: &Digest, bytes: &mut dyn Read, bytes_max: u64) -> Result<()> {
        let path = self.store.blob(digest);
        if let Some(folder) = path.parent() {
            disk::make_folder(folder)?;
            disk::check_space(folder, bytes_max)?;
        }
        let temp = disk::temp_beside(&path);
        let written = write_verified(&temp, digest, bytes).and_then(|()| disk::rename(&temp, &path));
        if written.is_err() {
            // What could not be written may not be there to be removed.
            let _ = fs::remove_file(&temp);
        }
        written
    }
}

impl Store {
    /// Blobs as files of a model.
    fn records(&self, files: &[(String, Digest)]) -> Result<Vec<FileRecord>> {
        let record = |(path, digest): &(String, Digest)| {
            let blob = self.blob(digest);
            let bytes = fs::metadata(&blob).map_err(Error::io("read", &blob))?.len();
            Ok(FileRecord { path: path.clone(), digest: *digest, bytes, place: Place::Blob })
        };
        files.iter().map(record).collect()
    }
}

fn write_verified(path: &Path, digest: &Digest, bytes: &mut dyn Read) -> Result<()> {
    let mut file = File::create_new(path).map_err(Error::io("write", path))?;
    let (mut buffer, mut hasher) = (vec![0; CHUNK_BYTES], Sha256::new());
    loop {
        match bytes.read(&mut buffer).map_err(Error::io("receive", path))? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                file.write_all(&buffer[..n]).map_err(Error::io("write", path))?;
            }
        }
    }
    file.sync_all().map_err(Error::io("write", path))?;
    let found = Digest::from_bytes(hasher.finalize().into());
    if found == *digest {
        return Ok(());
    }
    let (wanted, found) = (digest.to_string(), found.to_string());
    Err(Error::WrongHash { name: "the blob".into(), wanted, found })
}
