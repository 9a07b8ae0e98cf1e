//! The Hugging Face hub: its protocol, and its cache on disk that other programs share.
//!
//! The protocol is that of `huggingface_hub`: `resolve/` for files, `api/models/.../tree/` for listings, hashes in
//! `x-linked-etag` (sha256) or `etag` (git blob id). A file enters the cache only with the hash the hub stated.

mod cache;
mod protocol;

use cache::Repository;
use protocol::FileMeta;

use crate::digest::{Digest, Expected, verify_file};
use crate::manifest::{Manifest, Source};
use crate::net::Client;
use crate::observer::Observer;
use crate::quant::{self, Selection, Shape, Want};
use crate::record::{FileRecord, Place};
use crate::settings::Settings;
use crate::{Error, Result, disk};

/// What is wanted from a hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HubWant<'a> {
    /// The name of the manifest to make.
    pub(crate) name: &'a str,
    pub(crate) repo: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) want: Want<'a>,
    /// The digest the first file must have, where the catalogue knows it.
    pub(crate) digest: Option<Digest>,
}

/// Looks for a whole model that is in the cache already. No socket; every file is verified once.
pub(crate) fn find_cached(
    settings: &Settings,
    want: &HubWant<'_>,
    observer: &mut dyn Observer,
) -> Result<Option<Manifest>> {
    let repository = Repository::new(&settings.cache, want.repo);
    let Some(commit) = repository.commit_of(want.revision) else { return Ok(None) };
    let paths = repository.snapshot_files(&commit);
    let Ok(selection) = quant::select(want.repo, &paths, want.want) else { return Ok(None) };
    if selection.shape == Shape::Folder && !repository.is_whole_folder(&commit, &selection.paths)? {
        return Ok(None);
    }
    let mut files = Vec::with_capacity(selection.paths.len());
    for path in &selection.paths {
        match adopt(&repository, &commit, path, observer) {
            Ok(record) => files.push(record),
            // Another program's broken file is no reason to fail: fetch it anew.
            Err(Error::WrongHash { .. } | Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    if want.digest.is_some_and(|digest| files.first().is_none_or(|first| first.digest != digest)) {
        return Ok(None);
    }
    Ok(Some(manifest_of(want, None, &commit, &selection, files)))
}

/// Checks a file of the cache against the hash in its blob's name and records it.
fn adopt(
    repository: &Repository,
    commit: &str,
    path: &str,
    observer: &mut dyn Observer,
) -> Result<FileRecord> {
    let place = repository.snapshot_path(commit, path);
    let unnamed = || Error::NotFound { wanted: path.into(), why: "its blob has no hash for a name".into() };
    let expected = repository.blob_hash(&place).ok_or_else(unnamed)?;
    let digest = verify_file(&place, path, &expected, observer)?;
    let bytes = std::fs::metadata(&place).map_err(Error::io("read", &place))?.len();
    Ok(FileRecord { path: path.into(), digest, bytes, place: Place::Outside(place) })
}

/// Brings a model into the cache.
pub(crate) fn fetch(
    client: &Client,
    settings: &Settings,
    want: &HubWant<'_>,
    observer: &mut dyn Observer,
) -> Result<Manifest> {
    let repository = Repository::new(&settings.cache, want.repo);
    let selection = plan(client, want)?;
    let metas = describe(client, want, &selection)?;
    let commit = metas.first().map(|meta| meta.commit.clone()).unwrap_or_default();
    check_digest(want, &metas)?;
    let missing: u64 = metas.iter().map(|meta| repository.missing_bytes(meta)).fold(0, u64::saturating_add);
    disk::check_space(repository.folder(), missing)?;
    let mut files = Vec::with_capacity(metas.len());
    for meta in &metas {
        files.push(repository.fetch(client, want.repo, meta, observer)?);
    }
    repository.write_ref(want.revision, &commit)?;
    Ok(manifest_of(want, Some(client.endpoint()), &commit, &selection, files))
}

/// Which files are needed. A known whole file needs no listing.
fn plan(client: &Client, want: &HubWant<'_>) -> Result<Selection> {
    match want.want {
        Want::File(path) if !path.contains("-of-") => {
            Ok(Selection { paths: vec![path.into()], shape: Shape::File })
        }
        _ => quant::select(want.repo, &protocol::list(client, want.repo, want.revision)?, want.want),
    }
}

/// Asks for every file's hash, all at the commit of the first.
fn describe(client: &Client, want: &HubWant<'_>, selection: &Selection) -> Result<Vec<FileMeta>> {
    let mut metas: Vec<FileMeta> = Vec::with_capacity(selection.paths.len());
    for path in &selection.paths {
        let revision = metas.first().map_or(want.revision, |first| &first.commit);
        let meta = protocol::describe(client, want.repo, revision, path)?;
        metas.push(meta);
    }
    Ok(metas)
}

/// Refuses before the download what would be refused after it.
fn check_digest(want: &HubWant<'_>, metas: &[FileMeta]) -> Result<()> {
    let (Some(digest), Some(first)) = (want.digest, metas.first()) else { return Ok(()) };
    if first.expected == Expected::Sha256(digest) {
        return Ok(());
    }
    Err(Error::WrongHash {
        name: first.path.clone(),
        wanted: digest.to_string(),
        found: first.expected.to_string(),
    })
}

fn manifest_of(
    want: &HubWant<'_>,
    endpoint: Option<&str>,
    commit: &str,
    selection: &Selection,
    files: Vec<FileRecord>,
) -> Manifest {
    let source = Source::Hub {
        endpoint: endpoint.map(String::from),
        repo: want.repo.into(),
        revision: want.revision.into(),
        commit: commit.into(),
    };
    Manifest::new(want.name.into(), source, selection.shape == Shape::Folder, files)
}
