//! Adapters: what is added to a model's projections, low-rank products kept apart from the weights.
//!
//! LoRA (Hu et al. 2021): `y = W x + scale * B (A x)`. The base stays in its own bits; each span of a batch may have an
//! adapter of its own, or none. The rows of `B` lie as those of the model's own matrices, whichever file it came from.

mod bind;
mod low_rank;

use std::collections::BTreeMap;
use std::fmt;

use crate::names::Site;
use crate::weights::Matrix;
use crate::{Error, Model};

pub use bind::BaseCheck;
pub(crate) use bind::{in_order, row_order};

/// A product of two thin matrices, `scale * B A`.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// `[rank, inputs]`
    pub a: Matrix,
    /// `[outputs, rank]`
    pub b: Matrix,
    /// What the product is multiplied with: `alpha / rank`, or `alpha / sqrt(rank)` (rsLoRA, Kalajdzievski 2023).
    pub scale: f32,
}

/// What is added to the projections of a model.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    /// The projections that it changes.
    pub sites: BTreeMap<Site, LowRank>,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of layer {}", self.role, self.layer)
    }
}

impl Adapter {
    /// Several at once, each with a factor: their ranks add up, and no number of one touches another.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] where they are not of one model.
    pub fn sum(parts: &[(&Adapter, f32)]) -> Result<Adapter, Error> {
        let mut by_site: BTreeMap<Site, Vec<(&LowRank, f32)>> = BTreeMap::new();
        for (adapter, factor) in parts {
            for (site, low_rank) in &adapter.sites {
                by_site.entry(*site).or_default().push((low_rank, *factor));
            }
        }
        let sites = by_site.into_iter().map(|(site, parts)| {
            let sum = LowRank::sum(&parts).map_err(|reason| refuse(&site.to_string(), reason))?;
            Ok((site, sum))
        });
        Ok(Adapter { sites: sites.collect::<Result<_, Error>>()? })
    }

    /// Refuses an adapter that is not for this model's projections.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] with the first projection that does not fit.
    pub fn check(&self, model: &Model) -> Result<(), Error> {
        let known: BTreeMap<Site, &Matrix> =
            model.linears().map(|linear| (linear.site, &linear.matrix)).collect();
        for (site, LowRank { a, b, .. }) in &self.sites {
            let Some(matrix) = known.get(site) else {
                return Err(refuse(&site.to_string(), "the model has no such projection".into()));
            };
            let (wanted, found) = ([matrix.inputs, matrix.outputs], [a.inputs, b.outputs]);
            if wanted != found || a.outputs != b.inputs {
                let reason = format!(
                    "wanted {} inputs and {} outputs, found {} and {}, with ranks {} and {}",
                    wanted[0], wanted[1], found[0], found[1], a.outputs, b.inputs
                );
                return Err(refuse(&site.to_string(), reason));
            }
        }
        Ok(())
    }

    /// Bytes of its matrices.
    pub fn bytes(&self) -> usize {
        let of = |matrix: &Matrix| matrix.tensor.bytes().len();
        self.sites.values().map(|LowRank { a, b, .. }| of(a) + of(b)).sum()
    }
}

fn refuse(module: &str, reason: String) -> Error {
    Error::Adapter { module: module.to_owned(), reason }
}
