//! The store of Ollama's on the same machine, read in place: nothing in it is copied, changed or removed.
//!
//! `manifests/HOST/NAMESPACE/MODEL/TAG` are manifests of images, whose layers lie in `blobs/sha256-<hex>`: a GGUF file,
//! and what is said to the model, set for it and licensed beside it. A path in it is made from names that were found in
//! the folder and from checked digests alone; what cannot be read is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use crate::digest::Digest;
use crate::disk::{files_below, read_limited};
use crate::manifest::{Manifest, Source, name_path};
use crate::recipe::Recipe;
use crate::record::{FileRecord, Place};

/// Manifests, and layers that are texts.
const TEXT_BYTES_MAX: u64 = 1 << 20;
const DEPTH: usize = 3;
const LICENCE_CHARS_MAX: usize = 60;

/// The folders that such a store may be.
pub(crate) struct OllamaStore {
    folders: Vec<PathBuf>,
}

/// A manifest of an image, as far as it is needed.
#[derive(Deserialize)]
struct Image {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: Digest,
    size: u64,
}

impl OllamaStore {
    pub(crate) fn new(folders: &[PathBuf]) -> OllamaStore {
        OllamaStore { folders: folders.to_vec() }
    }

    /// All models whose files are here, by name.
    pub(crate) fn list(&self) -> Vec<Manifest> {
        let mut all: Vec<Manifest> = self.folders.iter().flat_map(|folder| list(folder)).collect();
        // Of a name that two folders have, the first one's is taken.
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all.dedup_by(|later, first| later.name == first.name);
        all
    }

    /// The model with a name, in any case; `:latest` is what a name without a tag means.
    pub(crate) fn find(&self, name: &str) -> Option<Manifest> {
        let name = name.strip_suffix(":latest").unwrap_or(name);
        self.list().into_iter().find(|manifest| manifest.name.eq_ignore_ascii_case(name))
    }
}

fn list(folder: &Path) -> impl Iterator<Item = Manifest> {
    let manifests = folder.join("manifests");
    let files = files_below(&manifests, DEPTH);
    files.into_iter().filter_map(move |file| read(folder, &manifests.join(&file), name(&file)?))
}

/// What a model is called whose manifest has this path, as Ollama calls it.
fn name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    let [host, namespace, model, tag] = parts.as_slice() else { return None };
    let place = match (*host, *namespace) {
        ("registry.ollama.ai", "library") => (*model).to_owned(),
        ("registry.ollama.ai", namespace) => format!("{namespace}/{model}"),
        (host, namespace) => format!("{host}/{namespace}/{model}"),
    };
    let name = if *tag == "latest" { place } else { format!("{place}:{tag}") };
    name_path(&name).is_ok().then_some(name)
}

fn read(folder: &Path, path: &Path, name: String) -> Option<Manifest> {
    let image: Image = serde_json::from_slice(&read_limited(path, TEXT_BYTES_MAX).ok()?).ok()?;
    let store = Layers { blobs: folder.join("blobs"), layers: image.layers };
    let model = store.file("model", "model.gguf")?;
    let licence = store.text("license").and_then(|text| licence_name(&text));
    let mut manifest = Manifest::new(name, Source::Ollama, false, vec![model]);
    manifest.licence = licence;
    manifest.pulled_unix_s = modified_unix_s(path);
    let recipe = Recipe {
        system: store.text("system"),
        parameters: store.json("params").unwrap_or_default(),
        messages: store.json("messages").unwrap_or_default(),
        adapters: store.file("adapter", "adapter.gguf").into_iter().collect(),
        // Its templates are Go's; the file has its maker's own.
        ..Recipe::default()
    };
    manifest.recipe = Some(recipe).filter(|recipe| *recipe != Recipe::default());
    Some(manifest)
}

struct Layers {
    blobs: PathBuf,
    layers: Vec<Layer>,
}

impl Layers {
    fn find(&self, kind: &str) -> Option<(&Layer, PathBuf)> {
        let is_it =
            |layer: &&Layer| layer.media_type.strip_prefix("application/vnd.ollama.image.") == Some(kind);
        let layer = self.layers.iter().find(is_it)?;
        Some((layer, self.blobs.join(layer.digest.file_name())))
    }

    /// A layer that is a file of the model, if it is here as long as it should be.
    fn file(&self, kind: &str, path: &str) -> Option<FileRecord> {
        let (layer, blob) = self.find(kind)?;
        let is_here = fs::metadata(&blob).is_ok_and(|meta| meta.len() == layer.size);
        let place = Place::Outside(blob);
        is_here.then(|| FileRecord { path: path.into(), digest: layer.digest, bytes: layer.size, place })
    }

    fn text(&self, kind: &str) -> Option<String> {
        let (_, blob) = self.find(kind)?;
        let text = String::from_utf8(read_limited(&blob, TEXT_BYTES_MAX).ok()?).ok()?;
        Some(text).filter(|text| !text.trim().is_empty())
    }

    fn json<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Option<T> {
        serde_json::from_str(&self.text(kind)?).ok()
    }
}

/// The first words of its text.
fn licence_name(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(LICENCE_CHARS_MAX).collect())
}

fn modified_unix_s(path: &Path) -> u64 {
    let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_ollama_has_them() {
        let found = |path: &str| name(path).unwrap_or_default();
        assert_eq!(found("registry.ollama.ai/library/qwen3/0.6b"), "qwen3:0.6b");
        assert_eq!(found("registry.ollama.ai/library/qwen3/latest"), "qwen3");
        assert_eq!(found("registry.ollama.ai/me/mine/latest"), "me/mine");
        assert_eq!(found("hf.co/org/repo/Q4_K_M"), "hf.co/org/repo:Q4_K_M");
        for none in ["a/b/c", "registry.ollama.ai/library/..x/y z", ""] {
            assert_eq!(name(none), None, "{none}");
        }
    }
}
