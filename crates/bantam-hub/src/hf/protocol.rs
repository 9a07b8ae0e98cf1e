//! What is asked of a hub, and what its answers mean. Answers are input: paths, commits and hashes are checked.

use serde_json::Value;
use ureq::http::StatusCode;

use crate::digest::Expected;
use crate::net::{self, Client, Head, text};
use crate::reference::check_relative;
use crate::{Error, Result};

const PAGES_MAX: usize = 64;
const FILES_MAX: usize = 20_000;
const BRANCH_TIP: &str = "main";

/// A file as the hub describes it.
#[derive(Clone, Debug)]
pub(super) struct FileMeta {
    pub(super) path: String,
    /// 40 hexadecimal digits.
    pub(super) commit: String,
    pub(super) size: u64,
    /// As it came, for `If-Range`.
    pub(super) etag: String,
    pub(super) expected: Expected,
}

/// The address of a file.
pub(super) fn file_url(client: &Client, repo: &str, revision: &str, path: &str) -> String {
    // A slash inside a revision (`refs/pr/1`) is part of it.
    let revision = net::escape(revision).replace('/', "%2F");
    format!("{}/{repo}/resolve/{revision}/{}", client.endpoint(), net::escape(path))
}

/// Asks for a file's commit, hash and size.
pub(super) fn describe(client: &Client, repo: &str, revision: &str, path: &str) -> Result<FileMeta> {
    let url = file_url(client, repo, revision, path);
    let head = client.head(&url)?;
    if !head.status.is_success() && !head.status.is_redirection() {
        return Err(refusal(&head, &url, repo, revision, path));
    }
    let lacking =
        |what: &str| Error::Answer { url: net::clean(&url), why: format!("{what}; is this a model hub?") };
    let commit = text(&head.headers, "x-repo-commit").filter(|commit| is_commit(commit));
    let commit = commit.ok_or_else(|| lacking("names no commit"))?;
    let etag = text(&head.headers, "x-linked-etag").or_else(|| text(&head.headers, "etag"));
    let etag = etag.ok_or_else(|| lacking("names no hash"))?;
    let expected = Expected::from_etag(etag).ok_or_else(|| lacking("names a hash that cannot be checked"))?;
    let size = text(&head.headers, "x-linked-size").or_else(|| text(&head.headers, "content-length"));
    let size = size.and_then(|size| size.parse().ok()).ok_or_else(|| lacking("names no size"))?;
    Ok(FileMeta { path: path.into(), commit: commit.into(), size, etag: etag.into(), expected })
}

/// 40 lower-case hexadecimal digits: safe as the name of a folder.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// All file paths of a repository, from its tree, page by page.
pub(super) fn list(client: &Client, repo: &str, revision: &str) -> Result<Vec<String>> {
    let revision_part = net::escape(revision).replace('/', "%2F");
    let base = format!("{}/api/models/{repo}/tree/{revision_part}?recursive=true", client.endpoint());
    let mut url = base.clone();
    let mut paths = Vec::new();
    for _ in 0..PAGES_MAX {
        let (head, value) = client.json(&url)?;
        let Some(value) = value else { return Err(refusal(&head, &url, repo, revision, "")) };
        paths.extend(paths_of(&value, &url)?);
        if paths.len() > FILES_MAX {
            break;
        }
        match text(&head.headers, "link").and_then(next_page) {
            // The cursor is all that changes; another host has nothing to say about this repository.
            Some(next) => url = next_url(&base, next),
            None => return Ok(paths),
        }
    }
    Err(Error::Answer { url: net::clean(&base), why: format!("lists more than {FILES_MAX} files") })
}

fn paths_of(value: &Value, url: &str) -> Result<Vec<String>> {
    let wrong = || Error::Answer { url: net::clean(url), why: "is not a list of files".into() };
    let entries = value.as_array().ok_or_else(wrong)?;
    let files = entries.iter().filter(|entry| entry.get("type").and_then(Value::as_str) == Some("file"));
    let paths = files.filter_map(|file| file.get("path").and_then(Value::as_str));
    // A name that could leave its folder is passed over: no model has one.
    Ok(paths.filter(|path| check_relative(path).is_ok()).map(String::from).collect())
}

/// The address in `<...>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (_, rest) = part.split_once('<')?;
    Some(rest.split_once('>')?.0)
}

fn next_url(base: &str, next: &str) -> String {
    let query = next.split_once('?').map_or("", |(_, query)| query);
    let place = base.split('?').next().unwrap_or(base);
    format!("{place}?{query}")
}

/// Why the hub refused, from its own code where it gives one.
fn refusal(head: &Head, url: &str, repo: &str, revision: &str, path: &str) -> Error {
    let said = text(&head.headers, "x-error-message").unwrap_or_default();
    let said: String = said.chars().take(200).collect();
    let missing = |wanted: String, why: &str| Error::NotFound {
        wanted,
        why: format!("{why} ({}) {said}", head.status),
    };
    match text(&head.headers, "x-error-code").unwrap_or_default() {
        "GatedRepo" => Error::Gated { repo: repo.into() },
        "RepoNotFound" => {
            missing(repo.into(), "no such repository, or it is private: check the name, set HF_TOKEN")
        }
        "RevisionNotFound" => missing(format!("{repo}@{revision}"), "no such branch, tag or commit"),
        "EntryNotFound" => missing(format!("{repo}/{path}"), "the repository has no such file"),
        _ if head.status == StatusCode::UNAUTHORIZED => {
            missing(repo.into(), "no such repository, or the token is wrong: check the name and HF_TOKEN")
        }
        _ if head.status == StatusCode::NOT_FOUND && revision != BRANCH_TIP => {
            missing(format!("{repo}@{revision}"), "not found")
        }
        _ if head.status == StatusCode::NOT_FOUND => missing(format!("{repo}/{path}"), "not found"),
        _ => Error::Answer { url: net::clean(url), why: format!("answered {} {said}", head.status) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_followed_on_the_same_host_only() {
        let link = "<https://evil/api/models/o/r/tree/main?recursive=true&cursor=abc>; rel=\"next\"";
        let next = next_url("http://h/api/models/o/r/tree/main?recursive=true", next_page(link).unwrap());
        assert_eq!(next, "http://h/api/models/o/r/tree/main?recursive=true&cursor=abc");
        assert_eq!(next_page("<x>; rel=\"prev\""), None);
    }

    #[test]
    fn hostile_paths_and_commits_are_passed_over() {
        let tree = serde_json::json!([
            {"type": "file", "path": "../../x.gguf"}, {"type": "directory", "path": "d"}, {"type": "file", "path": "a/b.gguf"}
        ]);
        assert_eq!(paths_of(&tree, "u").unwrap(), ["a/b.gguf"]);
        assert!(paths_of(&serde_json::json!({"error": 1}), "u").is_err());
        assert!(is_commit(&"0a".repeat(20)) && !is_commit(&"../".repeat(13)) && !is_commit("main"));
    }
}
