//! A folder as a GGUF file, for models with byte-level BPE whose words are cut in a way that GGUF has a name for.

use std::path::Path;

use bantam_tensor::format::gguf::{Array, Writer};
use bantam_tensor::format::json_number;
use bantam_tensor::{Metadata, Storage, Tensor};
use serde_json::Value;

use crate::write::{WriteError, encoded, file_type};
use crate::{LoadError, Loaded};

/// The base of a rope's angles where a config does not say.
const ROPE_THETA: f32 = 10_000.0;

/// Writes the model of a folder as a GGUF file, its matrices in this storage; whoever calls should see that both compute
/// the same, since not all that a config says has a key in GGUF files.
///
/// # Errors
///
/// [`WriteError::NoGguf`] for what is no folder, or a tokeniser that has no name in GGUF files.
pub fn export_gguf(loaded: &Loaded, storage: Storage, out: &Path) -> Result<(), WriteError> {
    let Metadata::Folder(folder) = &loaded.checkpoint.metadata else {
        return Err(WriteError::NoGguf("the model is no folder".into()));
    };
    let config = &folder.config;
    let theta = [&config["rope_theta"], &config["rope_parameters"]["rope_theta"]];
    let theta = theta.into_iter().find_map(json_number).map_or(ROPE_THETA, |theta| theta as f32);
    let parts = loaded.model.gguf_parts(theta)?;
    let mut writer = Writer::new();
    for (key, value) in parts.metadata {
        writer.set(&key, value);
    }
    tokenizer(&mut writer, loaded, folder)?;
    let tensors = parts.tensors.iter().map(|tensor| in_storage(tensor, storage));
    let tensors = tensors.collect::<Result<Vec<Tensor>, WriteError>>()?;
    writer.set("general.quantization_version", 2_u32);
    if let Some(id) = file_type(&tensors) {
        writer.set("general.file_type", id);
    }
    for tensor in tensors {
        writer.push(tensor)?;
    }
    Ok(writer.write(out)?)
}

/// Matrices whose rows are whole blocks in the storage; all else as it is.
fn in_storage(tensor: &Tensor, storage: Storage) -> Result<Tensor, WriteError> {
    if tensor.shape().len() < 2 || !tensor.cols().is_multiple_of(storage.block_len()) {
        return Ok(tensor.clone());
    }
    let bytes = encoded(tensor.name(), &tensor.to_f32(), storage)?;
    Ok(Tensor::new(tensor.name(), tensor.shape().to_vec(), storage, bytes.into())?)
}

fn tokenizer(
    writer: &mut Writer,
    loaded: &Loaded,
    folder: &bantam_tensor::format::Folder,
) -> Result<(), WriteError> {
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    const UNUSED: i32 = 5;
    let refuse = |reason: &str| WriteError::NoGguf(reason.to_owned());
    let json = folder.tokenizer_json()?.ok_or(LoadError::NoTokenizer)?;
    let json: Value = serde_json::from_slice(&json).map_err(|error| refuse(&error.to_string()))?;
    let pre = pre_tokenizer(&json["pre_tokenizer"]);
    let pre = pre.ok_or_else(|| refuse("its tokeniser cuts words in a way that has no name there"))?;
    let vocab_size = loaded.model.description.vocab_size;
    let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; vocab_size];
    let vocab = json["model"]["vocab"].as_object().ok_or_else(|| refuse("its tokeniser is no BPE"))?;
    for (piece, id) in vocab {
        set(&mut tokens, &mut types, id, piece, NORMAL);
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        set(&mut tokens, &mut types, &added["id"], added["content"].as_str().unwrap_or_default(), CONTROL);
    }
    let merges = json["model"]["merges"].as_array().into_iter().flatten().map(|merge| match merge {
        Value::Array(pair) => pair.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.as_str().unwrap_or_default().to_owned(),
    });
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", pre);
    writer.set("tokenizer.ggml.tokens", Array::from_strings(&tokens));
    writer.set("tokenizer.ggml.token_type", Array::from_i32s(&types));
    let merges: Vec<String> = merges.collect();
    writer.set("tokenizer.ggml.merges", Array::from_strings(&merges));
    let tokenizer = loaded.tokenizer()?;
    for (name, id) in [("bos", tokenizer.roles().bos), ("eos", tokenizer.roles().eos)] {
        if let Some(id) = id {
            writer.set(&format!("tokenizer.ggml.{name}_token_id"), id);
        }
    }
    writer.set("tokenizer.ggml.add_bos_token", !tokenizer.prefix().is_empty());
    if let Some(template) = loaded.chat_template() {
        writer.set("tokenizer.chat_template", template.as_str());
    }
    Ok(())
}

fn set(tokens: &mut [String], types: &mut [i32], id: &Value, piece: &str, kind: i32) {
    let place = id.as_u64().and_then(|id| usize::try_from(id).ok()).filter(|id| *id < tokens.len());
    if let Some(place) = place {
        piece.clone_into(&mut tokens[place]);
        types[place] = kind;
    }
}

/// What GGUF files call a way of cutting words.
fn pre_tokenizer(component: &Value) -> Option<&'static str> {
    let is_bytes = |one: &Value| one["type"] == "ByteLevel" && one["add_prefix_space"] == false;
    let is_digits = |one: &Value| one["type"] == "Digits" && one["individual_digits"] == true;
    match component["pretokenizers"].as_array().map(Vec::as_slice) {
        Some([digits, bytes]) if is_digits(digits) && is_bytes(bytes) => Some("smollm"),
        None if is_bytes(component) => Some("gpt-2"),
        _ => None,
    }
}
