//! Storages, shapes, views of mapped bytes, and the file formats.
//!
//! This room knows no layer and no family. A [`Tensor`] cannot be wrong: its bytes are exactly what its shape
//! and storage need. [`mod@format`] is the only place where the bytes of model files enter; what it hands out has
//! been checked against the file's length.
#![deny(unsafe_code)]

pub mod format;
pub mod quant;

mod bytes;
mod error;
mod tensor;

pub use bantam_kernels as kernels;
pub use bantam_kernels::Storage;
pub use bytes::Bytes;
pub use error::Error;
pub use format::{Checkpoint, Metadata, Source};
pub use tensor::Tensor;
