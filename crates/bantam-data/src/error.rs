//! The one error of this crate. Bad lines are no errors: see [`Fault`].

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::fault::Fault;

/// Why there is no dataset.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what its name or the options say.
    #[error("{}: wanted {wanted}, found {found}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What would do.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// Not one line of a file gives an example.
    #[error(
        "{}: none of its {lines} lines gives an example. Line {line}: {fault}. Give the form (text, completion, \
         chat, preference) and the names of the columns if they are other ones",
        path.display()
    )]
    NoExample {
        /// Which.
        path: PathBuf,
        /// Lines that were read.
        lines: usize,
        /// The first that is bad, from 1.
        line: usize,
        /// What is wrong with it.
        fault: Fault,
    },
    /// There is nothing to learn from.
    #[error("no examples: wanted files of {wanted}, found {found}")]
    Empty {
        /// What would do.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// An option makes no sense.
    #[error("{option}: wanted {wanted}, found {found}")]
    Option {
        /// Which.
        option: &'static str,
        /// What would do.
        wanted: &'static str,
        /// What was given.
        found: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn file(path: &Path, wanted: &'static str, found: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), wanted, found: found.into() }
    }
}
