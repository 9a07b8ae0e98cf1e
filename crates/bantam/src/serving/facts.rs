//! What is told of a model, read from its files' headers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use bantam::Loaded;
use bantam_hub::{Located, Manifest};
use bantam_server::Details;
use bantam_tensor::Metadata;

/// What clients call a model that is no store's: its file's or folder's name without the ending.
pub(crate) fn name(wanted: &str, located: &Located) -> String {
    let path = &located.path;
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    match &located.manifest {
        Some(manifest) => manifest.name.clone(),
        None => name.map_or_else(|| wanted.to_owned(), |name| name.to_string_lossy().into_owned()),
    }
}

/// Changes with the model: its files' digests, or when and how long they were written.
pub(crate) fn version(located: &Located) -> String {
    match &located.manifest {
        Some(manifest) => {
            let digests = manifest.files.iter().map(|file| file.digest.hex());
            let digests = digests.collect::<Vec<_>>().join(" ");
            let recipe = manifest.recipe.as_ref().and_then(|recipe| serde_json::to_string(recipe).ok());
            digests + &recipe.unwrap_or_default()
        }
        None => format!("{} {}", modified_unix_s(&located.path), bytes_at(&located.path)),
    }
}

fn bytes_at(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn modified_unix_s(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

pub(crate) fn details(loaded: &Loaded, located: &Located) -> Details {
    let recipe = located.manifest.as_ref().and_then(|manifest| manifest.recipe.as_ref());
    Details {
        architecture: loaded.model.architecture.clone(),
        parameters: loaded.parameters(),
        quantization: quantization(loaded),
        format: match &loaded.checkpoint.metadata {
            Metadata::Gguf(_) => "gguf".into(),
            Metadata::Folder(_) => "safetensors".into(),
        },
        file_bytes: loaded.checkpoint.file_bytes(),
        modified_unix_s: modified_unix_s(&located.path),
        digest: located.manifest.as_ref().and_then(only_digest),
        context_length: loaded.model.description.context_length,
        template: recipe.and_then(|recipe| recipe.template.clone()).or_else(|| loaded.chat_template()),
        system: recipe.and_then(|recipe| recipe.system.clone()),
        licence: located.manifest.as_ref().and_then(|manifest| manifest.licence.clone()),
        parent: recipe.and_then(|recipe| recipe.from.clone()),
    }
}

fn only_digest(manifest: &Manifest) -> Option<String> {
    match manifest.files.as_slice() {
        [file] => Some(file.digest.to_string()),
        _ => None,
    }
}

/// The storage that most weights are in.
fn quantization(loaded: &Loaded) -> String {
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in loaded.checkpoint.tensors() {
        *totals.entry(tensor.storage().to_string()).or_default() += tensor.elements();
    }
    let most = totals.into_iter().max_by_key(|(_, elements)| *elements);
    most.map(|(storage, _)| storage.to_uppercase()).unwrap_or_default()
}
