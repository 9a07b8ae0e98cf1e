//! The operations that a decoder is made of. The forward pass is written once over them; the processor
//! computes them, the tape records them.

use bantam_tensor::kernels::activation::Activation;

use crate::description::{Attention, PositionScale};
use crate::names::Site;
use crate::rope::Rope;
use crate::weights::{Linear, Matrix, NormWeights, Vector};

/// What the forward pass asks of whoever runs it. The batch (tokens, positions, sequences) is known to
/// the implementor.
///
/// Primitives come first; each has its derivative on the tape. The fused forms below have a body made of
/// primitives, which an implementor may replace by something faster that gives the same result.
pub trait Ops {
    /// A handle to rows of activations, `[rows][width]`.
    type T;

    /// The rows of a table for the batch's tokens.
    fn embed(&mut self, table: &Matrix) -> Self::T;
    /// The rows of a table for the batch's positions.
    fn embed_positions(&mut self, table: &Matrix) -> Self::T;
    /// `x Wᵀ`
    fn product(&mut self, x: &Self::T, matrix: &Matrix) -> Self::T;
    /// `y` with what the adapters of the batch's rows give at a projection of `x`.
    fn adapt(&mut self, x: &Self::T, y: Self::T, site: Site) -> Self::T;
    /// Adds a vector to each row.
    fn add_vector(&mut self, x: Self::T, vector: &Vector) -> Self::T;
    /// Normalises.
    fn norm(&mut self, x: &Self::T, norm: &NormWeights) -> Self::T;
    /// Turns each head by its row's position.
    fn rope(&mut self, x: Self::T, head_dim: usize, rope: &Rope) -> Self::T;
    /// Multiplies each row by its position's factor.
    fn scale_by_position(&mut self, x: Self::T, scale: &PositionScale) -> Self::T;
    /// Appends keys and values to the state of a layer, and attends.
    fn attend(
        &mut self,
        layer: usize,
        attention: &Attention,
        q: &Self::T,
        k: &Self::T,
        v: &Self::T,
    ) -> Self::T;
    /// Applies a function to each number.
    fn activate(&mut self, x: Self::T, activation: Activation) -> Self::T;
    /// `x + y * factor`
    fn add(&mut self, x: Self::T, y: &Self::T, factor: f32) -> Self::T;
    /// `x * y`, number by number.
    fn multiply(&mut self, x: Self::T, y: &Self::T) -> Self::T;
    /// `x * factor`
    fn scale(&mut self, x: Self::T, factor: f32) -> Self::T;
    /// Between `-limit` and `limit`.
    fn clamp(&mut self, x: Self::T, limit: f32) -> Self::T;
    /// `cap * tanh(x / cap)`
    fn soft_cap(&mut self, x: Self::T, cap: f32) -> Self::T;
    /// `count` columns from `begin` on.
    fn columns(&mut self, x: &Self::T, begin: usize, count: usize) -> Self::T;
    /// The rows that the batch wants logits of.
    fn wanted_rows(&mut self, x: Self::T) -> Self::T;

    /// Told after each layer, with the residual stream.
    fn layer_done(&mut self, _layer: usize, _x: &Self::T) {}
    /// Whether nobody wants what is behind the last layer done.
    fn is_stopped(&self) -> bool {
        false
    }
    /// Told after all layers, with the residual stream and the norm before the head.
    fn layers_done(&mut self, _x: &Self::T, _norm: &NormWeights) {}
    /// Takes back what is no longer needed.
    fn release(&mut self, _x: Self::T) {}

    /// A projection with its bias and its adapters.
    fn linear(&mut self, x: &Self::T, linear: &Linear) -> Self::T {
        let y = self.product(x, &linear.matrix);
        let y = match &linear.bias {
            Some(bias) => self.add_vector(y, bias),
            None => y,
        };
        self.adapt(x, y, linear.site)
    }

    /// Several projections of the same rows.
    fn linears<const N: usize>(&mut self, x: &Self::T, linears: [&Linear; N]) -> [Self::T; N] {
        linears.map(|linear| self.linear(x, linear))
    }

    /// `activation(gate) * up`
    fn activate_gated(&mut self, gate: Self::T, up: &Self::T, activation: Activation) -> Self::T {
        let gate = self.activate(gate, activation);
        self.multiply(gate, up)
    }
}
