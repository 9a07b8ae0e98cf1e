//! Adapters: what is added to a model's projections, low-rank products kept apart from the weights.
//!
//! LoRA (Hu et al. 2021): `y = W x + scale * B (A x)`. The base stays in its own bits; each span of a batch may have an
//! adapter of its own, or none.

use std::collections::BTreeMap;

use crate::names::Role;
use crate::weights::Matrix;

/// Where a projection stands in a model, whatever its checkpoint calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// Counted from zero; zero for parts that a model has once.
    pub layer: usize,
    /// Which of the layer's projections.
    pub role: Role,
}

/// A product of two thin matrices, `scale * B A`.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// `[rank, inputs]`
    pub a: Matrix,
    /// `[outputs, rank]`
    pub b: Matrix,
    /// What the product is multiplied with: `alpha / rank`, or `alpha / sqrt(rank)` (rsLoRA, Kalajdzievski 2023).
    pub scale: f32,
}

/// What is added to the projections of a model.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    /// The projections that it changes.
    pub sites: BTreeMap<Site, LowRank>,
}
