//! Where models come from: the server asks for them by name, and never sees a path.

use bantam_engine::Sampling;

use crate::fault::{Fault, Kind};
use crate::models::{Fit, Need};
use crate::served::{Details, Served};

/// Models by their names: a store, or a list in tests. Its methods may take their time; they are called where that
/// holds up nobody.
pub trait Library: Send + Sync + 'static {
    /// All models there are; the one for requests that name none comes first. Nothing is loaded for it.
    fn list(&self) -> Vec<Listed>;

    /// The memory that a model will take, told before it is loaded.
    ///
    /// # Errors
    ///
    /// A name that nothing has, files that cannot be read.
    fn need(&self, name: &str) -> Result<Need, Refusal>;

    /// Loads a model, which then takes no more than it was given.
    ///
    /// # Errors
    ///
    /// As [`Library::need`].
    fn load(&self, name: &str, fit: Fit) -> Result<Served, Refusal>;
}

/// What is known of a model without loading it.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// What clients call it.
    pub name: String,
    /// What is told of it.
    pub details: Details,
    /// How tokens are chosen where a request says nothing.
    pub sampling: Sampling,
    /// Tokens that a sequence may have.
    pub context_length: usize,
    /// Tokens that the model tells apart.
    pub vocab_size: usize,
    /// Changes when another model takes the name; what was loaded before it is then out of date.
    pub version: String,
}

/// Why a library does not do what it is asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing has that name.
    #[error("{0}")]
    NotFound(String),
    /// What is asked is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It does not do that.
    #[error("{0}")]
    Unsupported(String),
    /// It tried and could not.
    #[error("{0}")]
    Failed(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::NotFound(_) => Kind::NotFound,
            Refusal::Invalid(_) => Kind::Invalid,
            Refusal::Unsupported(_) => Kind::Unsupported,
            Refusal::Failed(_) => Kind::Internal,
        };
        let code = matches!(refusal, Refusal::NotFound(_)).then_some("model_not_found");
        Fault { code, ..Fault::new(kind, refusal.to_string()) }
    }
}
