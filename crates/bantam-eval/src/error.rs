//! What can be wrong with a text, a file of predictions, or a run.

use std::path::PathBuf;

/// Everything that this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text has too few tokens.
    #[error(
        "the text has {found} tokens, wanted at least one window of {wanted}; choose a smaller window or a longer text"
    )]
    TooShort {
        /// Tokens of a window.
        wanted: usize,
        /// Tokens of the text.
        found: usize,
    },

    /// A window that cannot be scored.
    #[error("a window of {length} tokens cannot be scored: wanted at least {}", crate::windows::LENGTH_MIN)]
    Window {
        /// What was asked for.
        length: usize,
    },

    /// A file of predictions could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },

    /// A file of predictions that does not follow its format, or is of another text or vocabulary.
    #[error("{}: {reason}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// What was wanted and what was found.
        reason: String,
    },

    /// The engine.
    #[error(transparent)]
    Engine(#[from] bantam_engine::Error),
}
