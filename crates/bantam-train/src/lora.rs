//! How an adapter begins.

use bantam_model::weights::{Linear, Matrix};
use bantam_model::{Adapter, LowRank, Model, Role, Site, fnv1a};
use bantam_tensor::Tensor;
use bantam_tensor::kernels::matmul::Layout;

use crate::Error;
use crate::random::Random;

/// What a low-rank adapter (LoRA, Hu et al. 2021) looks like before its first step.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Width between the two matrices; a projection that is thinner gets one of its own width.
    pub rank: usize,
    /// What the product is multiplied with, before it is divided as `scaling` says.
    pub alpha: f32,
    /// What `alpha` is divided by.
    pub scaling: Scaling,
    /// The projections that get one.
    pub targets: Vec<Role>,
    /// Of the numbers at the beginning.
    pub seed: u64,
}

/// What `alpha` is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// The rank.
    Rank,
    /// The square root of the rank (rsLoRA, Kalajdzievski 2023).
    RootOfRank,
}

impl Default for Lora {
    /// Rank 16 on every projection of every layer.
    fn default() -> Self {
        Lora { rank: 16, alpha: 32.0, scaling: Scaling::Rank, targets: Lora::ALL_LINEAR.to_vec(), seed: 0 }
    }
}

impl Lora {
    /// The projections of the layers: all but the table of tokens and the head.
    pub const ALL_LINEAR: [Role; 9] = [
        Role::Query,
        Role::Key,
        Role::Value,
        Role::QueryKeyValue,
        Role::AttentionOutput,
        Role::Gate,
        Role::Up,
        Role::GateUp,
        Role::Down,
    ];

    /// An adapter that changes nothing yet: `A` is uniform within `1 / sqrt(inputs)`, `B` is zero, as PEFT begins.
    ///
    /// # Errors
    ///
    /// A rank of zero, or targets that the model has none of.
    pub fn start(&self, model: &Model) -> Result<Adapter, Error> {
        if self.rank == 0 {
            return Err(Error::Setting { name: "rank", reason: "is 0; wanted at least 1".into() });
        }
        let mut adapter = Adapter::default();
        for linear in self.linears(model) {
            adapter.sites.insert(linear.site, self.start_of(linear)?);
        }
        if adapter.sites.is_empty() {
            let targets: Vec<String> = self.targets.iter().map(Role::to_string).collect();
            let reason = format!("name no projection of this model: {}", targets.join(", "));
            return Err(Error::Setting { name: "targets", reason });
        }
        Ok(adapter)
    }

    fn linears<'m>(&self, model: &'m Model) -> impl Iterator<Item = &'m Linear> {
        let all = model.weights.layers.iter().flat_map(|layer| layer.linears()).chain([&model.weights.head]);
        all.filter(|linear| self.targets.contains(&linear.site.role))
    }

    fn start_of(&self, linear: &Linear) -> Result<LowRank, Error> {
        let Matrix { outputs, inputs, .. } = linear.matrix;
        let rank = self.rank.min(outputs).min(inputs);
        let [a, b] = ["a", "b"].map(|part| tensor_name(linear.site, part));
        let mut random = Random::new(self.seed ^ fnv1a(a.bytes()));
        let bound = 1.0 / (inputs as f32).sqrt();
        let numbers: Vec<f32> = (0..rank * inputs).map(|_| random.between(bound)).collect();
        Ok(LowRank {
            a: matrix(a, rank, inputs, &numbers)?,
            b: matrix(b, outputs, rank, &vec![0.0; outputs * rank])?,
            scale: match self.scaling {
                Scaling::Rank => self.alpha / rank as f32,
                Scaling::RootOfRank => self.alpha / (rank as f32).sqrt(),
            },
        })
    }
}

/// What a matrix of an adapter is called while it learns.
pub(crate) fn tensor_name(site: Site, part: &str) -> String {
    format!("adapter.{}.{:?}.{part}", site.layer, site.role)
}

/// A matrix in f32, `[outputs, inputs]`.
pub(crate) fn matrix(name: String, outputs: usize, inputs: usize, numbers: &[f32]) -> Result<Matrix, Error> {
    let tensor = Tensor::from_f32(name, vec![outputs, inputs], numbers)?;
    Ok(Matrix { tensor, layout: Layout::OutIn, outputs, inputs })
}
