//! Perplexity and divergence.
#![forbid(unsafe_code)]
