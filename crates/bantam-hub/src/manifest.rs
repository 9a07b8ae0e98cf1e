//! Manifests: what the store knows of a model. Nothing in one is trusted before it is checked.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk;
use crate::recipe::Recipe;
use crate::record::{FileRecord, Place};
use crate::reference::{check_relative, check_segment};
use crate::{Error, Result};

const FORMAT: u32 = 1;
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const FILES_MAX: usize = 4096;

/// One model of the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// `smollm2:135m`, or `hf.co/org/repo:Q4_K_M`.
    pub name: String,
    /// Where it came from.
    pub source: Source,
    /// Its licence's name, where known.
    #[serde(default)]
    pub licence: Option<String>,
    /// When it was pulled, in seconds since 1970, as the caller said.
    pub pulled_unix_s: u64,
    /// True when the model is a folder of files, false when it is the first of them.
    pub is_folder: bool,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// What it adds to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
}

/// Where a model came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "mirror", rename_all = "snake_case")]
pub enum Source {
    /// A repository of a hub.
    Hub {
        /// The hub's address; none if another program had fetched it.
        #[serde(default)]
        endpoint: Option<String>,
        /// `org/name`.
        repo: String,
        /// The branch, tag or commit asked for.
        revision: String,
        /// The commit it was at.
        commit: String,
    },
    /// Packages of an index, each `name==version`.
    Packages {
        /// In order of their parts.
        packages: Vec<String>,
    },
    /// It was made on this machine.
    Made,
    /// Ollama's store on this machine.
    Ollama,
}

impl Manifest {
    pub(crate) fn new(name: String, source: Source, is_folder: bool, files: Vec<FileRecord>) -> Manifest {
        Manifest {
            format: FORMAT,
            name,
            source,
            licence: None,
            pulled_unix_s: 0,
            is_folder,
            files,
            recipe: None,
        }
    }

    /// The sum of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The digests of its files that lie among the store's blobs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.all_files().filter(|file| file.place == Place::Blob).map(|file| file.digest)
    }

    /// Its files, and those of its adapters.
    pub(crate) fn all_files(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().chain(self.recipe.iter().flat_map(|recipe| &recipe.adapters))
    }

    pub(crate) fn read(path: &Path) -> Result<Manifest> {
        let bytes = disk::read_limited(path, MANIFEST_BYTES_MAX)?;
        let refused = |why: String| Error::Manifest { path: path.into(), why };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        manifest.check().map_err(|why| refused(why.into()))?;
        Ok(manifest)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        self.check().map_err(|why| Error::Manifest { path: path.into(), why: why.into() })?;
        let json = serde_json::to_vec_pretty(self);
        let json = json.map_err(|error| Error::Manifest { path: path.into(), why: error.to_string() })?;
        disk::write_whole(path, &json)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.format != FORMAT {
            return Err("was written by another version of bantam");
        }
        if self.files.is_empty() || self.all_files().count() > FILES_MAX {
            return Err("has no files, or too many");
        }
        name_path(&self.name)?;
        self.all_files().try_for_each(|file| check_relative(&file.path))
    }
}

/// The manifest's path below the store's `manifests/`: `smollm2:135m` is `smollm2/135m.json`. Injective, and never
/// leaves the folder.
pub(crate) fn name_path(name: &str) -> Result<PathBuf, &'static str> {
    let (place, tag) = match name.rsplit_once(':') {
        Some((place, tag)) => (place, format!("{tag}.json")),
        None => (name, "default.json".to_string()),
    };
    let mut path = PathBuf::new();
    for segment in place.split('/') {
        // `@` stands before a revision and nowhere else.
        segment.splitn(2, '@').try_for_each(check_segment)?;
        path.push(segment);
    }
    check_segment(&tag)?;
    path.push(tag);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths_that_stay_inside() {
        assert_eq!(name_path("smollm2:135m").unwrap(), Path::new("smollm2/135m.json"));
        assert_eq!(name_path("hf.co/o/r@v1:Q8_0").unwrap(), Path::new("hf.co/o/r@v1/Q8_0.json"));
        assert_eq!(name_path("hf.co/o/r").unwrap(), Path::new("hf.co/o/r/default.json"));
        for bad in ["../x", "/x", "a/../b", "a:../b", "a::b", "", "a//b", "C:\\x", "a@../b", "."] {
            assert!(name_path(bad).is_err(), "{bad}");
        }
    }
}
