//! A folder in the layout of the Hugging Face hub: JSON files, a tokeniser, and weights in safetensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::Bytes;
use crate::error::{Error, Quoted};
use crate::format::tensors::Tensors;
use crate::format::{PICKLE_ADVICE, SHARDS_MAX, json, map, safetensors};

/// The files of a folder, apart from its weights.
///
/// `Infinity` and `NaN` in the JSON are strings here; [`crate::format::json_number`] reads them as numbers.
#[derive(Clone, Debug)]
pub struct Folder {
    /// `config.json`.
    pub config: Value,
    /// `generation_config.json`.
    pub generation_config: Option<Value>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<Value>,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Value>,
    /// The default chat template: `chat_template.jinja`, else `chat_template.json`, else the one in
    /// `tokenizer_config.json` (of a list, the one named `default`).
    pub chat_template: Option<String>,
    /// The other named templates of a list, such as `tool_use`.
    pub named_chat_templates: BTreeMap<String, String>,
    path: PathBuf,
}

/// The files that hold the weights of a folder.
#[derive(Clone, Copy, Debug)]
pub(super) enum Weights<'a> {
    /// As the folder says: `model.safetensors`, or the parts that the index lists.
    OfFolder,
    /// This file, or all parts if the index lists it.
    InFile(&'a Path),
}

/// Larger JSON files are refused: configs have a few KB, the largest tokeniser configs 1.2 MB.
pub(super) const JSON_BYTES_MAX: u64 = 2 << 20;

/// A larger index is refused: it takes about 100 bytes per tensor.
const INDEX_BYTES_MAX: u64 = 16 << 20;

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

impl Folder {
    /// Reads the JSON files of a folder; it may lack everything but `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`] without `config.json`; [`Error::Malformed`] for a file that is no JSON.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut folder = Self {
            config: Value::Null,
            generation_config: None,
            tokenizer_config: None,
            special_tokens_map: None,
            chat_template: None,
            named_chat_templates: BTreeMap::new(),
            path: path.to_owned(),
        };
        folder.config = folder.json("config.json")?.ok_or_else(|| no_config(path))?;
        folder.generation_config = folder.json("generation_config.json")?;
        folder.tokenizer_config = folder.json("tokenizer_config.json")?;
        folder.special_tokens_map = folder.json("special_tokens_map.json")?;
        (folder.chat_template, folder.named_chat_templates) = folder.read_chat_templates()?;
        Ok(folder)
    }

    /// The template without a name, and those with one.
    fn read_chat_templates(&self) -> Result<(Option<String>, BTreeMap<String, String>), Error> {
        let mut named = BTreeMap::new();
        let in_config = self.tokenizer_config.as_ref().and_then(|config| config.get("chat_template"));
        let in_config = match in_config {
            Some(Value::String(template)) => Some(template.clone()),
            Some(Value::Array(list)) => {
                named = named_templates(list);
                named.remove("default")
            }
            _ => None,
        };
        let in_json = self.json("chat_template.json")?.and_then(|json| text_at(&json, "chat_template"));
        let in_jinja = self.text("chat_template.jinja")?;
        Ok((in_jinja.or(in_json).or(in_config), named))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `tokenizer.json`, mapped.
    pub fn tokenizer_json(&self) -> Result<Option<Bytes>, Error> {
        self.file("tokenizer.json")
    }

    /// `tokenizer.model`, mapped.
    pub fn tokenizer_model(&self) -> Result<Option<Bytes>, Error> {
        self.file("tokenizer.model")
    }

    /// Any file of the folder or of a folder in it, mapped; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`] if the name leads out of the folder; [`Error::Io`].
    pub fn file(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.existing(name)?.map(|path| map::map(&path)).transpose()
    }

    /// Any JSON file of the folder or of a folder in it; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// As [`Folder::file`], and [`Error::Malformed`].
    pub fn json(&self, name: &str) -> Result<Option<Value>, Error> {
        let Some(path) = self.existing(name)? else { return Ok(None) };
        let bytes = read_bounded(&path, JSON_BYTES_MAX)?;
        json::parse(&bytes).map(Some).map_err(|error| error.in_file(&path))
    }

    /// Any text file of the folder; `None` if there is no such file.
    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(path) = self.existing(name)? else { return Ok(None) };
        let text = String::from_utf8(read_bounded(&path, JSON_BYTES_MAX)?);
        let text =
            text.map_err(|_| Error::Malformed { format: "UTF-8", reason: "it has other bytes".into() });
        text.map(Some).map_err(|error| error.in_file(&path))
    }

    /// The path of a name below the folder, if there is a file.
    fn existing(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        let inside = |part| matches!(part, Component::Normal(_));
        if name.is_empty() || !Path::new(name).components().all(inside) {
            let reason = format!("the name {} leads out of the folder", Quoted(name));
            return Err(Error::NoCheckpoint { reason }.in_file(&self.path));
        }
        let path = self.path.join(name);
        match path.try_exists() {
            Ok(exists) => Ok(exists.then_some(path)),
            Err(source) => Err(Error::Io { action: "open", path, source }),
        }
    }
}

fn named_templates(list: &[Value]) -> BTreeMap<String, String> {
    let named = |entry: &Value| Some((text_at(entry, "name")?, text_at(entry, "template")?));
    list.iter().filter_map(named).collect()
}

fn text_at(object: &Value, key: &str) -> Option<String> {
    Some(object.get(key)?.as_str()?.to_owned())
}

/// A whole regular file that should be small.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let kind = std::fs::metadata(path).map_err(Error::io("open", path))?;
    let refuse = |reason: String| Err(Error::io("read", path)(std::io::Error::other(reason)));
    if !kind.is_file() {
        return refuse("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    // One byte more than allowed tells a file that is too long, whatever its length was a moment ago.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > bytes_max {
        return refuse(format!("it is larger than the limit of {bytes_max} bytes for such files"));
    }
    Ok(bytes)
}

/// The weights of a folder, and the bytes of their files.
pub(super) fn open_weights(folder: &Folder, weights: Weights<'_>) -> Result<(Tensors, u64), Error> {
    let single = match weights {
        Weights::OfFolder => folder.existing(SINGLE)?,
        Weights::InFile(path) => Some(path.to_owned()),
    };
    let index = match (&single, weights) {
        (Some(_), Weights::OfFolder) => None,
        _ => read_index(folder)?,
    };
    match (single, index) {
        (Some(path), None) => open_one(&path),
        (Some(path), Some(index)) if !index.lists(&path) => open_one(&path),
        (_, Some(index)) => open_shards(folder, &index),
        (None, None) => Err(no_weights(folder)),
    }
}

fn open_one(path: &Path) -> Result<(Tensors, u64), Error> {
    let bytes = map::map(path)?;
    let file = safetensors::File::parse(&bytes).map_err(|error| error.in_file(path))?;
    Ok((file.tensors, bytes.len() as u64))
}

/// `model.safetensors.index.json`: the file of each tensor.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: json::Entries<String>,
}

impl Index {
    fn lists(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        self.weight_map.0.iter().any(|(_, file)| Some(file.as_str()) == name)
    }

    /// The tensors that each file should have.
    fn files(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut files = BTreeMap::<_, Vec<_>>::new();
        for (tensor, file) in &self.weight_map.0 {
            files.entry(file.as_str()).or_default().push(tensor.as_str());
        }
        files
    }
}

fn read_index(folder: &Folder) -> Result<Option<Index>, Error> {
    let Some(path) = folder.existing(INDEX)? else { return Ok(None) };
    let bytes = read_bounded(&path, INDEX_BYTES_MAX)?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|error| json::malformed(error).in_file(&path))?;
    let files = index.files().len();
    if files == 0 || files > SHARDS_MAX {
        let reason = format!("it lists {files} files; 1 to {SHARDS_MAX} are allowed");
        return Err(Error::Shards { reason }.in_file(&path));
    }
    Ok(Some(index))
}

fn open_shards(folder: &Folder, index: &Index) -> Result<(Tensors, u64), Error> {
    let (mut all, mut file_bytes) = (Tensors::default(), 0);
    for (file, names) in index.files() {
        let path = shard_path(folder, file)?;
        let (tensors, len) = open_one(&path)?;
        if let Some(name) = names.iter().find(|name| !tensors.contains(name)) {
            let reason = format!("{INDEX} says that tensor {} is in it, but it is not", Quoted(name));
            return Err(Error::Shards { reason }.in_file(&path));
        }
        all.append(tensors).map_err(|error| error.in_file(&path))?;
        file_bytes += len;
    }
    Ok((all, file_bytes))
}

/// The path of a part, which must be a plain name beside the index.
fn shard_path(folder: &Folder, file: &str) -> Result<PathBuf, Error> {
    let refuse = |reason: String| Err(Error::Shards { reason }.in_file(&folder.path().join(INDEX)));
    if Path::new(file).components().count() != 1 || file.contains(['/', '\\']) || file == ".." {
        return refuse(format!("{} is not the name of a file beside it", Quoted(file)));
    }
    if !file.ends_with(".safetensors") {
        return refuse(format!("{} is not a .safetensors file", Quoted(file)));
    }
    match folder.existing(file)? {
        Some(path) => Ok(path),
        None => refuse(format!("the part {} is missing", Quoted(file))),
    }
}

fn no_config(path: &Path) -> Error {
    let mut reason = "the folder has no config.json".to_owned();
    if names_with(path, ".gguf").next().is_some() {
        reason += "; it has GGUF files, so give the path of one of them";
    }
    Error::NoCheckpoint { reason }.in_file(path)
}

fn no_weights(folder: &Folder) -> Error {
    let pickled = names_with(folder.path(), ".bin").next();
    let reason = match pickled {
        Some(name) => format!("the folder has {} but no model.safetensors: {PICKLE_ADVICE}", Quoted(&name)),
        None => format!("the folder has neither {SINGLE} nor {INDEX}"),
    };
    Error::NoCheckpoint { reason }.in_file(folder.path())
}

/// File names in a folder that end so; none if it cannot be read.
fn names_with(path: &Path, ending: &'static str) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(move |entry| entry.file_name().into_string().ok().filter(|name| name.ends_with(ending)))
}
