//! What can be wrong with what a model is trained on, and with what comes out.

/// Everything that this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Tokens, positions or activations that the model refuses.
    #[error(transparent)]
    Model(#[from] bantam_model::Error),

    /// Weights that cannot be made into tensors.
    #[error(transparent)]
    Tensor(#[from] bantam_tensor::Error),

    /// A batch without sequences.
    #[error("the batch has no sequences; wanted at least one, of two or more tokens")]
    EmptyBatch,

    /// A sequence in which no token has a next one.
    #[error(
        "sequence {sequence} of the batch has {tokens} tokens; wanted at least 2, since each predicts the next"
    )]
    ShortSequence {
        /// Counted from zero.
        sequence: usize,
        /// How many it has.
        tokens: usize,
    },

    /// A span that continues a sequence, whose earlier keys and values the tape does not have.
    #[error(
        "span {span} begins at position {position}; the tape keeps no state, so each must begin at {wanted}"
    )]
    Continued {
        /// Counted from zero.
        span: usize,
        /// Where it begins.
        position: usize,
        /// 0, or behind the adapter's prefix.
        wanted: usize,
    },

    /// Spans of one batch with different adapters.
    #[error("span {span} has another adapter than the first; the tape trains one at a time")]
    AdaptersDiffer {
        /// Counted from zero.
        span: usize,
    },

    /// The gradient of a tensor is no longer made of numbers.
    #[error(
        "the gradient of \"{name}\" holds NaN or infinite values; lower the rate, or look for them in the weights"
    )]
    NotFinite {
        /// The tensor.
        name: String,
    },

    /// Gradients that are not those of this model.
    #[error("there is no gradient of {wanted} numbers for \"{name}\"; these gradients are of another model")]
    MissingGradient {
        /// The tensor.
        name: String,
        /// Its numbers.
        wanted: usize,
    },

    /// A setting that means nothing.
    #[error("{name} {reason}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is and what was wanted.
        reason: String,
    },

    /// A mask of another length than its tokens.
    #[error("example {example} has {tokens} tokens and a mask of {learn}; wanted one entry for each token")]
    Mask {
        /// Counted from zero within the batch.
        example: usize,
        /// Its tokens.
        tokens: usize,
        /// Its mask's entries.
        learn: usize,
    },

    /// No token carries loss.
    #[error(
        "none of the batch's {examples} examples has a token to learn; the first of an example cannot be"
    )]
    NothingToLearn {
        /// How many there are.
        examples: usize,
    },

    /// Bytes that are no state of this trainer.
    #[error("the state does not fit this run: {reason}")]
    State {
        /// What was wanted and what was found.
        reason: String,
    },
}
