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

mod across;
mod codes;
mod exact;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "other processors have no products of bytes")
)]
mod few;
mod few_digits;
mod integer;
mod one;
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, reason = "other processors and systems have no tiles of BF16")
)]
mod pairs;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "other processors have no products of bytes")
)]
mod panel;
mod rounded;
mod rows;
mod slab;
mod tiled;
mod widen;

pub use codes::{Codes, Rounding};
pub use pairs::PairRows;
pub use rounded::{Form, Rounded};
pub use widen::dequantize;
pub(crate) use widen::widen;

use crate::lanes::LANES;
use crate::share::Shared;
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

impl<'a> Weights<'a> {
    /// Weights that are numbers as they lie.
    fn numbers(&self) -> Option<&'a [f32]> {
        // SAFETY: any four bytes are a number, and `align_to` gives whole aligned ones only. (The machine's order of bytes
        // is that of the files, as `widen` has it too.)
        let (before, numbers, after) = unsafe { self.bytes.align_to::<f32>() };
        let fits = self.storage == Storage::F32 && before.is_empty() && after.is_empty();
        fits.then_some(numbers)
    }

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
    /// Rounded once to BF16, as the weights are.
    Pairs(&'a PairRows),
}

/// A product to be formed: `y` is `[rows][weights.outputs]`.
pub struct Product<'a> {
    /// The weights.
    pub weights: Weights<'a>,
    /// The activations.
    pub input: Input<'a>,
    /// Where the product is written.
    pub y: &'a mut [f32],
    /// With a factor, the product is multiplied with it and added to what is there; exact products only.
    pub added: Option<f32>,
}

/// Forms one product.
///
/// # Panics
///
/// Where the lengths do not fit each other, codes meet a storage without blocks, or their products are to be added.
pub fn multiply(machine: &Machine, weights: Weights<'_>, input: Input<'_>, y: &mut [f32]) {
    multiply_all(machine, [Product { weights, input, y, added: None }]);
}

/// Forms several products at once, so that the threads wait for each other once.
///
/// # Panics
///
/// As [`multiply`].
pub fn multiply_all<'a>(machine: &Machine, products: impl IntoIterator<Item = Product<'a>>) {
    let parts = products.into_iter().map(|product| {
        let Product { weights, input, y, added } = product;
        weights.check();
        assert!(added.is_none() || matches!(input, Input::Exact(_)), "only exact products are added");
        let width = match input {
            Input::Exact(x) => x.len() / weights.inputs.max(1) * weights.inputs,
            Input::Coded(x) => x.rows() * x.width(),
            Input::Pairs(x) => x.rows() * x.width(),
        };
        let rows = y.len() / weights.outputs.max(1);
        assert!(weights.outputs == 0 || width == rows * weights.inputs, "rows of another width");
        assert!(y.len() == rows * weights.outputs, "a product of another size");
        Part { weights, input, rows, y: Shared::new(y), added }
    });
    let parts: Vec<Part<'_>> = parts.collect();
    let panels = |part: &Part<'_>| if part.rows == 0 { 0 } else { part.weights.outputs.div_ceil(LANES) };
    // Panels of many rows are multiplied two at a time, those in tiles of BF16 always.
    let in_twos = |part: &Part<'_>| part.rows > slab::FEW || matches!(part.input, Input::Pairs(_));
    let granule = if parts.iter().any(in_twos) { 2 } else { 1 };
    machine.split(parts.iter().map(panels).sum(), granule, |range| {
        let mut first = 0;
        for part in &parts {
            let end = first + panels(part);
            let (begin, until) = (range.start.max(first), range.end.min(end));
            if begin < until {
                let outputs = (begin - first) * LANES..((until - first) * LANES).min(part.weights.outputs);
                match part.input {
                    Input::Exact(x) => exact::multiply(machine.isa(), part, x, outputs),
                    Input::Coded(x) => integer::multiply(machine.isa(), part, x, outputs),
                    Input::Pairs(x) => pairs::multiply(machine.isa(), part, x, outputs),
                }
            }
            first = end;
        }
    });
}

/// A product whose outputs the threads share.
struct Part<'a> {
    weights: Weights<'a>,
    input: Input<'a>,
    rows: usize,
    y: Shared<'a, f32>,
    /// What the products are multiplied with before they are added to `y`; else they are written there.
    added: Option<f32>,
}
