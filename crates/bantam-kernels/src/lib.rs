//! Slices in, slices out: products over every storage, attention, norms, rope, activations, and
//! what their derivatives need.
//!
//! Invariants of the whole crate:
//!
//! * The order of every sum and the rounding of every operand follow from the shape of the weights
//!   alone, never from the number of rows, of threads, or from the instruction set. The vector
//!   code is written once over `lanes::Lanes`, whose implementations are bit-equal.
//! * Nothing here knows a tensor, a file or a model. Lengths are asserted, since a wrong length is a
//!   bug of the caller and not of the input.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod activation;
pub mod attention;
pub mod backward;
pub mod elementwise;
pub mod limits;
pub mod machine;
pub mod matmul;
pub mod memory;
pub mod norm;
pub mod rope;
pub mod storage;

mod blocks;
mod lanes;
mod pool;
mod share;
mod tiles;
mod width;

pub use machine::{Isa, Machine};
pub use storage::Storage;
