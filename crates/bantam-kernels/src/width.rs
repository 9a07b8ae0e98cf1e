//! How many numbers go together, and how pairs of them are held, whatever the instruction set.

/// Numbers that vector code takes at a time.
pub(crate) const LANES: usize = 16;
/// Codes that are taken out of a block together.
pub(crate) const RUN: usize = 32;

/// Two numbers of BF16, the first one in the lower half.
pub(crate) type Pair = u32;
