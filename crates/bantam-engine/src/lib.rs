//! Requests to scheduled batches to sampled tokens.
#![forbid(unsafe_code)]
