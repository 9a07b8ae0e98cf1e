//! What can be wrong with a checkpoint's config and weights, or with what a model is asked.

/// Everything that this crate refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file itself.
    #[error(transparent)]
    File(#[from] bantam_tensor::Error),

    /// The architecture is not one that bantam has.
    #[error("architecture \"{found}\" is not supported; supported are {}", known.join(", "))]
    UnknownFamily {
        /// What the config says.
        found: String,
        /// What there is.
        known: Vec<&'static str>,
    },

    /// An entry of the config is absent, of another type, or of a value that cannot be.
    #[error("config key \"{key}\": {reason}")]
    Config {
        /// As Hugging Face configs name it; GGUF keys are translated to these.
        key: String,
        /// What was wanted and what was found.
        reason: String,
    },

    /// An entry of the config would change the numbers, and this family does not know it.
    #[error(
        "config key \"{key}\" is {value}, which changes what the model computes, and bantam's {family} does not \
         know it"
    )]
    UnknownFeature {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The family that was asked.
        family: String,
    },

    /// A tensor that the description needs is not in the checkpoint.
    #[error("tensor \"{name}\" ({role}) is missing from the checkpoint")]
    MissingTensor {
        /// The name that was looked for.
        name: String,
        /// What it is for.
        role: String,
    },

    /// A tensor has another shape than the description needs.
    #[error("tensor \"{name}\" has shape {found:?}, wanted {wanted:?}")]
    Shape {
        /// Its name.
        name: String,
        /// `[rows, columns]` or `[width]`
        wanted: Vec<usize>,
        /// As in the file, slowest axis first.
        found: Vec<usize>,
    },

    /// Tensors in the checkpoint that the description has no use for: it would compute something else.
    #[error("the checkpoint has tensors that this description does not use: {}", names.join(", "))]
    UnusedTensors {
        /// Some of their names.
        names: Vec<String>,
    },

    /// A part of an adapter does not fit the model.
    #[error("the adapter does not fit this model: {module}: {reason}")]
    Adapter {
        /// The projection, as the adapter names it.
        module: String,
        /// What was wanted and what was found.
        reason: String,
    },

    /// The adapter was made for another base.
    #[error(
        "the adapter was made for another base: its fingerprint is {found}, this model's {wanted}; its effect on \
         this model is a matter of chance"
    )]
    OtherBase {
        /// Of the model.
        wanted: String,
        /// Of the base that the adapter was made for.
        found: String,
    },

    /// A token that the model does not have.
    #[error("token {token} is not in the vocabulary of {vocab_size} tokens (0 to {})", vocab_size - 1)]
    Token {
        /// The id.
        token: u32,
        /// How many there are.
        vocab_size: usize,
    },

    /// More positions than the model, or the sequence, has room for.
    #[error("position {position} is beyond the {limit} positions that {what}")]
    Position {
        /// The first that does not fit, from zero.
        position: usize,
        /// How many fit.
        limit: usize,
        /// What sets the limit.
        what: &'static str,
    },

    /// The activations are no longer numbers.
    #[error(
        "{what} after layer {layer} (of {layers}): the weights hold NaN or infinite values, or the file is damaged"
    )]
    NotFinite {
        /// `NaN or infinity`
        what: &'static str,
        /// Counted from zero.
        layer: usize,
        /// How many there are.
        layers: usize,
    },

    /// Nobody wanted the result any more.
    #[error("the pass was stopped")]
    Stopped,

    /// Bytes that are no pages of this model.
    #[error("a saved part of a state {reason}: it is damaged, or of another model")]
    Chunk {
        /// What is wrong with it.
        reason: &'static str,
    },
}
