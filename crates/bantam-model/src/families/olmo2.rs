//! OLMo 2 and 3: norms on the branches' outputs, a norm over all queries and all keys; OLMo 3 adds windows.

use std::sync::Arc;

use super::dense::Dense;
use super::{Described, Family};
use crate::description::{BranchNorms, Pairing, QkNorm, QkNormOver, Wiring};
use crate::rope::RopeConfig;
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["olmo2", "olmo3"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read(c, Pairing::HalfSplit)?;
    let norms = BranchNorms::After(d.norm);
    d.wiring = Wiring::Sequential { mixer: norms, mlp: norms };
    d.attention.qk_norm = Some(QkNorm { norm: d.norm, over: QkNormOver::Row });
    // Layers that slide know no scaling.
    let theta = c.rope_parameters("full_attention").and_then(|p| p.get("rope_theta"));
    let theta = theta.and_then(serde_json::Value::as_f64).or(c.number("rope_theta")?).unwrap_or(10_000.0);
    let dims = d.attention.head_dim;
    let plain =
        RopeConfig { theta, dims, pairing: Pairing::HalfSplit, scaling: None, context: 1, original: None };
    let plain = Arc::new(plain.resolve()?);
    for (rope, window) in d.ropes.iter_mut().zip(&d.windows) {
        if window.is_some() {
            *rope = Some(Arc::clone(&plain));
        }
    }
    d.finish()
}
