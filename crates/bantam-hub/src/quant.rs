//! Quantisation labels in file names, and which files of a repository make up a model.
//!
//! A repository is a list of paths here; nothing is opened.

use crate::{Error, Result};

/// The labels GGUF files carry in their names, best default first.
const LABELS: &[&str] = &[
    "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q4_K_L", "Q4_K_XL", "Q4_K", "Q5_K_M", "Q5_K_S",
    "Q5_K_L", "Q5_K_XL", "Q5_K", "Q5_1", "Q5_0", "Q6_K", "Q6_K_L", "Q6_K_XL", "Q8_0", "Q8_K_XL", "Q3_K_M",
    "Q3_K_L", "Q3_K_XL", "Q3_K_S", "Q3_K", "BF16", "F16", "FP16", "F32", "FP32", "Q2_K", "Q2_K_S", "Q2_K_L",
    "Q2_K_XL", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M",
    "IQ1_S", "MXFP4", "TQ1_0", "TQ2_0",
];

/// Files of a Hugging Face folder that a model needs besides its weights.
const SIDE_FILES: &[&str] = &[
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "chat_template.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "model.safetensors.index.json",
];

/// True for `Q4_K_M` and its like, in any case.
pub(crate) fn is_label(text: &str) -> bool {
    LABELS.contains(&text.to_ascii_uppercase().as_str())
}

/// What to take from a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want<'a> {
    /// This file.
    File(&'a str),
    /// The GGUF file (or files, when split) of this label.
    Quant(&'a str),
    /// The `config.json` and all that belongs to it.
    Folder,
    /// GGUF of the best label if there is any, else the folder.
    Best,
}

/// The files of a model, and whether the first of them or their folder is the model's path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Selection {
    pub(crate) paths: Vec<String>,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    File,
    Folder,
}

/// Picks the files of `want` from a repository's `paths`.
pub(crate) fn select(repo: &str, paths: &[String], want: Want<'_>) -> Result<Selection> {
    match want {
        Want::File(path) => select_file(repo, paths, path),
        Want::Quant(label) => {
            let found = with_label(paths, label);
            let missing =
                || Error::NoQuant { repo: repo.into(), quant: label.into(), found: labels_of(paths) };
            found.map(shards_as_file).ok_or_else(missing)
        }
        Want::Folder => select_folder(repo, paths),
        Want::Best => {
            let best = LABELS.iter().find_map(|label| with_label(paths, label)).or_else(|| only_gguf(paths));
            best.map(shards_as_file).map_or_else(|| select_folder(repo, paths), Ok)
        }
    }
}

fn select_file(repo: &str, paths: &[String], path: &str) -> Result<Selection> {
    if paths.iter().any(|p| p == path) {
        let all = if is_gguf(path) { shards_of(paths, path) } else { Some(vec![path.into()]) };
        return all.map(shards_as_file).ok_or_else(|| incomplete(repo, path));
    }
    Err(Error::NotFound { wanted: format!("{repo}/{path}"), why: "the repository does not list it".into() })
}

fn incomplete(repo: &str, path: &str) -> Error {
    Error::NotFound { wanted: format!("{repo}/{path}"), why: "some of its numbered parts are missing".into() }
}

fn shards_as_file(paths: Vec<String>) -> Selection {
    Selection { paths, shape: Shape::File }
}

fn is_gguf(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    name.ends_with(".gguf") && !name.starts_with("mmproj") && !name.contains("imatrix")
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The repository's only model file, when it carries no label that we know.
fn only_gguf(paths: &[String]) -> Option<Vec<String>> {
    let mut all = paths.iter().filter(|path| is_gguf(path));
    let first = all.next()?;
    if all.next().is_some() { None } else { shards_of(paths, first) }
}

/// The complete file of a label: whole ones before split ones, short names before long ones.
fn with_label(paths: &[String], label: &str) -> Option<Vec<String>> {
    let mut found: Vec<&String> =
        paths.iter().filter(|path| is_gguf(path) && has_label(file_name(path), label)).collect();
    found.sort_by_key(|path| (shard_of(path).is_some(), path.len(), path.as_str()));
    found.into_iter().find_map(|path| shards_of(paths, path))
}

/// `Q4_K` is in `m-Q4_K.gguf` and not in `m-Q4_K_M.gguf`.
fn has_label(name: &str, label: &str) -> bool {
    let (name, label) = (name.to_ascii_uppercase(), label.to_ascii_uppercase());
    name.match_indices(&label).any(|(at, _)| {
        let before = name[..at].chars().next_back();
        let after = name[at + label.len()..].chars().next();
        before.is_none_or(|c| "-._".contains(c)) && after.is_none_or(|c| "-.".contains(c))
    })
}

/// The labels among `paths`, for a message.
fn labels_of(paths: &[String]) -> String {
    let present = |label: &&&str| paths.iter().any(|path| is_gguf(path) && has_label(file_name(path), label));
    let found: Vec<&str> = LABELS.iter().filter(present).copied().collect();
    if found.is_empty() { "no GGUF file at all".into() } else { found.join(", ") }
}

/// `(prefix, number, count)` of `prefix-00002-of-00003.gguf`.
fn shard_of(path: &str) -> Option<(&str, u32, u32)> {
    let stem = path.strip_suffix(".gguf")?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    Some((prefix, five_digits(number)?, five_digits(count)?))
}

fn five_digits(text: &str) -> Option<u32> {
    if text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// All parts of the file that `path` is or belongs to, in order; `None` if one is missing.
fn shards_of(paths: &[String], path: &str) -> Option<Vec<String>> {
    let Some((prefix, _, count)) = shard_of(path) else { return Some(vec![path.into()]) };
    if count as usize > paths.len() {
        return None;
    }
    let parts = (1..=count).map(|number| format!("{prefix}-{number:05}-of-{count:05}.gguf"));
    let parts: Vec<String> = parts.filter(|part| paths.contains(part)).collect();
    if parts.len() == count as usize && !parts.is_empty() { Some(parts) } else { None }
}

fn select_folder(repo: &str, paths: &[String]) -> Result<Selection> {
    let weights = folder_weights(paths);
    let is_adapter = paths.iter().any(|path| path == "adapter_model.safetensors");
    if weights.is_empty() && !is_adapter {
        let found: Vec<&str> =
            paths.iter().map(String::as_str).filter(|path| !path.starts_with('.')).take(6).collect();
        return Err(Error::NoWeights { repo: repo.into(), found: found.join(", ") });
    }
    let side = paths.iter().filter(|path| SIDE_FILES.contains(&path.as_str()));
    let mut all: Vec<String> = side.chain(weights).cloned().collect();
    all.sort();
    Ok(Selection { paths: all, shape: Shape::Folder })
}

/// `model.safetensors`, else its shards, else whatever safetensors lie at the top.
fn folder_weights(paths: &[String]) -> Vec<&String> {
    let top = |path: &&String| {
        path.ends_with(".safetensors") && !path.contains('/') && !path.starts_with("adapter_")
    };
    let whole: Vec<&String> = paths.iter().filter(|path| *path == "model.safetensors").collect();
    let shards: Vec<&String> = paths.iter().filter(top).filter(|path| path.starts_with("model-")).collect();
    if !shards.is_empty() && paths.iter().any(|path| path == "model.safetensors.index.json") {
        return shards;
    }
    if !whole.is_empty() { whole } else { paths.iter().filter(top).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    fn chosen(list: &str, want: Want<'_>) -> String {
        select("o/r", &paths(list), want).unwrap().paths.join(" ")
    }

    #[test]
    fn a_label_is_a_whole_word() {
        let list = "README.md m-Q4_K_M.gguf m-Q4_K.gguf m-Q4_K_L.gguf mmproj-Q4_K_S.gguf m.Q8_0.gguf";
        assert_eq!(chosen(list, Want::Quant("q4_k")), "m-Q4_K.gguf");
        assert_eq!(chosen(list, Want::Quant("Q8_0")), "m.Q8_0.gguf");
        assert_eq!(chosen(list, Want::Best), "m-Q4_K_M.gguf");
        let error = select("o/r", &paths(list), Want::Quant("Q4_K_S")).unwrap_err().to_string();
        assert!(error.contains("Q4_K_M, Q4_K_L, Q4_K, Q8_0"), "{error}");
        assert_eq!(
            chosen("qwen1_5-0_5b-chat-q4_k_m.gguf", Want::Quant("Q4_K_M")),
            "qwen1_5-0_5b-chat-q4_k_m.gguf"
        );
    }

    #[test]
    fn split_files_come_whole_or_not_at_all() {
        let list = "m-q4_k_m-00002-of-00002.gguf m-q4_k_m-00001-of-00002.gguf m-q8_0-00001-of-00003.gguf";
        let both = "m-q4_k_m-00001-of-00002.gguf m-q4_k_m-00002-of-00002.gguf";
        assert_eq!(chosen(list, Want::Quant("Q4_K_M")), both);
        assert_eq!(chosen(list, Want::File("m-q4_k_m-00001-of-00002.gguf")), both);
        assert!(select("o/r", &paths(list), Want::Quant("Q8_0")).is_err());
        let whole = format!("{list} q4/m-longer-name-than-the-parts-have-q4_k_m.gguf");
        assert_eq!(chosen(&whole, Want::Quant("Q4_K_M")), "q4/m-longer-name-than-the-parts-have-q4_k_m.gguf");
        assert!(select("o/r", &paths("m-Q4_0-00001-of-99999.gguf"), Want::Best).is_err());
    }

    #[test]
    fn a_folder_takes_what_it_needs() {
        let list = "config.json tokenizer.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors \
                    model.safetensors.index.json consolidated.safetensors onnx/model.safetensors pytorch_model.bin LICENSE";
        let want = "config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors \
                    model.safetensors.index.json tokenizer.json";
        let folder = select("o/r", &paths(list), Want::Folder).unwrap();
        assert_eq!((folder.paths, folder.shape), (paths(want), Shape::Folder));
        assert_eq!(chosen("config.json model.safetensors", Want::Best), "config.json model.safetensors");
    }

    #[test]
    fn pickles_are_refused() {
        let error = select("o/r", &paths("config.json pytorch_model.bin"), Want::Best).unwrap_err();
        assert!(matches!(error, Error::NoWeights { .. }));
    }
}
