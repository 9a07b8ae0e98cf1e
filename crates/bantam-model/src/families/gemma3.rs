//! Gemma 3 (text): five layers that slide to one that does not, each kind with its own rope.

use std::sync::Arc;

use super::{Described, Family, gemma2};
use crate::config::refuse;
use crate::description::{Pairing, QkNorm, QkNormOver};
use crate::rope::RopeConfig;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["gemma3", "gemma3_text"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = gemma2::read(c)?;
    let window = c.usize_or("sliding_window", 4096)?;
    if d.windows.iter().all(Option::is_none) {
        let every = c.value("sliding_window_pattern").or(c.value("_sliding_window_pattern"));
        let every = every.map_or(Some(6), |n| n.as_u64().filter(|n| *n > 0));
        let every =
            every.ok_or_else(|| refuse("sliding_window_pattern", "wanted a number above zero"))? as usize;
        d.window_where(Some(window), |layer| !(layer + 1).is_multiple_of(every));
    }
    let dims = d.attention.head_dim;
    let full = Arc::new(c.rope_with_theta("full_attention", dims, Pairing::HalfSplit, 1e6)?);
    let slides = Arc::new(sliding_rope(c, dims)?);
    let ropes = d.windows.iter().map(|window| if window.is_some() { &slides } else { &full });
    d.ropes = ropes.map(|rope| Some(Arc::clone(rope))).collect();
    d.attention.qk_norm = Some(QkNorm { norm: d.norm, over: QkNormOver::Head });
    d.attention.scale = 1.0 / c.f32_or("query_pre_attn_scalar", dims as f32)?.sqrt();
    d.finish()
}

/// Layers that slide have a base of their own and no scaling.
fn sliding_rope(c: &Config, dims: usize) -> Result<crate::rope::Rope, Error> {
    let own = c.value("rope_parameters").and_then(|p| p.get("sliding_attention"));
    let inside = own.and_then(|p| p.get("rope_theta")).and_then(serde_json::Value::as_f64);
    let theta = inside.or(c.number("rope_local_base_freq")?).unwrap_or(10_000.0);
    RopeConfig { theta, dims, pairing: Pairing::HalfSplit, scaling: own, context: 1, original: None }
        .resolve()
}
