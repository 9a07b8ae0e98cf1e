//! Why a request is refused, or ends with a failure.

/// Everything that can go wrong with a request.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
        /// Tokens of the context.
        context: usize,
    },

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

    /// The forward pass failed.
    #[error("{0}")]
    Model(String),

    /// The engine's thread has ended.
    #[error("the engine has stopped")]
    Stopped,
}
