//! The primitives of the forward pass, one file for each group: what a primitive computes, through the same
//! kernels as the executor, and right below it its derivative.

pub(crate) mod activation;
pub(crate) mod adapter;
pub(crate) mod attention;
pub(crate) mod elementwise;
pub(crate) mod lookup;
pub(crate) mod magnitude;
pub(crate) mod norm;
pub(crate) mod product;
pub(crate) mod rope;
pub(crate) mod shape;

/// `sum += x`, number by number.
fn accumulate(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}
