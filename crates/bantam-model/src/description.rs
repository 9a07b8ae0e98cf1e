//! What a model computes, apart from its numbers.
//!
//! Every axis is an enum and none is named after a family. Whatever a checkpoint says by rule ("every
//! sixth layer sees everything") is resolved when the description is made: each layer has its own
//! explicit entry. A family that needs a new idea adds a variant here, with its paper, and the compiler
//! names every place that must learn it.

use std::sync::Arc;

pub use bantam_tensor::kernels::activation::Activation;
pub use bantam_tensor::kernels::norm::NormKind;
pub use bantam_tensor::kernels::rope::Pairing;

use crate::rope::Rope;

/// A decoder as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Width of the residual stream, `hidden_size` in configs.
    pub hidden_size: usize,
    /// Rows of the table of tokens.
    pub vocab_size: usize,
    /// The longest sequence that the model was made for.
    pub context_length: usize,
    /// From ids to the residual stream.
    pub embed: Embed,
    /// In order.
    pub layers: Vec<Layer>,
    /// Before the head.
    pub norm: Norm,
    /// From the residual stream to logits.
    pub head: Head,
}

impl Description {
    /// Whether what a token becomes depends on how long its sequence may become, as some rotary scalings have it.
    pub fn depends_on_length(&self) -> bool {
        self.layers.iter().any(|layer| {
            let Mixer::Attention(attention) = &layer.mixer;
            attention.rope.as_ref().is_some_and(|rope| rope.depends_on_length())
        })
    }
}

/// From token ids to the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// Rows are multiplied with this; 1 for most.
    pub scale: f32,
    /// What is added for the position.
    pub positions: Positions,
}

/// Positions that are added to the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// None: attention knows about positions, or nothing does.
    None,
    /// A learned row for each of so many positions.
    Learned(usize),
}

/// From the residual stream to logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Which matrix.
    pub matrix: HeadMatrix,
    /// Logits are multiplied with this; 1 for most.
    pub scale: f32,
    /// Logits become `cap * tanh(logit / cap)`.
    pub soft_cap: Option<f32>,
}

/// The matrix of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadMatrix {
    /// The table of tokens.
    Tied,
    /// One of its own.
    Own(Bias),
}

/// Whether a projection adds a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// It does not.
    Absent,
    /// It does.
    Present,
}

/// A normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// What a row is divided by.
    pub kind: NormKind,
    /// Added to the mean square.
    pub eps: f32,
    /// What the result is multiplied with.
    pub weight: NormWeight,
    /// Whether a vector is added at the end.
    pub bias: Bias,
}

/// What a normalised row is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormWeight {
    /// Nothing.
    None,
    /// The vector in the file.
    Stored,
    /// One plus the vector in the file.
    OnePlus,
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Mixes along the sequence.
    pub mixer: Mixer,
    /// Mixes along the channels.
    pub mlp: Mlp,
    /// How the two hang together.
    pub wiring: Wiring,
    /// What each branch is multiplied with before it is added to the residual stream; 1 for most.
    pub residual_scale: f32,
}

impl Layer {
    /// The positions that a token sees, its own among them; all earlier ones if `None`.
    pub fn window(&self) -> Option<usize> {
        let Mixer::Attention(attention) = &self.mixer;
        attention.window
    }
}

/// How the branches of a layer join the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Wiring {
    /// First the mixer, then the mlp on the sum.
    Sequential {
        /// Around the mixer.
        mixer: BranchNorms,
        /// Around the mlp.
        mlp: BranchNorms,
    },
    /// Both on the same normalised input, added together (Wang and Komatsuzaki, 2021).
    Parallel {
        /// Shared by the two.
        before: Norm,
    },
}

/// The norms on a branch's input and output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BranchNorms {
    /// On its input.
    Before(Norm),
    /// On its output (OLMo 2, arXiv 2501.00656).
    After(Norm),
    /// On both (Gemma 2, arXiv 2408.00118).
    Both(Norm, Norm),
}

impl BranchNorms {
    /// The norm on the branch's input.
    pub fn before(&self) -> Option<&Norm> {
        match self {
            BranchNorms::Before(norm) | BranchNorms::Both(norm, _) => Some(norm),
            BranchNorms::After(_) => None,
        }
    }

    /// The norm on the branch's output.
    pub fn after(&self) -> Option<&Norm> {
        match self {
            BranchNorms::After(norm) | BranchNorms::Both(_, norm) => Some(norm),
            BranchNorms::Before(_) => None,
        }
    }
}

/// What mixes along the sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum Mixer {
    /// Softmax attention with grouped heads (Ainslie et al., 2023).
    Attention(Attention),
}

/// Softmax attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Heads of queries.
    pub num_heads: usize,
    /// Heads of keys and values.
    pub num_kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// How the three projections lie in the file.
    pub projections: Projections,
    /// Whether queries, keys and values get a bias.
    pub qkv_bias: Bias,
    /// Whether the output projection does.
    pub output_bias: Bias,
    /// Queries, keys and values are held between minus this and this.
    pub clip: Option<f32>,
    /// On queries and keys, before they are turned.
    pub qk_norm: Option<QkNorm>,
    /// How queries and keys are turned; `None` where the layer knows no positions.
    pub rope: Option<Arc<Rope>>,
    /// Queries are multiplied with `1 + beta ln(1 + floor(position / original))`.
    pub position_scale: Option<PositionScale>,
    /// A query sees this many positions, its own among them.
    pub window: Option<usize>,
    /// What scores are multiplied with.
    pub scale: f32,
    /// Scores become `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
}

impl Attention {
    /// Width of the queries of one row.
    pub fn query_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of the keys of one row.
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}

/// How the projections to queries, keys and values lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projections {
    /// Three matrices.
    Separate,
    /// One matrix: all queries, all keys, all values.
    Fused,
}

/// A norm on queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QkNorm {
    /// The norm.
    pub norm: Norm,
    /// What is normalised together.
    pub over: QkNormOver,
}

/// What a norm on queries and keys takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNormOver {
    /// Each head, all with the same vector.
    Head,
    /// Each head, with a vector of its own.
    EachHead,
    /// All heads of a row.
    Row,
}

/// Queries that grow with their position (Ministral 3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositionScale {
    /// The slope.
    pub beta: f32,
    /// The context length before it was extended.
    pub original: f32,
}

impl PositionScale {
    /// The factor at a position.
    pub fn at(&self, position: usize) -> f32 {
        1.0 + self.beta * (1.0 + (position as f32 / self.original).floor()).ln()
    }
}

/// What mixes along the channels.
#[derive(Clone, Debug, PartialEq)]
pub enum Mlp {
    /// `down(activation(gate(x)) * up(x))` (Shazeer, 2020).
    Gated {
        /// Between.
        activation: Activation,
        /// Width between.
        intermediate_size: usize,
        /// How gate and up lie in the file.
        projections: GateUp,
        /// Of all projections.
        bias: Bias,
    },
    /// `down(activation(up(x)))`.
    Plain {
        /// Between.
        activation: Activation,
        /// Width between.
        intermediate_size: usize,
        /// Of both projections.
        bias: Bias,
    },
}

/// How the two first projections of a gated mlp lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateUp {
    /// Two matrices.
    Separate,
    /// One matrix: the gate's rows, then the others.
    Fused,
}
