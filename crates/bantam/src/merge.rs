//! An adapter folded into its base: a checkpoint of its own.
//!
//! What the adapter changes is written anew; every other tensor keeps its bits, and the files' metadata stay those of
//! the base. Nothing is seen under the new name before all of it is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bantam_model::weights::Matrix;
use bantam_model::{Adapter, LowRank, Role};
use bantam_tensor::format::map_file;
use bantam_tensor::{Metadata, Storage, Tensor};

use crate::write::{WriteError, encoded, io_at, storage_of, write_folder, write_gguf};
use crate::{LoadError, Loaded};

/// A merged checkpoint that is written but not yet under its name. Dropped without [`Merged::publish`], it is gone.
#[derive(Debug)]
pub struct Merged {
    beside: PathBuf,
    out: PathBuf,
    is_published: bool,
}

impl Merged {
    /// Writes a checkpoint in the form of the base, beside `out`: a GGUF file, or a folder. `storage` is that of the
    /// matrices that change: without one, their own where that is a floating-point number, else `F16`.
    /// `progress` hears of each tensor that was folded, and how many there are.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nothing is left behind.
    pub fn write(
        loaded: &Loaded,
        adapter: &Adapter,
        storage: Option<Storage>,
        out: &Path,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, WriteError> {
        adapter.check(&loaded.model)?;
        if adapter.prefix.is_some() {
            return Err(WriteError::Prefix);
        }
        if out.exists() {
            return Err(WriteError::Exists(out.to_owned()));
        }
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let beside = |end: &str| out.with_file_name(format!(".{name}.{}.{end}", std::process::id()));
        // From here on its fall removes what was written.
        let merged = Merged { beside: beside("merging"), out: out.to_owned(), is_published: false };
        let spill = Spill::create(beside("spill"))?;
        let tensors = fold(loaded, adapter, storage, spill, progress)?;
        match &loaded.checkpoint.metadata {
            Metadata::Gguf(metadata) => write_gguf(metadata, tensors, &merged.beside)?,
            Metadata::Folder(folder) => write_folder(folder.path(), &tensors, &merged.beside)?,
        }
        Ok(merged)
    }

    /// The merged model.
    ///
    /// # Errors
    ///
    /// As [`Loaded::open`].
    pub fn open(&self) -> Result<Loaded, LoadError> {
        Loaded::open(&self.beside)
    }

    /// Gives it its name.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn publish(mut self) -> Result<(), WriteError> {
        fs::rename(&self.beside, &self.out).map_err(io_at(&self.out))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        if !self.is_published {
            // What cannot be removed is hidden by its name, and there is nobody to tell.
            let _ = fs::remove_file(&self.beside).or_else(|_| fs::remove_dir_all(&self.beside));
        }
    }
}

/// All tensors of the base, those that the adapter changes merged.
fn fold(
    loaded: &Loaded,
    adapter: &Adapter,
    storage: Option<Storage>,
    mut spill: Spill,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Tensor>, WriteError> {
    let changed = changed(loaded, adapter)?;
    let storages = changed.values().map(|(matrix, _)| storage.unwrap_or_else(|| storage_of(&matrix.tensor)));
    let storages: Vec<Storage> = storages.collect();
    for (done, ((matrix, low_rank), storage)) in changed.values().zip(&storages).enumerate() {
        progress(done + 1, changed.len());
        spill.push(&merged(matrix, low_rank, *storage)?)?;
    }
    let mut parts = spill.into_parts(
        changed.values().zip(&storages).map(|((matrix, _), storage)| (&matrix.tensor, *storage)),
    )?;
    let tensors = loaded.checkpoint.tensors();
    Ok(tensors.map(|tensor| parts.remove(tensor.name()).unwrap_or_else(|| tensor.clone())).collect())
}

/// Merged matrices on the disk, so that no two of them are in memory at once.
struct Spill {
    path: PathBuf,
    file: File,
}

impl Spill {
    fn create(path: PathBuf) -> Result<Self, WriteError> {
        let file = File::create(&path).map_err(io_at(&path))?;
        Ok(Spill { path, file })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(io_at(&self.path))
    }

    /// What was pushed, in that order, as tensors like these in these storages, by name.
    fn into_parts<'a>(
        self,
        likes: impl Iterator<Item = (&'a Tensor, Storage)>,
    ) -> Result<BTreeMap<String, Tensor>, WriteError> {
        let bytes = map_file(&self.path)?;
        let (mut parts, mut begin) = (BTreeMap::new(), 0);
        for (like, storage) in likes {
            let end = begin + storage.bytes_of(like.elements()).unwrap_or_default();
            // A file that someone shortened gives a part that is too short, which the tensor refuses.
            let part = bytes.slice(begin..end).unwrap_or_else(|| Vec::new().into());
            let tensor = Tensor::new(like.name(), like.shape().to_vec(), storage, part)?;
            parts.insert(like.name().to_owned(), tensor);
            begin = end;
        }
        Ok(parts)
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // Its pages stay as long as they are mapped; where the system keeps mapped files, it stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// The matrices that an adapter changes, by the names of their tensors.
fn changed<'a>(
    loaded: &'a Loaded,
    adapter: &'a Adapter,
) -> Result<BTreeMap<&'a str, (&'a Matrix, &'a LowRank)>, WriteError> {
    let mut changed = BTreeMap::new();
    let table = loaded.model.weights.embed.tensor.name();
    for linear in loaded.model.linears() {
        let Some(low_rank) = adapter.sites.get(&linear.site) else { continue };
        let name = linear.matrix.tensor.name();
        if linear.site.role == Role::Head && name == table {
            return Err(WriteError::TiedHead);
        }
        changed.insert(name, (&linear.matrix, low_rank));
    }
    Ok(changed)
}

/// The bytes of a merged matrix.
fn merged(matrix: &Matrix, low_rank: &LowRank, storage: Storage) -> Result<Vec<u8>, WriteError> {
    encoded(matrix.tensor.name(), &low_rank.added_to(matrix), storage)
}
