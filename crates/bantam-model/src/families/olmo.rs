//! OLMo 1: LayerNorm without weights; queries, keys and values are clipped.

use super::dense::Dense;
use super::{Described, Family};
use crate::description::{Bias, Norm, NormKind, NormWeight};
use crate::{Config, Error};

pub(super) const FAMILY: Family = Family { architectures: &["olmo"], keys: &[], describe };

fn describe(c: &Config) -> Result<Described, Error> {
    let mut d = Dense::read_permuted(c)?;
    c.number("layer_norm_eps")?;
    d.set_norm(Norm { kind: NormKind::Layer, eps: 1e-5, weight: NormWeight::None, bias: Bias::Absent });
    d.attention.clip = c.optional_f32("clip_qkv")?;
    d.finish()
}
