//! A checkpoint that has learnt nothing: a tokeniser, a config, and numbers of chance.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bantam::tensor::Tensor;
use bantam_data::Columns;
use bantam_model::Model;
use bantam_tensor::format::{atomic, safetensors};
use bantam_text::{BpeSettings, BpeTrainer, Tokenizer};
use bantam_train::start_of;
use serde_json::{Map, Value, json};

use super::config::Config;

/// Begins and ends a text, where the tokeniser is new.
const END: &str = "<|endoftext|>";
/// The deviation of the first numbers where the config has no `initializer_range`, as in most.
const DEVIATION: f64 = 0.02;
/// Files of a tokeniser.
const TOKENIZER_FILES: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// Writes the checkpoint into a folder.
pub(super) fn begin(config: &Config, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    match (&config.tokenizer.path, config.tokenizer.vocab_size) {
        (Some(path), None) => copy_tokenizer(path, folder)?,
        (None, Some(vocab_size)) => learn_tokenizer(config, vocab_size, folder)?,
        _ => bail!("tokenizer: wanted either the path of one, or the vocab_size of a new one"),
    }
    let model = model_config(config, folder)?;
    write_json(&folder.join("config.json"), &Value::Object(model.clone()))?;
    let deviation = model.get("initializer_range").and_then(Value::as_f64).unwrap_or(DEVIATION) as f32;
    let blank = Model::blank(model)?;
    let tensors = blank.iter().map(|one| start_of(one, deviation, config.course.seed));
    let tensors = tensors.collect::<Result<Vec<Tensor>, _>>()?;
    Ok(safetensors::write(&folder.join("model.safetensors"), &tensors)?)
}

fn copy_tokenizer(from: &Path, folder: &Path) -> Result<()> {
    for name in TOKENIZER_FILES {
        let path = from.join(name);
        if path.is_file() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            atomic::write(&folder.join(name), |file| file.write_all(&bytes))?;
        }
    }
    match folder.join("tokenizer.json").is_file() {
        true => Ok(()),
        false => bail!("tokenizer.path: wanted a folder with tokenizer.json, found {}", from.display()),
    }
}

fn learn_tokenizer(config: &Config, vocab_size: usize, folder: &Path) -> Result<()> {
    let mut special_tokens = vec![END.to_owned()];
    special_tokens.extend(config.tokenizer.special_tokens.iter().cloned());
    let begins = Some(END.to_owned());
    let mut trainer = BpeTrainer::new(BpeSettings { vocab_size, special_tokens, begins, count_min: 2 })?;
    let columns = Columns { text: config.data.text_column.clone(), ..Columns::default() };
    let mut counted = Ok(());
    bantam_data::texts(&config.data.files, &columns, |text| {
        if counted.is_ok() {
            counted = trainer.add(text);
        }
    })?;
    counted?;
    write_json(&folder.join("tokenizer.json"), &trainer.finish())?;
    let settings = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END, "pad_token": END,
        "add_bos_token": true, "add_eos_token": false, "clean_up_tokenization_spaces": false,
        "model_max_length": config.data.length,
    });
    write_json(&folder.join("tokenizer_config.json"), &settings)?;
    let id = 0;
    write_json(&folder.join("generation_config.json"), &json!({ "bos_token_id": id, "eos_token_id": id }))
}

/// The model's part of the config, with what follows from the tokeniser and the data.
fn model_config(config: &Config, folder: &Path) -> Result<Map<String, Value>> {
    let json = fs::read(folder.join("tokenizer.json"))?;
    let settings = fs::read(folder.join("tokenizer_config.json")).ok();
    let settings: Option<Value> = settings.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let tokenizer = Tokenizer::from_tokenizer_json(&json, settings.as_ref())?;
    let mut model = config.model.clone();
    let least = tokenizer.vocab_size();
    let vocab_size = model.entry("vocab_size").or_insert_with(|| json!(least)).as_u64().unwrap_or(0);
    if vocab_size < least as u64 {
        bail!("model.vocab_size: wanted at least the {least} ids of the tokeniser, found {vocab_size}");
    }
    model.entry("max_position_embeddings").or_insert_with(|| json!(config.data.length));
    for (key, id) in [("bos_token_id", tokenizer.roles().bos), ("eos_token_id", tokenizer.roles().eos)] {
        if let Some(id) = id {
            model.entry(key).or_insert_with(|| json!(id));
        }
    }
    model.entry("dtype").or_insert_with(|| json!("float32"));
    Ok(model)
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(atomic::write(path, |file| serde_json::to_writer_pretty(file, value).map_err(Into::into))?)
}
