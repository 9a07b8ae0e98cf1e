//! The one error of this crate.

use thiserror::Error;

/// What can go wrong while a tokeniser or a template is read, or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that should be JSON is not, or has not the shape wanted.
    #[error("{file}: {reason}; the file may be cut short or not be a {file} at all")]
    Json {
        /// Which file, by its usual name.
        file: &'static str,
        /// What the parser found, with line and column.
        reason: String,
    },
    /// A value is not what is needed there.
    #[error("{place}: wanted {wanted}, found {found}")]
    Wanted {
        /// The field or the table, as its own format names it.
        place: String,
        /// What is needed.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// A component that the format knows and this crate does not.
    #[error("{place}: `{name}` is not supported; supported are {known}")]
    Unsupported {
        /// The field that names the component.
        place: &'static str,
        /// The name found.
        name: String,
        /// The names that would do.
        known: String,
    },
    /// A regular expression that cannot be compiled, or that took too many steps on a text.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern, cut to a readable length.
        pattern: String,
        /// The engine's reason.
        reason: String,
    },
    /// A chat template that cannot be compiled or rendered.
    #[error("chat template, line {line}: {reason}")]
    Template {
        /// Line of the template, from 1; 0 where it is not known.
        line: usize,
        /// The engine's reason.
        reason: String,
    },
    /// A chat template that ended with its own `raise_exception(message)`.
    #[error("the chat template refuses this conversation: {0}")]
    Refused(String),
    /// A chat template that ran into the bound on its work, its output or its memory.
    #[error("the chat template wants more than {bound}; it is broken or hostile, give another one")]
    TemplateTooBig {
        /// The bound that was hit.
        bound: String,
    },
}

impl Error {
    pub(crate) fn wanted(
        place: impl Into<String>,
        wanted: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Wanted { place: place.into(), wanted: wanted.into(), found: found.into() }
    }

    pub(crate) fn pattern(pattern: &str, reason: impl ToString) -> Self {
        Self::Pattern { pattern: shorten(pattern), reason: reason.to_string() }
    }
}

/// The first 80 characters, for messages that quote text from a file.
pub(crate) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
