//! What learning needs beside the forward pass: derivatives of products, attention, norms and activations.
//!
//! Everything adds to what is there, in f32. Each sum is formed by one thread alone and in an order that follows
//! from the shapes, whatever the number of threads.

mod activation;
mod attention;
mod cross_entropy;
mod divergence;
mod norm;
mod sums;
mod tiled;

pub use activation::{activate_backward, activate_gated_backward};
pub use attention::{AttendGradients, AttendInputs, attend_backward};
pub use cross_entropy::{cross_entropy, log_softmax};
pub use divergence::{Divergence, Rows as DivergenceRows, divergence};
pub use norm::{NormGradients, normalize_backward};
pub use sums::First;

use crate::Machine;
use crate::elementwise::add_scaled;
use crate::lanes::has_pairs_of_bf16;
use crate::matmul::{Input, Layout, Weights, multiply};
use crate::share::Shared;
use sums::{Second, Sums};

/// How the factors of a derivative's products are rounded; sums are in f32 in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Not at all.
    Single,
    /// To BF16, where the processor multiplies pairs of these faster than single numbers: in lanes (AVX512-BF16 without
    /// AMX) or in tiles (AVX512-BF16 with AMX-BF16, on Linux); else not at all.
    Bf16,
}

/// Forms a product of the way forward, `y[m][n] = sum over k of x[m][k] * w[n][k]`, with factors of BF16 where
/// [`Precision::Bf16`] has these, else exactly, as [`Input::Exact`].
///
/// * `weights`: any storage and layout, widened block by block
/// * `x`: `[rows][weights.inputs]`
/// * `y`: `[rows][weights.outputs]`
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn multiply_rounded(
    machine: &Machine,
    weights: Weights<'_>,
    precision: Precision,
    x: &[f32],
    y: &mut [f32],
) {
    weights.check();
    if precision == Precision::Single || !has_pairs_of_bf16(machine.isa()) {
        return multiply(machine, weights, Input::Exact(x), y);
    }
    let Weights { inputs, outputs, .. } = weights;
    let rows = y.len() / outputs.max(1);
    assert!(y.len() == rows * outputs && x.len() == rows * inputs, "rows of another width");
    y.fill(0.0);
    if y.is_empty() {
        return;
    }
    let second = match weights.layout {
        Layout::OutIn => Second::Across(weights),
        Layout::InOut => Second::Weights(weights),
    };
    Sums {
        first: First::Rows(x),
        second,
        rows,
        terms: inputs,
        width: outputs,
        precision,
        out: &Shared::new(y),
    }
    .add(machine);
}

/// Adds to the derivative by the activations, `dx[m][k] += sum over n of dy[m][n] * w[n][k]`.
///
/// * `weights`: any storage and layout, widened exactly and block by block
/// * `dy`: `[rows][weights.outputs]`
/// * `dx`: `[rows][weights.inputs]`
///
/// One fused multiply-add for each term, in ascending order, or one of the processor's instructions for each two terms of
/// BF16, in tiles for each 32. Weights of [`Layout::InOut`] lie as dot products want them: there the sum is the one of [`Input::Exact`], whatever
/// the precision, and is added to `dx` at the end.
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn multiply_backward_input(
    machine: &Machine,
    weights: Weights<'_>,
    precision: Precision,
    dy: &[f32],
    dx: &mut [f32],
) {
    weights.check();
    let Weights { inputs, outputs, .. } = weights;
    let rows = dx.len() / inputs.max(1);
    assert!(
        dx.len() == rows * inputs && (inputs == 0 || dy.len() == rows * outputs),
        "rows of another width"
    );
    if dx.is_empty() || outputs == 0 {
        return;
    }
    if weights.layout == Layout::InOut {
        let across = Weights { layout: Layout::OutIn, outputs: inputs, inputs: outputs, ..weights };
        let mut sums = vec![0.0; dx.len()];
        multiply(machine, across, Input::Exact(dy), &mut sums);
        return add_scaled(machine, dx, &sums, 1.0);
    }
    let (first, second) = (First::Rows(dy), Second::Weights(weights));
    Sums { first, second, rows, terms: outputs, width: inputs, precision, out: &Shared::new(dx) }
        .add(machine);
}

/// Adds to the derivative by the weights, `dw[n][k] += sum over m of dy[m][n] * x[m][k]`.
///
/// * `x`: `[rows][inputs]`
/// * `dy`: `[rows][outputs]`
/// * `dw`: `[outputs][inputs]` for [`Layout::OutIn`], `[inputs][outputs]` for [`Layout::InOut`]
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn multiply_backward_weights(
    machine: &Machine,
    (layout, precision): (Layout, Precision),
    inputs: usize,
    outputs: usize,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    assert_eq!(Some(dw.len()), inputs.checked_mul(outputs), "a derivative for each weight");
    match layout {
        Layout::OutIn => add_product(machine, precision, First::Columns(dy), x, [outputs, inputs], dw),
        Layout::InOut => add_product(machine, precision, First::Columns(x), dy, [inputs, outputs], dw),
    }
}

/// Adds a product of two matrices, `out[r][c] += sum over t of first[r][t] * second[t][c]`, one fused
/// multiply-add for each term, in ascending order, or one of the processor's instructions for each two terms of BF16, in
/// tiles for each 32.
///
/// * `second`: `[terms][width]`
/// * `out`: `[rows][width]`
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn add_product(
    machine: &Machine,
    precision: Precision,
    first: First<'_>,
    second: &[f32],
    [rows, width]: [usize; 2],
    out: &mut [f32],
) {
    assert_eq!(Some(out.len()), rows.checked_mul(width), "rows of another width");
    if out.is_empty() {
        return;
    }
    let terms = second.len() / width;
    let (First::Rows(numbers) | First::Columns(numbers)) = first;
    assert!(second.len() == terms * width && numbers.len() == rows * terms, "rows of another width");
    Sums { first, second: Second::Rows(second), rows, terms, width, precision, out: &Shared::new(out) }
        .add(machine);
}
