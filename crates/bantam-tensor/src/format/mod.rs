//! The only door through which the bytes of model files enter.
//!
//! [`Checkpoint::open`] maps a GGUF file (single or split) or a Hugging Face folder and hands out its metadata
//! and its tensors. Everything that a file says about sizes is checked before it is used: a tensor lies inside
//! its file and overlaps no other, counts are bounded before memory is taken, and nothing is copied.

pub mod adapter;
pub mod folder;
pub mod gguf;
pub mod safetensors;

pub mod atomic;
mod json;
mod map;
mod tensors;
pub mod types;

use std::path::{Path, PathBuf};

pub use atomic::write as write_atomically;
pub use folder::Folder;
pub use json::number as json_number;
pub use map::map as map_file;
pub(crate) use map::release;
pub use tensors::Unreadable;

use crate::{Error, Tensor};
use tensors::Tensors;

/// An opened model, in either format.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the files say apart from tensors.
    pub metadata: Metadata,
    tensors: Tensors,
    path: PathBuf,
    file_bytes: u64,
}

/// What a checkpoint says apart from its tensors.
#[derive(Debug)]
pub enum Metadata {
    /// The key-value pairs of a GGUF file.
    Gguf(gguf::Metadata),
    /// The JSON files of a folder.
    Folder(Box<Folder>),
}

/// Which kind of checkpoint it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// One GGUF file, or several that are parts of one.
    Gguf,
    /// A folder in the layout of the Hugging Face hub.
    Folder,
}

impl Checkpoint {
    /// Opens a GGUF file (of a split one: any part), a folder with `config.json`, or a `.safetensors` file in
    /// such a folder.
    ///
    /// # Errors
    ///
    /// Names the file and what is wrong in it; nothing is allocated on the word of a file alone.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let kind = std::fs::metadata(path).map_err(Error::io("open", path))?;
        if kind.is_dir() {
            return Self::open_folder(path, folder::Weights::OfFolder);
        }
        let bytes = map::map(path)?;
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match (&bytes[..bytes.len().min(4)], extension) {
            (gguf::MAGIC, _) => Self::open_gguf(path, bytes),
            (_, "safetensors") => Self::open_folder(parent(path), folder::Weights::InFile(path)),
            (start, _) => Err(foreign(start, extension).in_file(path)),
        }
    }

    fn open_gguf(path: &Path, bytes: crate::Bytes) -> Result<Self, Error> {
        let (metadata, tensors, file_bytes) = gguf::split::open(path, bytes)?;
        Ok(Self { metadata: Metadata::Gguf(metadata), tensors, path: path.to_owned(), file_bytes })
    }

    fn open_folder(path: &Path, weights: folder::Weights<'_>) -> Result<Self, Error> {
        let folder = Folder::open(path)?;
        let (tensors, file_bytes) = folder::open_weights(&folder, weights)?;
        Ok(Self { metadata: Metadata::Folder(Box::new(folder)), tensors, path: path.to_owned(), file_bytes })
    }

    /// The tensor of this name, if the checkpoint has it in a storage that bantam computes with.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.find(name)
    }

    /// The tensor of this name, or why there is none: absent, or in a storage that is refused.
    pub fn weight(&self, name: &str) -> Result<&Tensor, Error> {
        if let Some(tensor) = self.tensor(name) {
            return Ok(tensor);
        }
        match self.unreadable().iter().find(|entry| entry.name == name) {
            Some(entry) => Err(entry.refusal().in_file(&self.path)),
            None => Err(Error::MissingTensor { name: name.to_owned(), path: self.path.clone() }),
        }
    }

    /// All tensors, in the order of the files.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter()
    }

    /// Entries that are in the files but in no [`crate::Storage`], such as `position_ids` in `I64`.
    pub fn unreadable(&self) -> &[Unreadable] {
        self.tensors.unreadable()
    }

    /// Which kind of checkpoint this is.
    pub fn source(&self) -> Source {
        match self.metadata {
            Metadata::Gguf(_) => Source::Gguf,
            Metadata::Folder(_) => Source::Folder,
        }
    }

    /// The file or folder that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files that hold tensors, together.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
}

/// The folder a file lies in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The refusal of a file that is neither GGUF nor safetensors, from its first bytes and its extension.
fn foreign(start: &[u8], extension: &str) -> Error {
    let reason = match (start, extension) {
        (b"lmgg" | b"fmgg" | b"tjgg" | b"algg", _) => {
            "this is a GGML file from before GGUF; get the model as GGUF"
        }
        (b"PK\x03\x04" | b"\x80\x02\x8a\x0a", _) | (_, "bin" | "pt" | "pth" | "ckpt") => PICKLE_ADVICE,
        _ => "this is neither a GGUF file, nor a .safetensors file, nor a folder with config.json",
    };
    Error::NoCheckpoint { reason: reason.to_owned() }
}

const PICKLE_ADVICE: &str = "PyTorch weights are Python pickles, which can run code when read, so bantam \
    never reads them; get the model as safetensors or GGUF, or save it with save_pretrained(safe_serialization=True)";

/// More tensors are refused: a mixture of 60 layers of 256 experts that are not fused has 46,000.
const TENSORS_MAX: usize = 1 << 16;

/// Longer tensor names are refused: GGUF allows 64 bytes, the longest published ones have about 120.
const NAME_BYTES_MAX: usize = 512;

/// More parts of one checkpoint are refused: the largest published ones have about 200.
const SHARDS_MAX: usize = 2048;
