//! Why a request is refused, or ends with a failure.

use std::sync::Arc;

/// Everything that can go wrong with an engine or a request.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the engine that cannot be.
    #[error("{setting} is {found}, wanted {wanted}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What would do.
        wanted: &'static str,
    },

    /// The model has learned fewer positions than the context would have.
    #[error(
        "the model has learned {positions} positions, and the context is to hold {context}: choose at most {positions}"
    )]
    ContextTooLong {
        /// Tokens of the context.
        context: usize,
        /// Positions that there are.
        positions: usize,
    },

    /// The memory for states does not hold one sequence.
    #[error(
        "the memory for states is {found} bytes, and one answer with a context of {context} takes {least}: allow more, or choose a smaller context"
    )]
    StateMemory {
        /// Bytes that are allowed.
        found: usize,
        /// Bytes that one sequence takes.
        least: usize,
        /// Tokens of the context.
        context: usize,
    },

    /// Saved states are not of this engine, or damaged.
    #[error("cannot read the saved states: {reason}")]
    Saved {
        /// What was wanted and what was found.
        reason: String,
    },

    /// The smaller model cannot guess tokens of the larger one.
    #[error(
        "the draft model has {found} tokens and the model {wanted}: choose a draft with the same tokeniser"
    )]
    OtherVocabulary {
        /// Tokens of the draft model.
        found: usize,
        /// Tokens of the model.
        wanted: usize,
    },

    /// There is nothing to continue.
    #[error("the prompt is empty: wanted at least one token")]
    EmptyPrompt,

    /// A token that the model does not have.
    #[error("token {token} of the prompt is not in the vocabulary of {vocab_size} tokens")]
    Token {
        /// The id.
        token: u32,
        /// How many there are.
        vocab_size: usize,
    },

    /// The prompt alone fills the context.
    #[error(
        "the prompt has {prompt} tokens and the context holds {context}: shorten it, or choose a larger context"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context, but for those that an adapter's prefix takes.
        context: usize,
    },

    /// The adapter is not for this model.
    #[error("{0}")]
    Adapter(#[source] Arc<bantam_model::Error>),

    /// A setting of the sampling that cannot be.
    #[error("{setting} is {found}, wanted {wanted}")]
    Sampling {
        /// Its name.
        setting: &'static str,
        /// What was given.
        found: String,
        /// What would do.
        wanted: &'static str,
    },

    /// Biases and stop tokens leave nothing to choose from.
    #[error("every token of the vocabulary is forbidden: let some be chosen")]
    NothingToChoose,

    /// The request's constraint cannot go on.
    #[error("the answer's constraint cannot go on: {reason}")]
    Constraint {
        /// Why.
        reason: String,
    },

    /// The forward pass failed.
    #[error("{0}")]
    Model(#[source] Arc<bantam_model::Error>),

    /// A step broke off.
    #[error("the step broke off, which is a bug in bantam: {reason}")]
    Panic {
        /// What the panic said.
        reason: String,
    },

    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}
