//! What can be wrong with a file or a tensor, said so that the reader knows what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Everything that this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system would not open, read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read`, `map`, `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// Any other error, with the file in which it was found.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong in it.
        error: Box<Error>,
    },

    /// The bytes do not follow the format that they claim to be in.
    #[error("not a valid {format} file: {reason}")]
    Malformed {
        /// `GGUF`, `safetensors`, `JSON`.
        format: &'static str,
        /// What was wanted, what was found, and where.
        reason: String,
    },

    /// The path holds nothing that can be opened as a model.
    #[error("no model to open: {reason}")]
    NoCheckpoint {
        /// What was looked for, and what to give instead.
        reason: String,
    },

    /// The parts of a checkpoint do not belong together.
    #[error("the parts of this model do not fit together: {reason}")]
    Shards {
        /// Which part, what was wanted of it, what it is.
        reason: String,
    },

    /// The file holds no adapter, or one that changes a model in a way that bantam does not apply.
    #[error("the adapter cannot be used: {reason}")]
    Adapter {
        /// What was found, and what to do.
        reason: String,
    },

    /// Numbers are stored in a way that bantam does not compute with.
    #[error("storage {name} is not supported (supported: {})", Supported)]
    UnsupportedStorage {
        /// The format's own name of the storage.
        name: String,
    },

    /// A tensor's shape, storage and bytes contradict each other, or it was asked for something it has not.
    #[error("tensor {}: {reason}", Quoted(name))]
    Tensor {
        /// The tensor's name in the file.
        name: String,
        /// What was wanted and what was found.
        reason: String,
    },

    /// The checkpoint has no tensor of this name.
    #[error("tensor {} is missing from {}", Quoted(name), path.display())]
    MissingTensor {
        /// The name that was asked for.
        name: String,
        /// The checkpoint.
        path: PathBuf,
    },

    /// A metadata entry is absent or of another type.
    #[error("metadata key {}: wanted {wanted}, found {found}", Quoted(key))]
    Metadata {
        /// The key that was asked for.
        key: String,
        /// The type that was asked for.
        wanted: &'static str,
        /// What the file holds.
        found: String,
    },
}

impl Error {
    /// The same error, with the file it was found in; an error that already names a file stays as it is.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Io { .. } | Self::InFile { .. } | Self::MissingTensor { .. } => self,
            error => Self::InFile { path: path.to_owned(), error: Box::new(error) },
        }
    }

    /// For `map_err` on system calls.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// An error about an adapter.
    pub(crate) fn adapter(reason: impl Into<String>) -> Self {
        Self::Adapter { reason: reason.into() }
    }

    /// An error about one tensor.
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), reason: reason.into() }
    }
}

/// A name out of a file, made fit for a message: escaped, and cut when long.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED_CHARS_MAX) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}... ({} bytes)", &self.0[..end], self.0.len()),
        }
    }
}

/// Longer names are cut in messages: no published tensor name or key comes near it.
const QUOTED_CHARS_MAX: usize = 120;

/// The names of all storages, for the message that refuses another.
struct Supported;

impl fmt::Display for Supported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = crate::Storage::ALL.iter().map(|storage| storage.name()).collect();
        f.write_str(&names.join(" "))
    }
}
