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
use bantam_tensor::format::{gguf, map_file, safetensors};
use bantam_tensor::quant::quantize;
use bantam_tensor::{Metadata, Storage, Tensor};

use crate::{LoadError, Loaded};

/// Why an adapter cannot be folded into its base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The files.
    #[error(transparent)]
    File(#[from] bantam_tensor::Error),
    /// The adapter does not fit.
    #[error(transparent)]
    Model(#[from] bantam_model::Error),
    /// The merged model cannot be opened.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The system would not write.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The head and the table of tokens are one matrix.
    #[error("the adapter changes the head, which in this model is the table of tokens, too: keep it apart")]
    TiedHead,
    /// A merged weight is too large for its storage.
    #[error("a merged weight of {tensor} is {value}, which {storage} cannot hold: choose bf16 or f32")]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// The weight of the greatest magnitude.
        value: f32,
        /// The storage.
        storage: Storage,
    },
    /// There is something under the new name.
    #[error("{} is there already: choose another name, or remove it", .0.display())]
    Exists(PathBuf),
}

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
    /// [`MergeError`]; nothing is left behind.
    pub fn write(
        loaded: &Loaded,
        adapter: &Adapter,
        storage: Option<Storage>,
        out: &Path,
        progress: impl FnMut(usize, usize),
    ) -> Result<Self, MergeError> {
        adapter.check(&loaded.model)?;
        if out.exists() {
            return Err(MergeError::Exists(out.to_owned()));
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
    pub fn publish(mut self) -> Result<(), MergeError> {
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
) -> Result<Vec<Tensor>, MergeError> {
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
    fn create(path: PathBuf) -> Result<Self, MergeError> {
        let file = File::create(&path).map_err(io_at(&path))?;
        Ok(Spill { path, file })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), MergeError> {
        self.file.write_all(bytes).map_err(io_at(&self.path))
    }

    /// What was pushed, in that order, as tensors like these in these storages, by name.
    fn into_parts<'a>(
        self,
        likes: impl Iterator<Item = (&'a Tensor, Storage)>,
    ) -> Result<BTreeMap<String, Tensor>, MergeError> {
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
) -> Result<BTreeMap<&'a str, (&'a Matrix, &'a LowRank)>, MergeError> {
    let mut changed = BTreeMap::new();
    let table = loaded.model.weights.embed.tensor.name();
    for linear in loaded.model.linears() {
        let Some(low_rank) = adapter.sites.get(&linear.site) else { continue };
        let name = linear.matrix.tensor.name();
        if linear.site.role == Role::Head && name == table {
            return Err(MergeError::TiedHead);
        }
        changed.insert(name, (&linear.matrix, low_rank));
    }
    Ok(changed)
}

/// What a merged matrix is written in where nothing else is wished.
fn storage_of(tensor: &Tensor) -> Storage {
    if tensor.storage().is_quantized() { Storage::F16 } else { tensor.storage() }
}

/// The bytes of a merged matrix.
fn merged(matrix: &Matrix, low_rank: &LowRank, storage: Storage) -> Result<Vec<u8>, MergeError> {
    let tensor = &matrix.tensor;
    let values = low_rank.added_to(matrix);
    let value = values.iter().copied().fold(0.0, |most: f32, x| if x.abs() > most.abs() { x } else { most });
    if storage == Storage::F16 && value.abs() > F16_MAX {
        return Err(MergeError::TooLarge { tensor: tensor.name().to_owned(), value, storage });
    }
    Ok(quantize(storage, &values)?)
}

/// Larger numbers become infinite.
const F16_MAX: f32 = 65504.0;

fn write_gguf(metadata: &gguf::Metadata, tensors: Vec<Tensor>, path: &Path) -> Result<(), MergeError> {
    let mut writer = gguf::Writer::with_metadata(metadata.clone());
    if let Some(id) = file_type(&tensors) {
        writer.set("general.file_type", id);
    }
    for tensor in tensors {
        writer.push(tensor)?;
    }
    Ok(writer.write(path)?)
}

/// llama.cpp's number for files of mostly this storage, for those that merging writes.
fn file_type(tensors: &[Tensor]) -> Option<u32> {
    let mut bytes: BTreeMap<&str, (usize, Storage)> = BTreeMap::new();
    for tensor in tensors {
        let storage = tensor.storage();
        bytes.entry(storage.name()).or_insert((0, storage)).0 += tensor.elements();
    }
    match bytes.into_values().max_by_key(|(elements, _)| *elements)?.1 {
        Storage::F32 => Some(0),
        Storage::F16 => Some(1),
        Storage::BF16 => Some(32),
        Storage::Q4_0 => Some(2),
        Storage::Q4_1 => Some(3),
        Storage::Q8_0 => Some(7),
        Storage::Q5_0 => Some(8),
        Storage::Q5_1 => Some(9),
        _ => None,
    }
}

/// The weights in one file, beside copies of what else is in the base's folder.
fn write_folder(base: &Path, tensors: &[Tensor], folder: &Path) -> Result<(), MergeError> {
    fs::create_dir_all(folder).map_err(io_at(folder))?;
    for entry in fs::read_dir(base).map_err(io_at(base))? {
        let from = entry.map_err(io_at(base))?.path();
        let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if from.is_file() && !is_of_weights(name) {
            let to = folder.join(name);
            fs::copy(&from, &to).map_err(io_at(&to))?;
        }
    }
    Ok(safetensors::write(&folder.join("model.safetensors"), tensors)?)
}

/// Files of weights, and hidden ones.
fn is_of_weights(name: &str) -> bool {
    const ENDS: [&str; 7] = [".safetensors", ".index.json", ".bin", ".gguf", ".pt", ".pth", ".h5"];
    name.starts_with('.') || ENDS.iter().any(|end| name.ends_with(end))
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> MergeError {
    move |source| MergeError::Io { path: path.to_owned(), source }
}
