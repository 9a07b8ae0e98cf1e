//! How an adapter begins.

use bantam_model::weights::{Linear, Matrix};
use bantam_model::{Adapter, Isa, LowRank, Machine, Magnitude, Model, Role, Site, fnv1a};
use bantam_tensor::Tensor;
use bantam_tensor::kernels::matmul::Layout;

use crate::Error;
use crate::random::Random;
use crate::svd::Svd;

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
    /// Whether the changed rows get lengths of their own.
    pub variant: Variant,
    /// What the matrices begin as.
    pub start: Start,
    /// Of the numbers at the beginning.
    pub seed: u64,
}

/// Kinds of low-rank adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// Products alone.
    #[default]
    Plain,
    /// Each row of a changed matrix gets a length that is learnt (DoRA, Liu et al., 2024).
    Dora,
}

/// What the matrices of an adapter begin as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// `A` by chance, `B` zero.
    #[default]
    Zero,
    /// The largest singular values of the weights with their vectors (PiSSA, Meng et al., 2024). The weights keep their
    /// bits: what the paper takes off them is taken off as a product of its own, which [`Adapter::folded`] puts with the
    /// other, so that an adapter on disk has twice the rank.
    Principal,
    /// Those of what quantising took from the weights (LoftQ, Li et al., 2024, with one iteration, since the base is
    /// quantised already): nothing is taken off, the beginning is nearer to the original. Asks for
    /// [`Lora::start_from`].
    Residual,
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
        Lora {
            rank: 16,
            alpha: 32.0,
            scaling: Scaling::Rank,
            targets: Lora::ALL_LINEAR.to_vec(),
            variant: Variant::Plain,
            start: Start::Zero,
            seed: 0,
        }
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

    /// An adapter at its beginning, which changes nothing unless it starts from [`Start::Residual`]. From zero, `A` is
    /// uniform within `1 / sqrt(inputs)` and `B` is zero, as PEFT begins.
    ///
    /// # Errors
    ///
    /// A rank of zero, targets that the model has none of, lengths of rows together with another start than zero, or a
    /// start that asks for the original weights.
    pub fn start(&self, model: &Model) -> Result<Adapter, Error> {
        self.begin(model, None)
    }

    /// As [`Lora::start`], with the model that was quantised.
    ///
    /// # Errors
    ///
    /// As [`Lora::start`]; an original of other sizes.
    pub fn start_from(&self, model: &Model, original: &Model) -> Result<Adapter, Error> {
        self.begin(model, Some(original))
    }

    fn begin(&self, model: &Model, original: Option<&Model>) -> Result<Adapter, Error> {
        if self.rank == 0 {
            return Err(Error::Setting { name: "rank", reason: "is 0; wanted at least 1".into() });
        }
        self.check(model, original)?;
        let machine = Machine::new(Isa::best(), 0);
        let mut adapter = Adapter::default();
        for linear in self.linears(model) {
            let zero = self.start_of(linear)?;
            let low_rank = match self.start {
                Start::Zero => zero,
                Start::Principal => {
                    let begun = principal(&machine, zero, &widened(&linear.matrix))?;
                    adapter.start.insert(linear.site, taken_off(&begun)?);
                    begun
                }
                Start::Residual => principal(&machine, zero, &residual(linear, original)?)?,
            };
            adapter.sites.insert(linear.site, low_rank);
        }
        if adapter.sites.is_empty() {
            let targets: Vec<String> = self.targets.iter().map(Role::to_string).collect();
            let reason = format!("name no projection of this model: {}", targets.join(", "));
            return Err(Error::Setting { name: "targets", reason });
        }
        Ok(adapter)
    }

    fn check(&self, model: &Model, original: Option<&Model>) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Setting { name: "start", reason: reason.into() });
        // Forms differ in the order of rows.
        let is_other = |of: &Model| of.source != model.source || of.fingerprint() != model.fingerprint();
        match (self.start, self.variant, original) {
            (Start::Zero | Start::Principal, _, Some(_)) => {
                refuse("asks for no original model, and there is one")
            }
            (_, _, Some(original)) if is_other(original) => refuse(
                "has another model for its original; wanted the one that was quantised, in the same form",
            ),
            (Start::Residual, _, Some(original)) if self.has_same_weights(model, original) => refuse(
                "is what quantising took from the weights, and the original has the same ones; wanted the model before it was quantised",
            ),
            (Start::Zero, ..) => Ok(()),
            (_, Variant::Dora, _) => refuse("is not zero; lengths of rows (DoRA) begin from zero alone"),
            (Start::Residual, _, None) => {
                refuse("is what quantising took from the weights; wanted the original model, too")
            }
            _ if self.alpha.is_nan() || self.alpha <= 0.0 => {
                refuse("is not zero, and alpha is not above 0, as it must be then")
            }
            _ => Ok(()),
        }
    }

    fn has_same_weights(&self, model: &Model, other: &Model) -> bool {
        let mut pairs = self.linears(model).zip(self.linears(other));
        pairs.all(|(linear, other)| {
            let (tensor, other) = (&linear.matrix.tensor, &other.matrix.tensor);
            tensor.storage() == other.storage() && tensor.bytes()[..] == other.bytes()[..]
        })
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
        let magnitude = match self.variant {
            Variant::Plain => None,
            Variant::Dora => Some(Magnitude::start(linear, tensor_name(linear.site, "m"))?),
        };
        Ok(LowRank {
            a: matrix(a, rank, inputs, &numbers)?,
            b: matrix(b, outputs, rank, &vec![0.0; outputs * rank])?,
            scale: match self.scaling {
                Scaling::Rank => self.alpha / rank as f32,
                Scaling::RootOfRank => self.alpha / (rank as f32).sqrt(),
            },
            magnitude,
        })
    }
}

/// A matrix in f32, one row for each output.
fn widened(matrix: &Matrix) -> Vec<f32> {
    let values = matrix.tensor.to_f32();
    match matrix.layout {
        Layout::OutIn => values,
        Layout::InOut => (0..matrix.outputs)
            .flat_map(|output| values.iter().skip(output).step_by(matrix.outputs).copied())
            .collect(),
    }
}

/// What is missing of the original in a projection.
fn residual(linear: &Linear, original: Option<&Model>) -> Result<Vec<f32>, Error> {
    let found = original.and_then(|original| original.linears().find(|other| other.site == linear.site));
    let fits = |other: &&Linear| {
        (other.matrix.outputs, other.matrix.inputs) == (linear.matrix.outputs, linear.matrix.inputs)
    };
    let other = found.filter(fits).ok_or_else(|| Error::Setting {
        name: "original",
        reason: format!("has no {} of this size; wanted the model that was quantised", linear.site),
    })?;
    let mut residual = widened(&other.matrix);
    residual.iter_mut().zip(widened(&linear.matrix)).for_each(|(x, y)| *x -= y);
    Ok(residual)
}

/// The pair whose product with its scale is the nearest of its rank to a matrix, both halves of one size.
fn principal(machine: &Machine, of: LowRank, matrix: &[f32]) -> Result<LowRank, Error> {
    let (rank, inputs, outputs) = (of.rank(), of.a.inputs, of.b.outputs);
    let seed = fnv1a(of.a.tensor.name().bytes());
    let svd = Svd::of(machine, matrix, inputs, rank, seed);
    let root = |i: usize| ((svd.values.get(i).copied().unwrap_or(0.0)) / f64::from(of.scale)).sqrt() as f32;
    let mut a = svd.right.clone();
    for (i, row) in a.chunks_exact_mut(inputs).enumerate() {
        let factor = root(i);
        row.iter_mut().for_each(|x| *x *= factor);
    }
    let mut b = vec![0.0; outputs * rank];
    for (i, column) in svd.left.chunks_exact(outputs).enumerate() {
        let factor = root(i);
        b.iter_mut().skip(i).step_by(rank).zip(column).for_each(|(place, x)| *place = factor * x);
    }
    let name = |of: &Matrix| of.tensor.name().to_owned();
    Ok(LowRank {
        a: self::matrix(name(&of.a), rank, inputs, &a)?,
        b: self::matrix(name(&of.b), outputs, rank, &b)?,
        ..of
    })
}

/// The same product with the other sign, under names of its own.
fn taken_off(of: &LowRank) -> Result<LowRank, Error> {
    let copy = |from: &Matrix| {
        matrix(format!("{}.start", from.tensor.name()), from.outputs, from.inputs, &from.tensor.to_f32())
    };
    Ok(LowRank { a: copy(&of.a)?, b: copy(&of.b)?, scale: -of.scale, magnitude: None })
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
