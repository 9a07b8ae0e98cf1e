//! Tidy, golden, oracle, real, fuzz, ci.
#![forbid(unsafe_code)]
fn main() {}
