//! The description of a decoder, the families, the operations, the forward pass.
#![forbid(unsafe_code)]
