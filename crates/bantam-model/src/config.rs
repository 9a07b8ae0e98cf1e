//! One vocabulary for what checkpoints say: the keys of Hugging Face configs.
//!
//! The metadata of a GGUF file is translated to these keys, so that a family is described once for
//! both. Every key that a family reads is remembered; what changes the numbers and was not read
//! is refused by name.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bantam_tensor::{Checkpoint, Metadata, Source};
use serde_json::{Map, Value};

use crate::Error;

mod gguf;

/// The entries of a checkpoint's config.
pub struct Config {
    source: Source,
    values: Map<String, Value>,
    tensors: BTreeSet<String>,
    read: RefCell<BTreeSet<String>>,
}

impl Config {
    /// The config of an opened checkpoint.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let values = match &checkpoint.metadata {
            Metadata::Gguf(metadata) => gguf::translate(metadata, checkpoint)?,
            Metadata::Folder(folder) => text_part(&folder.config)?,
        };
        let tensors = checkpoint.tensors().map(|tensor| tensor.name().to_owned()).collect();
        Ok(Config { source: checkpoint.source(), values, tensors, read: RefCell::default() })
    }

    /// A config of a folder that is not there.
    pub fn from_values(values: Map<String, Value>) -> Self {
        Config { source: Source::Folder, values, tensors: BTreeSet::new(), read: RefCell::default() }
    }

    /// The same with some keys under their common names.
    pub(crate) fn renamed(mut self, keys: &[(&str, &str)]) -> Self {
        for (own, common) in keys {
            if let Some(value) = self.values.remove(*own) {
                self.values.insert((*common).into(), value);
            }
        }
        self
    }

    /// Which kind of checkpoint it comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The architecture: `model_type`, or GGUF's `general.architecture`.
    pub fn architecture(&self) -> Result<&str, Error> {
        self.string("model_type")?
            .ok_or_else(|| refuse("model_type", "wanted the name of an architecture, found none"))
    }

    /// Whether the checkpoint has a tensor of this name.
    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    /// The value under a key, unless it is absent or null.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// A number.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = bantam_tensor::format::json_number(value);
        number.map(Some).ok_or_else(|| refuse(key, &format!("wanted a number, found {value}")))
    }

    /// A number, or what it is where the config is silent.
    pub(crate) fn f32_or(&self, key: &str, default: f32) -> Result<f32, Error> {
        Ok(self.number(key)?.map_or(default, |x| x as f32))
    }

    /// A number other than zero.
    pub(crate) fn optional_f32(&self, key: &str) -> Result<Option<f32>, Error> {
        Ok(self.number(key)?.map(|x| x as f32).filter(|x| *x != 0.0))
    }

    /// A size: a whole number from 1 to [`SIZE_MAX`]. Zero counts as absent.
    pub(crate) fn optional_usize(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        if number.fract() != 0.0 || !(0.0..=SIZE_MAX).contains(&number) {
            return Err(refuse(key, &format!("wanted a whole number from 0 to {SIZE_MAX}, found {number}")));
        }
        Ok(Some(number as usize).filter(|n| *n > 0))
    }

    /// A size that must be there.
    pub(crate) fn usize(&self, key: &str) -> Result<usize, Error> {
        self.optional_usize(key)?.ok_or_else(|| refuse(key, "wanted a whole number above zero, found none"))
    }

    /// A size, or what it is where the config is silent.
    pub(crate) fn usize_or(&self, key: &str, default: usize) -> Result<usize, Error> {
        Ok(self.optional_usize(key)?.unwrap_or(default))
    }

    /// Yes or no; no where the config is silent.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Error> {
        self.flag_or(key, false)
    }

    /// Yes or no, or what it is where the config is silent.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, Error> {
        let Some(value) = self.value(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| refuse(key, &format!("wanted true or false, found {value}")))
    }

    /// A text.
    pub(crate) fn string(&self, key: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| refuse(key, &format!("wanted a text, found {value}")))
    }

    /// A list with one entry for each layer.
    pub(crate) fn per_layer(&self, key: &str, layers: usize) -> Result<Option<&[Value]>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_array() {
            Some(list) if list.len() == layers => Ok(Some(list)),
            Some(list) => Err(refuse(
                key,
                &format!("wanted one entry for each of {layers} layers, found {}", list.len()),
            )),
            None => Err(refuse(key, &format!("wanted a list, found {value}"))),
        }
    }

    /// Refuses what was not read, would change the numbers, and is not neutral; gives the names of the
    /// keys that nobody knows.
    pub(crate) fn check_read(&self, family: &str) -> Result<Vec<String>, Error> {
        let read = self.read.borrow();
        let mut unknown = Vec::new();
        for (key, value) in
            self.values.iter().filter(|(key, value)| !read.contains(*key) && !is_neutral(value))
        {
            if CHANGES_NUMBERS.contains(&key.as_str()) {
                let (key, value, family) = (key.clone(), value.to_string(), family.to_owned());
                return Err(Error::UnknownFeature { key, value, family });
            }
            if !is_harmless(key) {
                unknown.push(key.clone());
            }
        }
        Ok(unknown)
    }
}

pub(crate) fn refuse(key: &str, reason: &str) -> Error {
    Error::Config { key: key.into(), reason: reason.into() }
}

/// Sizes beyond this are no model's, and their products would overflow.
const SIZE_MAX: f64 = (1u64 << 31) as f64;

/// The language part of a multimodal config, or the whole.
fn text_part(config: &Value) -> Result<Map<String, Value>, Error> {
    let object = config.as_object().ok_or_else(|| refuse("", "config.json is not an object"))?;
    let Some(text) = object.get("text_config").and_then(Value::as_object) else { return Ok(object.clone()) };
    let mut text = text.clone();
    for key in ["tie_word_embeddings", "quantization_config"] {
        if let Some(value) = object.get(key) {
            text.entry(key).or_insert_with(|| value.clone());
        }
    }
    Ok(text)
}

/// A value that says "nothing of this".
fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "none" || text == "default",
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Keys that have no part in a forward pass.
fn is_harmless(key: &str) -> bool {
    const PARTS: [&str; 12] = [
        "dropout",
        "_token_id",
        "_pdrop",
        "initializer",
        "version",
        "dtype",
        "gradient",
        "cache",
        "loss",
        "summary_",
        "_name",
        "aux",
    ];
    const WHOLE: [&str; 37] = [
        "architectures",
        "auto_map",
        "bos_token",
        "eos_token",
        "id2label",
        "label2id",
        "model_type",
        "pretraining_tp",
        "task_specific_params",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "is_decoder",
        "max_window_layers",
        "sliding_window_pattern",
        "vocab_size",
        "num_labels",
        "problem_type",
        "is_llama_config",
        "rope_interleaved",
        "resid_pdrop",
        "attn_implementation",
        "_attn_implementation",
        "_name_or_path",
        "reorder_and_upcast_attn",
        "scale_attn_weights",
        "n_ctx",
        "chunk_size_feed_forward",
        "head_dim",
        "attention_type",
        "use_mup",
        "init_device",
        "flash_attention",
        "embedding_size",
        "tokenizer_class",
        "prefix",
        "rope_dims",
    ];
    WHOLE.contains(&key) || PARTS.iter().any(|part| key.contains(part))
}

/// Keys that change what a model computes, in any family of the field: not reading one of them is an error.
const CHANGES_NUMBERS: [&str; 59] = [
    "activation_sparsity_pattern",
    "alibi",
    "altup_num_inputs",
    "attention_bias",
    "attention_k_eq_v",
    "attention_multiplier",
    "attention_out_bias",
    "attn_logit_softcapping",
    "clip_qkv",
    "conv_L_cache",
    "embedding_multiplier",
    "enable_moe_block",
    "final_logit_softcapping",
    "first_k_dense_replace",
    "fc_bias",
    "full_attention_interval",
    "hidden_size_per_layer_input",
    "hybrid_override_pattern",
    "kv_lora_rank",
    "laurel_rank",
    "layer_types",
    "llama_4_scaling_beta",
    "lm_head_bias",
    "lm_head_multiplier",
    "logit_scale",
    "logits_scaling",
    "logits_soft_cap",
    "mlp_bias",
    "mlp_multipliers",
    "moe_intermediate_size",
    "multi_query",
    "n_routed_experts",
    "new_decoder_architecture",
    "no_rope_layers",
    "num_experts",
    "num_experts_per_tok",
    "num_kv_shared_layers",
    "num_local_experts",
    "parallel_attn",
    "partial_rotary_factor",
    "q_lora_rank",
    "qk_layernorm",
    "quantization_config",
    "query_pre_attn_scalar",
    "residual_multiplier",
    "rope_parameters",
    "rope_scaling",
    "rotary_pct",
    "scale_attn_by_inverse_layer_idx",
    "scale_depth",
    "scale_emb",
    "dim_model_base",
    "sliding_window",
    "state_size",
    "swiglu_limit",
    "use_bidirectional_attention",
    "use_double_wide_mlp",
    "use_parallel_residual",
    "use_qk_norm",
];
