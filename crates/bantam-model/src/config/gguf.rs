//! GGUF metadata in the words of Hugging Face configs.

use bantam_tensor::Checkpoint;
use bantam_tensor::format::gguf::{Metadata, Value as Entry};
use serde_json::{Map, Value, json};

use super::refuse;
use crate::Error;

/// Keys behind the architecture's name, and what configs call them. Those with a number mean the same.
const KEYS: [(&str, &str); 26] = [
    ("vocab_size", "vocab_size"),
    ("context_length", "max_position_embeddings"),
    ("embedding_length", "hidden_size"),
    ("block_count", "num_hidden_layers"),
    ("feed_forward_length", "intermediate_size"),
    ("attention.head_count", "num_attention_heads"),
    ("attention.head_count_kv", "num_key_value_heads"),
    ("attention.key_length", "head_dim"),
    ("attention.value_length", "value_head_dim"),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ("attention.layer_norm_epsilon", "layer_norm_eps"),
    ("attention.sliding_window", "sliding_window"),
    ("attention.sliding_window_pattern", "sliding_window_pattern"),
    ("attention.clamp_kqv", "clip_qkv"),
    ("attention.scale", "attention_multiplier"),
    ("attention.temperature_scale", "llama_4_scaling_beta"),
    ("attn_logit_softcapping", "attn_logit_softcapping"),
    ("final_logit_softcapping", "final_logit_softcapping"),
    ("embedding_scale", "embedding_multiplier"),
    ("residual_scale", "residual_multiplier"),
    ("logit_scale", "logits_scaling"),
    ("use_parallel_residual", "use_parallel_residual"),
    ("rope.freq_base", "rope_theta"),
    ("rope.freq_base_swa", "rope_local_base_freq"),
    ("rope.dimension_count", "rope_dims"),
    ("expert_count", "num_experts"),
];

/// Keys of rotary scaling.
const ROPE_KEYS: [(&str, &str); 6] = [
    ("type", "rope_type"),
    ("factor", "factor"),
    ("original_context_length", "original_max_position_embeddings"),
    ("yarn_beta_fast", "beta_fast"),
    ("yarn_beta_slow", "beta_slow"),
    ("attn_factor", "attention_factor"),
];

/// The config that a GGUF file's metadata amounts to.
pub(super) fn translate(metadata: &Metadata, checkpoint: &Checkpoint) -> Result<Map<String, Value>, Error> {
    let architecture = metadata.string("general.architecture")?.to_owned();
    let mut config = Map::new();
    for (from, to) in KEYS {
        if let Some(value) = entry(metadata, &format!("{architecture}.{from}")) {
            config.insert(to.into(), value);
        }
    }
    let table = "tokenizer.ggml.tokens";
    if !config.contains_key("vocab_size")
        && let Some(Entry::Array(tokens)) = metadata.get(table)
    {
        config.insert("vocab_size".into(), tokens.len().into());
    }
    if let Some(embeddings) = checkpoint.tensor("token_embd.weight") {
        config.insert("vocab_size".into(), embeddings.rows().into());
    }
    config.insert("tie_word_embeddings".into(), checkpoint.tensor("output.weight").is_none().into());
    rope(metadata, checkpoint, &architecture, &mut config)?;
    config.insert("model_type".into(), architecture.into());
    Ok(config)
}

fn rope(
    metadata: &Metadata,
    checkpoint: &Checkpoint,
    architecture: &str,
    config: &mut Map<String, Value>,
) -> Result<(), Error> {
    let mut scaling = Map::new();
    for (from, to) in ROPE_KEYS {
        if let Some(value) = entry(metadata, &format!("{architecture}.rope.scaling.{from}")) {
            scaling.insert(to.into(), value);
        }
    }
    if metadata.get(&format!("{architecture}.rope.scaling.yarn_log_multiplier")).is_some() {
        // The file's own magnitude cancels out, see `_compute_yarn_parameters` with equal mscales.
        scaling.insert("attention_factor".into(), json!(1.0));
    }
    for (tensor, key) in [
        ("rope_freqs", "divisors"),
        ("rope_factors_long", "long_factor"),
        ("rope_factors_short", "short_factor"),
    ] {
        if let Some(tensor) = checkpoint.tensor(&format!("{tensor}.weight")) {
            scaling.insert(key.into(), tensor.to_f32().into());
        }
    }
    let kind = scaling.get("rope_type").and_then(Value::as_str).map(str::to_owned);
    let kind = match kind.as_deref() {
        Some("none") | None if scaling.contains_key("divisors") => Some("divisors"),
        // A factor without a type is linear.
        None if scaling.get("factor").and_then(Value::as_f64).is_some_and(|f| f != 0.0 && f != 1.0) => {
            Some("linear")
        }
        None if scaling.contains_key("long_factor") => Some("longrope"),
        Some("none") | None => None,
        Some(kind @ ("linear" | "yarn" | "longrope")) => Some(kind),
        Some(other) => return Err(refuse("rope.scaling.type", &format!("\"{other}\" is not known"))),
    };
    if kind == Some("yarn")
        && let Some(extra) = scaling.get("attention_factor").and_then(Value::as_f64)
        && metadata.get(&format!("{architecture}.rope.scaling.yarn_log_multiplier")).is_none()
    {
        // llama.cpp multiplies its own magnitude with the factor of the file.
        let factor = scaling.get("factor").and_then(Value::as_f64).unwrap_or(1.0);
        scaling.insert("attention_factor".into(), json!(extra * (1.0 + 0.1 * factor.max(1.0).ln())));
    }
    match kind.map(str::to_owned) {
        Some(kind) => {
            scaling.insert("rope_type".into(), kind.into());
            config.insert("rope_scaling".into(), Value::Object(scaling));
        }
        // The original length stands alone in files without scaling.
        None => {
            if let Some(original) = scaling.remove("original_max_position_embeddings") {
                config.insert("original_max_position_embeddings".into(), original);
            }
        }
    }
    Ok(())
}

/// A number, flag, text, or short list of numbers and flags.
fn entry(metadata: &Metadata, key: &str) -> Option<Value> {
    match metadata.get(key)? {
        Entry::Bool(flag) => Some(Value::Bool(*flag)),
        Entry::Array(list) => {
            if list.len() > LAYERS_MAX {
                return None;
            }
            let whole = list.to_i64s().map(Value::from);
            whole.or_else(|| list.to_f32s().map(Value::from))
        }
        Entry::String(_) => metadata.string(key).ok().map(Into::into),
        number => number.as_f64().map(|x| json!(x)),
    }
}

/// Lists longer than this are not one entry for each layer.
const LAYERS_MAX: usize = 4096;
