//! What can go wrong in a verb.

use std::path::{Path, PathBuf};

/// The reason a verb failed, as it is printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A wrong command line.
    #[error("{0}; `cargo xtask` lists the verbs")]
    Usage(String),
    /// A file or folder that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A program that could not be started or did not succeed.
    #[error("`{command}` {outcome}")]
    Command { command: String, outcome: String },
    /// Output or a file that is not of the expected form.
    #[error("{what}: {found}")]
    Form { what: String, found: String },
    /// A check that ran and did not hold; the details were printed before.
    #[error("{0}")]
    Failed(String),
}

/// The result of a verb or a step of it.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` beside a path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// For a value that is not what `what` should hold.
    pub(crate) fn form(what: impl Into<String>, found: impl Into<String>) -> Error {
        Error::Form { what: what.into(), found: found.into() }
    }
}
