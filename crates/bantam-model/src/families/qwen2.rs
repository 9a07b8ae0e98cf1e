//! Qwen 1.5, 2, 2.5 and R1-Distill-Qwen: Llama with biases on queries, keys and values.

use bantam_tensor::Source;

use super::dense::Dense;
use super::{Described, Family};
use crate::description::{Bias, Pairing};
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["qwen2"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = read(c)?;
    d.attention.qkv_bias = Bias::Present;
    d.finish()
}

/// The window is there in most configs, and switched off.
pub(super) fn read(c: &Config) -> Result<Dense, Error> {
    let mut d = Dense::read(c, Pairing::HalfSplit)?;
    let on = c.source() == Source::Folder && c.flag("use_sliding_window")?;
    let window = c.optional_usize("sliding_window")?.filter(|_| on);
    let first = c.optional_usize("max_window_layers")?.unwrap_or(0);
    if !on || c.value("layer_types").is_none() {
        d.window_where(window, |layer| layer >= first);
    }
    Ok(d)
}
