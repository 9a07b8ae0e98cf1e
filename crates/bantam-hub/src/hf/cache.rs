//! The cache that `huggingface_hub` and others share, in its classic layout:
//!
//! ```text
//! models--ORG--NAME/blobs/<etag>                   the bytes
//! models--ORG--NAME/refs/<revision>                the commit, as text
//! models--ORG--NAME/snapshots/<commit>/<path>      a relative link to the blob
//! .locks/models--ORG--NAME/<etag>.lock
//! ```
//!
//! Links are followed however many there are (newer programs keep blobs in one place for all repositories). Nothing
//! is ever removed here but a part file of our own with a wrong hash.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::protocol::{self, FileMeta, is_commit};
use crate::digest::{Digest, Expected, verify_file};
use crate::disk::{self, files_below};
use crate::net::Client;
use crate::observer::Observer;
use crate::record::{FileRecord, Place};
use crate::reference::check_segment;
use crate::transfer::{self, Job};
use crate::{Error, Result};

const SNAPSHOT_DEPTH: usize = 4;
const LINKS_MAX: usize = 4;
const INDEX_BYTES_MAX: u64 = 32 << 20;
const INDEX: &str = "model.safetensors.index.json";

/// The cache's folder of one repository.
pub(super) struct Repository {
    folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    /// `repo` is `org/name`, checked by whoever read it.
    pub(super) fn new(cache: &Path, repo: &str) -> Repository {
        let name = format!("models--{}", repo.replace('/', "--"));
        Repository { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit a revision was at when it was last fetched.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.into());
        }
        check_segment(revision).ok()?;
        let text = disk::read_limited(&self.folder.join("refs").join(revision), 1024).ok()?;
        let commit = String::from_utf8(text).ok()?.trim().to_string();
        is_commit(&commit).then_some(commit)
    }

    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        disk::write_whole(&self.folder.join("refs").join(revision), commit.as_bytes())
    }

    fn snapshot_folder(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// `path` is relative and checked.
    pub(super) fn snapshot_path(&self, commit: &str, path: &str) -> PathBuf {
        self.snapshot_folder(commit).join(path)
    }

    pub(super) fn snapshot_files(&self, commit: &str) -> Vec<String> {
        files_below(&self.snapshot_folder(commit), SNAPSHOT_DEPTH)
    }

    /// A folder model is whole when it has a config and, if it is sharded, every shard of its index.
    pub(super) fn is_whole_folder(&self, commit: &str, paths: &[String]) -> Result<bool> {
        let has = |path: &str| paths.iter().any(|p| p == path);
        if !has("config.json") && !has("adapter_config.json") {
            return Ok(false);
        }
        let tokenizers =
            ["tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "adapter_config.json"];
        if !tokenizers.iter().any(|path| has(path)) {
            return Ok(false);
        }
        if !has(INDEX) {
            // Shards without their index may be some of many.
            return Ok(!paths.iter().any(|path| path.starts_with("model-") && path.contains("-of-")));
        }
        let index = disk::read_limited(&self.snapshot_path(commit, INDEX), INDEX_BYTES_MAX)?;
        let index: Value = serde_json::from_slice(&index).unwrap_or_default();
        let shards = index.get("weight_map").and_then(Value::as_object).map(|map| map.values());
        Ok(shards.is_some_and(|mut shards| shards.all(|shard| shard.as_str().is_some_and(has))))
    }

    /// The hash in the name of the blob that a snapshot's file leads to; the first link with such a name counts, since
    /// a shared blob further on is named by another hash.
    pub(super) fn blob_hash(&self, place: &Path) -> Option<Expected> {
        let mut at = place.to_path_buf();
        for _ in 0..LINKS_MAX {
            let target = fs::read_link(&at).ok()?;
            at = at.parent()?.join(target);
            if let Some(hash) = at.file_name().and_then(|name| Expected::from_etag(name.to_str()?)) {
                return Some(hash);
            }
        }
        None
    }

    fn blob(&self, meta: &FileMeta) -> PathBuf {
        self.folder.join("blobs").join(meta.expected.hex())
    }

    fn part(&self, meta: &FileMeta) -> PathBuf {
        disk::sibling(&self.blob(meta), ".incomplete")
    }

    /// What is still to be fetched of a file.
    pub(super) fn missing_bytes(&self, meta: &FileMeta) -> u64 {
        if self.blob(meta).exists() {
            return 0;
        }
        meta.size.saturating_sub(fs::metadata(self.part(meta)).map_or(0, |part| part.len()))
    }

    /// Brings one file into the cache, or verifies the one that is there.
    pub(super) fn fetch(
        &self,
        client: &Client,
        repo: &str,
        meta: &FileMeta,
        observer: &mut dyn Observer,
    ) -> Result<FileRecord> {
        let blob = self.blob(meta);
        disk::make_folder(&self.folder.join("blobs"))?;
        let lock = self.locks.join(format!("{}.lock", meta.expected.hex()));
        let _lock = disk::lock(&lock, &meta.path, observer)?;
        let digest = match self.verified_blob(&blob, meta, observer)? {
            Some(digest) => digest,
            None => {
                let part = self.part(meta);
                let url = protocol::file_url(client, repo, &meta.commit, &meta.path);
                let (size, expected) = (meta.size, meta.expected);
                let job = Job { name: &meta.path, url: &url, etag: &meta.etag, size, expected, part: &part };
                let digest = transfer::fetch(client, &job, observer)?;
                disk::rename(&part, &blob)?;
                digest
            }
        };
        let place = self.snapshot_path(&meta.commit, &meta.path);
        link(&blob, &place, &meta.path)?;
        Ok(FileRecord { path: meta.path.clone(), digest, bytes: meta.size, place: Place::Outside(place) })
    }

    /// The digest of a blob that is there and right. A wrong one was written by another program: it is replaced by
    /// renaming over it, not removed.
    fn verified_blob(
        &self,
        blob: &Path,
        meta: &FileMeta,
        observer: &mut dyn Observer,
    ) -> Result<Option<Digest>> {
        if !blob.is_file() {
            return Ok(None);
        }
        match verify_file(blob, &meta.path, &meta.expected, observer) {
            Ok(digest) => Ok(Some(digest)),
            Err(Error::WrongHash { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Makes `place` lead to `blob` by a relative link, or where the system has none, by a second name or a copy.
fn link(blob: &Path, place: &Path, path: &str) -> Result<()> {
    if let Some(folder) = place.parent() {
        disk::make_folder(folder)?;
    }
    let up = "../".repeat(path.matches('/').count() + 2);
    let name = blob.file_name().unwrap_or_default();
    let target = Path::new(&up).join("blobs").join(name);
    if fs::read_link(place).is_ok_and(|old| old == target) {
        return Ok(());
    }
    let temp = disk::temp_beside(place);
    if symlink(&target, &temp).is_err() {
        fs::hard_link(blob, &temp)
            .or_else(|_| fs::copy(blob, &temp).map(drop))
            .map_err(Error::io("link", &temp))?;
    }
    disk::rename(&temp, place)
}

#[cfg(unix)]
fn symlink(target: &Path, place: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, place)
}

#[cfg(windows)]
fn symlink(target: &Path, place: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, place)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
