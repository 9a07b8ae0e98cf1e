//! Checkpoints written in the form of one that was opened: its metadata, other weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bantam_model::Model;
use bantam_tensor::format::{gguf, safetensors};
use bantam_tensor::quant::quantize;
use bantam_tensor::{Metadata, Storage, Tensor};

use crate::{LoadError, Loaded};

/// Why a checkpoint cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
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
    /// Keys and values before the first token belong to no matrix.
    #[error("the adapter is a prefix (prefix tuning), which cannot be merged into weights: keep it apart")]
    Prefix,
    /// A weight is too large for its storage.
    #[error("a weight of {tensor} is {value}, which {storage} cannot hold: choose bf16 or f32")]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// The weight of the greatest magnitude.
        value: f32,
        /// The storage.
        storage: Storage,
    },
    /// What cannot be a GGUF file.
    #[error("it cannot be written as GGUF: {0}")]
    NoGguf(String),
    /// There is something under the new name.
    #[error("{} is there already: choose another name, or remove it", .0.display())]
    Exists(PathBuf),
}

/// Writes the weights that a model has now, in the form of the checkpoint that it was bound to: a GGUF file, or a
/// folder. `storage` is that of the matrices: without one, their own where that is a floating-point number, else
/// `F16`. The file of the weights is all or nothing.
///
/// # Errors
///
/// [`WriteError`].
pub fn write_model(
    loaded: &Loaded,
    model: &Model,
    storage: Option<Storage>,
    out: &Path,
) -> Result<(), WriteError> {
    let matrices = model.tensors();
    let vectors: BTreeMap<String, Vec<f32>> = model.stored_vectors().into_iter().collect();
    let mut tensors = Vec::new();
    for tensor in loaded.checkpoint.tensors() {
        match (matrices.get(tensor.name()), vectors.get(tensor.name())) {
            (Some(matrix), _) => {
                let storage = storage.unwrap_or_else(|| storage_of(tensor));
                tensors.push(rewritten(tensor, &matrix.to_f32(), storage)?);
            }
            (None, Some(values)) => tensors.push(rewritten(tensor, values, storage_of(tensor))?),
            // A tied head that is stored all the same would be stale.
            (None, None) if model.is_tied() && is_head(tensor.name()) => {}
            (None, None) => tensors.push(tensor.clone()),
        }
    }
    match &loaded.checkpoint.metadata {
        Metadata::Gguf(metadata) => write_gguf(metadata, tensors, out),
        Metadata::Folder(folder) => write_folder(folder.path(), &tensors, out),
    }
}

fn is_head(name: &str) -> bool {
    name.ends_with("lm_head.weight")
}

/// A tensor of the same name and shape with other numbers.
fn rewritten(tensor: &Tensor, values: &[f32], storage: Storage) -> Result<Tensor, WriteError> {
    let bytes = encoded(tensor.name(), values, storage)?;
    Ok(Tensor::new(tensor.name(), tensor.shape().to_vec(), storage, bytes.into())?)
}

/// What a tensor that changed is written in where nothing else is wished.
pub(crate) fn storage_of(tensor: &Tensor) -> Storage {
    if tensor.storage().is_quantized() { Storage::F16 } else { tensor.storage() }
}

/// The bytes of numbers in a storage.
pub(crate) fn encoded(name: &str, values: &[f32], storage: Storage) -> Result<Vec<u8>, WriteError> {
    let value = values.iter().copied().fold(0.0, |most: f32, x| if x.abs() > most.abs() { x } else { most });
    if storage == Storage::F16 && value.abs() > F16_MAX {
        return Err(WriteError::TooLarge { tensor: name.to_owned(), value, storage });
    }
    Ok(quantize(storage, values)?)
}

/// Larger numbers become infinite.
const F16_MAX: f32 = 65504.0;

pub(crate) fn write_gguf(
    metadata: &gguf::Metadata,
    tensors: Vec<Tensor>,
    path: &Path,
) -> Result<(), WriteError> {
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
pub(crate) fn file_type(tensors: &[Tensor]) -> Option<u32> {
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
pub(crate) fn write_folder(base: &Path, tensors: &[Tensor], folder: &Path) -> Result<(), WriteError> {
    fs::create_dir_all(folder).map_err(io_at(folder))?;
    for entry in fs::read_dir(base).map_err(io_at(base))? {
        let from = entry.map_err(io_at(base))?.path();
        let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let to = folder.join(name);
        if from.is_file() && !is_of_weights(name) && from != to {
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

pub(crate) fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> WriteError {
    move |source| WriteError::Io { path: path.to_owned(), source }
}
