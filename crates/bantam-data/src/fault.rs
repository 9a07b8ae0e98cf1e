//! Why a line gives no example. A fault is counted, named and reported; the other lines are used.

use thiserror::Error;

/// Most bytes of a line, a row of a table, or an element of a JSON array.
pub(crate) const LINE_BYTES_MAX: usize = 2 << 20;
/// Most values in the JSON of a line.
pub(crate) const VALUES_MAX: usize = 100_000;

/// The columns that are found by their names.
pub(crate) const COLUMNS_KNOWN: &str = "`messages` or `conversations`; `chosen` and `rejected`; \
    `prompt`, `instruction`, `question`, `input` or `text` with `completion`, `response`, `output`, `answer` or \
    `label`; or `text` alone";

/// What is wrong with a line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Not text.
    #[error("not UTF-8 from byte {at} on")]
    Utf8 {
        /// Offset in the line.
        at: usize,
    },
    /// A zero byte in a text file or a table.
    #[error("holds a zero byte: is the file binary?")]
    ZeroByte,
    /// Too long to be an example.
    #[error("longer than {} MiB", LINE_BYTES_MAX >> 20)]
    LineTooLong,
    /// Broken JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// JSON with too many parts.
    #[error("more than {VALUES_MAX} values in one line")]
    TooManyValues,
    /// JSON of another kind.
    #[error("wanted an object of columns, found {0}")]
    NotAnObject(&'static str),
    /// A row of a table with more or fewer fields than there are columns.
    #[error("wanted {wanted} fields as in the head, found {found}")]
    Fields {
        /// Columns of the head.
        wanted: usize,
        /// Fields of the row.
        found: usize,
    },
    /// No columns of a known form.
    #[error("wanted the columns {wanted}; found {found}")]
    Columns {
        /// What would do.
        wanted: String,
        /// The columns there.
        found: String,
    },
    /// A column that does not hold what it should.
    #[error("column `{column}`: wanted {wanted}, found {found}")]
    Column {
        /// Its name.
        column: String,
        /// What it should hold.
        wanted: &'static str,
        /// What it holds.
        found: String,
    },
    /// A message of a chat that is none.
    #[error("message {message}: wanted {wanted}, found {found}")]
    Message {
        /// Its place, from 1.
        message: usize,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// A chat for a model without a chat template.
    #[error("the model has no chat template: give one, or data of prompts and completions or of text")]
    NoTemplate,
    /// The tokeniser or the template.
    #[error("{0}")]
    Text(String),
    /// No id would be learnt.
    #[error("nothing to learn: {0}")]
    NothingToLearn(&'static str),
    /// A pair of which both are the same.
    #[error("chosen and rejected are the same")]
    SamePair,
    /// A row that the reader of the format cannot give.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

impl Fault {
    /// A short name to count by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Utf8 { .. } => "not UTF-8",
            Self::ZeroByte => "zero byte",
            Self::LineTooLong => "line too long",
            Self::Json(_) => "not JSON",
            Self::TooManyValues => "too many values",
            Self::NotAnObject(_) => "not an object",
            Self::Fields { .. } => "number of fields",
            Self::Columns { .. } => "columns missing",
            Self::Column { .. } => "column of another kind or empty",
            Self::Message { .. } => "broken message",
            Self::NoTemplate => "no chat template",
            Self::Text(_) => "template or tokeniser",
            Self::NothingToLearn(_) => "nothing to learn",
            Self::SamePair => "pair of equals",
            Self::Unreadable(_) => "unreadable",
        }
    }

    pub(crate) fn column(column: &str, wanted: &'static str, found: impl Into<String>) -> Self {
        Self::Column { column: column.to_owned(), wanted, found: found.into() }
    }
}

impl From<bantam_text::Error> for Fault {
    fn from(error: bantam_text::Error) -> Self {
        Self::Text(error.to_string())
    }
}
