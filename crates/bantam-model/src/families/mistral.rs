//! Mistral 7B and Nemo, Ministral (windows by layer), Ministral 3 (queries scaled by position).

use serde_json::Value;

use super::dense::Dense;
use super::{Described, Family};
use crate::description::PositionScale;
use crate::{Config, Error};

pub(super) const FAMILY: Family =
    Family { architectures: &["mistral", "ministral", "ministral3", "mistral3"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read_permuted(c)?;
    let window = c.optional_usize("sliding_window")?;
    if c.value("layer_types").is_none() {
        d.window_where(window, |_| true);
    }
    let scaling = c.rope_parameters("full_attention");
    let inside = |key: &str| scaling.and_then(|s| s.get(key)).and_then(Value::as_f64).map(|x| x as f32);
    let beta = inside("llama_4_scaling_beta").or(c.optional_f32("llama_4_scaling_beta")?);
    let original = inside("original_max_position_embeddings").unwrap_or(d.context_length as f32);
    d.attention.position_scale = beta.map(|beta| PositionScale { beta, original });
    d.finish()
}
