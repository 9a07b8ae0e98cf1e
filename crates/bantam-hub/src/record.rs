//! The files of a model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// One file of a model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path in the model, with `/`.
    pub path: String,
    /// Its sha256.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// Where it lies.
    pub place: Place,
}

/// Where a file lies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Among the store's blobs, under its digest.
    Blob,
    /// Elsewhere, read but never removed: the cache shared with other programs.
    Outside(PathBuf),
}
