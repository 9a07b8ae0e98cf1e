//! Products of activations with weights in any storage: `y[m][n] = sum over k of x[m][k] * w[n][k]`.
//!
//! Two arithmetics, each the same for one row and for many, on any number of threads:
//!
//! * [`Input::Exact`]: weights are widened exactly to f32, products are fused multiply-adds in f32.
//!   Lane `i` of sixteen takes every sixteenth product from `i` on; the lanes are summed in halves.
//! * [`Input::Coded`], for quantised storages: activations are 16-bit integers with a scale for each
//!   32 of them, a unit's products of codes are summed exactly in integers, and the units are added in
//!   order, one fused multiply-add each. Integer sums have no order, so any instruction set may form
//!   them in its own way.

mod codes;
mod exact;
mod integer;
mod widen;

pub use codes::Codes;
pub use widen::dequantize;
pub(crate) use widen::widen;

use crate::{Machine, Storage};

/// How a weight matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One row of `inputs` for each output, as `torch.nn.Linear` stores it.
    OutIn,
    /// One row of `outputs` for each input (the `Conv1D` of GPT-2). Only for storages without blocks.
    InOut,
}

/// A matrix of weights.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// How the numbers lie in `bytes`.
    pub storage: Storage,
    /// Which axis comes first.
    pub layout: Layout,
    /// Width of the result.
    pub outputs: usize,
    /// Width of the activations.
    pub inputs: usize,
    /// The numbers, without gaps.
    pub bytes: &'a [u8],
}

impl Weights<'_> {
    pub(crate) fn check(&self) {
        let across = if self.layout == Layout::OutIn { self.inputs } else { self.outputs };
        assert!(self.layout == Layout::OutIn || !self.storage.is_quantized(), "blocks run along the inputs");
        let rows = self.inputs * self.outputs / across.max(1);
        let row = self.storage.bytes_of(across);
        assert_eq!(row.map(|bytes| bytes * rows), Some(self.bytes.len()), "weights of the wrong length");
    }
}

/// The activations of a product, one row after the other.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// As they are.
    Exact(&'a [f32]),
    /// Rounded once to 16-bit codes.
    Coded(&'a Codes),
}

/// Writes the product to `y`, `[rows][weights.outputs]`.
///
/// # Panics
///
/// Where the lengths do not fit each other, or codes meet a storage without blocks.
pub fn multiply(machine: &Machine, weights: Weights<'_>, input: Input<'_>, y: &mut [f32]) {
    weights.check();
    if weights.outputs == 0 || y.is_empty() {
        return;
    }
    match input {
        Input::Exact(x) => exact::multiply(machine, weights, x, y),
        Input::Coded(x) => integer::multiply(machine, weights, x, y),
    }
}
