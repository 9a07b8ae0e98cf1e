//! How many numbers go together, whatever the instruction set.

/// Numbers that vector code takes at a time.
pub(crate) const LANES: usize = 16;
/// Codes that are taken out of a block together.
pub(crate) const RUN: usize = 32;
