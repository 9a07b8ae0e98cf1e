//! Keys and values that stand before the first token, as PEFT keeps them (prefix tuning, Li and Liang, 2021; cartridges,
//! Eyuboglu et al., 2025).
//!
//! One tensor, `prompt_embeddings`, `[num_virtual_tokens, num_layers * 2 * token_dim]`: for each token and layer the keys of
//! all heads, as they are behind rotary positions, then the values. Source: `tuners/prefix_tuning` of PEFT, and `get_prompt`
//! in its `peft_model.py`.

use serde_json::{Value, json};

use super::AdapterFile;
use crate::Tensor;
use crate::error::{Error, Quoted};

/// Keys and values that stand before the first token.
#[derive(Clone, Debug)]
pub struct AdapterPrefix {
    /// `[virtual tokens, layers * 2 * num_kv_heads * head_dim]`, of each layer the keys, then the values.
    pub rows: Tensor,
    /// How many layers there are.
    pub num_layers: usize,
    /// Heads of keys, and of values.
    pub num_kv_heads: usize,
}

impl AdapterPrefix {
    /// Keys, or values, of one token and layer.
    pub fn width(&self) -> usize {
        self.rows.cols() / (2 * self.num_layers)
    }
}

/// Whether a config is that of a prefix.
pub(super) fn is_prefix(config: &Value) -> bool {
    matches!(config.get("peft_type").and_then(Value::as_str), Some("PREFIX_TUNING" | "CARTRIDGE"))
}

/// The prefix among the tensors of a folder with this config.
pub(super) fn read<'a>(
    config: &Value,
    tensors: impl Iterator<Item = &'a Tensor>,
) -> Result<AdapterPrefix, Error> {
    let number = |key: &str| {
        let found = config.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        found.filter(|number| *number > 0).ok_or_else(|| {
            Error::adapter(format!("its config has no {} from 1 on, as prefixes have", Quoted(key)))
        })
    };
    let [tokens, num_layers] = [number("num_virtual_tokens")?, number("num_layers")?];
    let [width, num_kv_heads] = [number("token_dim")?, number("num_attention_heads")?];
    if config.get("num_transformer_submodules").and_then(Value::as_u64).is_some_and(|count| count != 1) {
        return Err(Error::adapter("it is for an encoder and a decoder; bantam runs decoders"));
    }
    let mut rows = None;
    for tensor in tensors {
        if tensor.name() != TENSOR {
            return Err(Error::tensor(tensor.name(), format!("a prefix has {TENSOR} alone")));
        }
        rows = Some(tensor.clone());
    }
    let rows = rows.ok_or_else(|| Error::adapter(format!("it has no tensor {TENSOR}")))?;
    let columns = num_layers.checked_mul(2).and_then(|count| count.checked_mul(width));
    if rows.shape().len() != 2 || Some(rows.cols()) != columns || rows.rows() != tokens {
        let reason = format!(
            "shape {:?}, and its config gives {tokens} tokens, {num_layers} layers and a width of {width}",
            rows.shape()
        );
        return Err(Error::tensor(TENSOR, reason));
    }
    Ok(AdapterPrefix { rows, num_layers, num_kv_heads })
}

/// The tensor of a prefix under PEFT's name.
pub(super) fn tensor(prefix: &AdapterPrefix) -> Result<Tensor, Error> {
    super::renamed(&prefix.rows, TENSOR.to_owned(), super::Quantized::None)
}

/// A config of keys that all versions of PEFT know.
pub(super) fn config(file: &AdapterFile, prefix: &AdapterPrefix) -> Value {
    json!({
        "peft_type": "PREFIX_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": file.base_name,
        "inference_mode": true,
        "num_virtual_tokens": prefix.rows.rows(),
        "num_layers": prefix.num_layers,
        "token_dim": prefix.width(),
        "num_attention_heads": prefix.num_kv_heads,
        "num_transformer_submodules": 1,
        "encoder_hidden_size": prefix.width(),
        "prefix_projection": false,
    })
}

const TENSOR: &str = "prompt_embeddings";
