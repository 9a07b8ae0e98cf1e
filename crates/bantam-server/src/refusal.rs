//! Why a library refuses.

use crate::fault::{Fault, Kind};

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
    /// Where it would get that from cannot be reached, or does not give it.
    #[error("{0}")]
    Upstream(String),
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
            Refusal::Upstream(_) => Kind::Upstream,
            Refusal::Failed(_) => Kind::Internal,
        };
        let code = matches!(refusal, Refusal::NotFound(_)).then_some("model_not_found");
        Fault { code, ..Fault::new(kind, refusal.to_string()) }
    }
}
