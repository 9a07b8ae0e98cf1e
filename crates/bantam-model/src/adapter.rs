//! Adapters: what is added to a model's projections, low-rank products kept apart from the weights; and what stands before
//! a sequence's first token.
//!
//! LoRA (Hu et al. 2021): `y = W x + scale * B (A x)`. The base stays in its own bits; each span of a batch may have an
//! adapter of its own, or none. The rows of `B` lie as those of the model's own matrices, whichever file it came from.

mod bind;
mod low_rank;
mod magnitude;
mod prefix;

use std::collections::BTreeMap;
use std::fmt;

use crate::names::Site;
use crate::weights::Matrix;
use crate::{Error, Model};

pub use bind::BaseCheck;
pub(crate) use bind::{in_order, row_order};
pub use magnitude::Magnitude;
pub use prefix::{KvPrefix, KvPrefixLayer};

/// A product of two thin matrices, `scale * B A`.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// `[rank, inputs]`
    pub a: Matrix,
    /// `[outputs, rank]`
    pub b: Matrix,
    /// What the product is multiplied with: `alpha / rank`, or `alpha / sqrt(rank)` (rsLoRA, Kalajdzievski 2023).
    pub scale: f32,
    /// Lengths that the changed rows are given (DoRA), if they are.
    pub magnitude: Option<Magnitude>,
}

/// What is added to the projections of a model, and stands before its sequences.
#[derive(Clone, Debug, Default)]
pub struct Adapter {
    /// The projections that it changes.
    pub sites: BTreeMap<Site, LowRank>,
    /// Products that are added as well, and never learnt: minus what the sites began as, where that is not nothing
    /// (PiSSA), so that the beginning changes nothing.
    pub start: BTreeMap<Site, LowRank>,
    /// What stands before the first token: states of its sequences begin with it ([`crate::State::begin`]).
    pub prefix: Option<KvPrefix>,
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
    /// [`Error::Adapter`] where they are not of one model; a prefix that is scaled, or not the only one.
    pub fn sum(parts: &[(&Adapter, f32)]) -> Result<Adapter, Error> {
        let mut by_site: BTreeMap<Site, Vec<(&LowRank, f32)>> = BTreeMap::new();
        for (adapter, factor) in parts {
            for (site, low_rank) in adapter.sites.iter().chain(&adapter.start) {
                by_site.entry(*site).or_default().push((low_rank, *factor));
            }
        }
        let sites = by_site.into_iter().map(|(site, parts)| {
            let sum = LowRank::sum(&parts).map_err(|reason| refuse(&site.to_string(), reason))?;
            Ok((site, sum))
        });
        let (sites, prefix) = (sites.collect::<Result<_, Error>>()?, the_prefix(parts)?);
        Ok(Adapter { sites, start: BTreeMap::new(), prefix })
    }

    /// Positions before the first token.
    pub fn virtual_tokens(&self) -> usize {
        self.prefix.as_ref().map_or(0, KvPrefix::virtual_tokens)
    }

    /// The same with one product for each projection, as files have them.
    ///
    /// # Errors
    ///
    /// As [`Adapter::sum`].
    pub fn folded(&self) -> Result<Adapter, Error> {
        Adapter::sum(&[(self, 1.0)])
    }

    /// Refuses an adapter that is not for this model's projections.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] with the prefix or the first projection that does not fit.
    pub fn check(&self, model: &Model) -> Result<(), Error> {
        if let Some(prefix) = &self.prefix {
            prefix.check(model)?;
        }
        let known: BTreeMap<Site, &Matrix> =
            model.linears().map(|linear| (linear.site, &linear.matrix)).collect();
        for (site, LowRank { a, b, magnitude, .. }) in self.sites.iter().chain(&self.start) {
            let Some(matrix) = known.get(site) else {
                return Err(refuse(&site.to_string(), "the model has no such projection".into()));
            };
            let lengths = magnitude.as_ref().map_or(matrix.outputs, |of| of.lengths.elements());
            if lengths != matrix.outputs {
                let reason = format!("wanted {} lengths of rows, found {lengths}", matrix.outputs);
                return Err(refuse(&site.to_string(), reason));
            }
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

    /// Bytes of its matrices, and of its prefix.
    pub fn bytes(&self) -> usize {
        let of = |matrix: &Matrix| matrix.tensor.bytes().len();
        let lengths = |of: &Option<Magnitude>| of.as_ref().map_or(0, |of| of.lengths.bytes().len());
        let all = self.sites.values().chain(self.start.values());
        let products = all.map(|LowRank { a, b, magnitude, .. }| of(a) + of(b) + lengths(magnitude));
        products.sum::<usize>() + self.prefix.as_ref().map_or(0, KvPrefix::bytes)
    }
}

/// The prefix of several adapters, of which one may have one.
fn the_prefix(parts: &[(&Adapter, f32)]) -> Result<Option<KvPrefix>, Error> {
    let mut found = parts.iter().filter_map(|(adapter, factor)| Some((adapter.prefix.as_ref()?, *factor)));
    match (found.next(), found.next()) {
        (None, _) => Ok(None),
        (Some((prefix, 1.0)), None) => Ok(Some(prefix.clone())),
        _ => {
            let reason = "keys and values do not add up: take one prefix, unscaled";
            Err(refuse("prefix", reason.into()))
        }
    }
}

fn refuse(module: &str, reason: String) -> Error {
    Error::Adapter { module: module.to_owned(), reason }
}
