//! The numbers of a model, bound to its description: every tensor found, its shape checked.

use std::sync::Arc;

use bantam_tensor::Tensor;
use bantam_tensor::kernels::matmul::{self, Layout};
use bantam_tensor::kernels::norm::NormSpec;

use crate::description::NormKind;
use crate::names::Site;

/// A matrix as it lies in the checkpoint.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The numbers, in their own bits.
    pub tensor: Tensor,
    /// Which axis comes first.
    pub layout: Layout,
    /// Width of what comes out.
    pub outputs: usize,
    /// Width of what goes in.
    pub inputs: usize,
}

impl Matrix {
    /// The matrix as kernels see it.
    pub fn for_kernels(&self) -> matmul::Weights<'_> {
        matmul::Weights {
            storage: self.tensor.storage(),
            layout: self.layout,
            outputs: self.outputs,
            inputs: self.inputs,
            bytes: self.tensor.bytes(),
        }
    }
}

/// A small vector, widened to f32 with the constant changes that its part asks for.
#[derive(Clone, Debug)]
pub struct Vector {
    /// The numbers.
    pub values: Arc<[f32]>,
    /// The tensors it was put together from, all of one length.
    pub names: Vec<String>,
}

/// A projection.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Where it stands.
    pub site: Site,
    /// `y = W x`
    pub matrix: Matrix,
    /// Added to `y`.
    pub bias: Option<Vector>,
}

/// A normalisation with its numbers.
#[derive(Clone, Debug)]
pub struct NormWeights {
    /// What is divided by.
    pub kind: NormKind,
    /// Added to the mean square.
    pub eps: f32,
    /// Numbers that are normalised together.
    pub width: usize,
    /// One number for each of `width`, or for each of several groups.
    pub weight: Option<Vector>,
    /// As `weight`.
    pub bias: Option<Vector>,
}

impl NormWeights {
    /// The norm as kernels see it.
    pub fn for_kernels(&self) -> NormSpec<'_> {
        NormSpec {
            kind: self.kind,
            width: self.width,
            eps: self.eps,
            weight: self.weight.as_ref().map(|weight| &*weight.values),
            bias: self.bias.as_ref().map(|bias| &*bias.values),
        }
    }
}

/// The numbers of a whole model.
#[derive(Clone, Debug)]
pub struct Weights {
    /// `[vocab_size, hidden_size]`
    pub embed: Matrix,
    /// `[positions, hidden_size]`, where positions are learned
    pub positions: Option<Matrix>,
    /// In order.
    pub layers: Vec<LayerWeights>,
    /// Before the head.
    pub norm: NormWeights,
    /// `[vocab_size, hidden_size]`; the same tensor as `embed` where the two are tied.
    pub head: Linear,
}

/// The numbers of a layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Mixes along the sequence.
    pub mixer: AttentionWeights,
    /// Mixes along the channels.
    pub mlp: MlpWeights,
    /// On the mixer's input; shared by the mlp where the two are parallel.
    pub mixer_before: Option<NormWeights>,
    /// On the mixer's output.
    pub mixer_after: Option<NormWeights>,
    /// On the mlp's input.
    pub mlp_before: Option<NormWeights>,
    /// On the mlp's output.
    pub mlp_after: Option<NormWeights>,
}

/// The numbers of an attention.
#[derive(Clone, Debug)]
pub struct AttentionWeights {
    /// To queries, keys and values.
    pub input: QkvWeights,
    /// On queries, before they turn.
    pub query_norm: Option<NormWeights>,
    /// On keys, before they turn.
    pub key_norm: Option<NormWeights>,
    /// Back to the residual stream.
    pub output: Linear,
}

/// Projections to queries, keys and values.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one for each layer")]
pub enum QkvWeights {
    /// Three.
    Separate([Linear; 3]),
    /// One.
    Fused(Linear),
}

/// The numbers of an mlp.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one for each layer")]
pub enum MlpWeights {
    /// Gate, up, down.
    Gated([Linear; 3]),
    /// Gate and up as one, down.
    GatedFused([Linear; 2]),
    /// Up, down.
    Plain([Linear; 2]),
}

impl Weights {
    /// Every matrix, a tied one twice.
    pub fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let ends = [Some(&self.embed), self.positions.as_ref(), Some(&self.head.matrix)];
        let layers = self.layers.iter().flat_map(LayerWeights::linears).map(|linear| &linear.matrix);
        ends.into_iter().flatten().chain(layers)
    }
}

impl LayerWeights {
    /// Every projection.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        let input: &[Linear] = match &self.mixer.input {
            QkvWeights::Separate(three) => three,
            QkvWeights::Fused(one) => std::slice::from_ref(one),
        };
        let mlp: &[Linear] = match &self.mlp {
            MlpWeights::Gated(three) => three,
            MlpWeights::GatedFused(two) | MlpWeights::Plain(two) => two,
        };
        input.iter().chain([&self.mixer.output]).chain(mlp)
    }
}
