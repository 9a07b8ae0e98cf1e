//! From a description and a checkpoint to a model: finds every tensor, checks every shape, and refuses
//! what is missing or left over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use bantam_tensor::kernels::matmul::Layout;
use bantam_tensor::{Checkpoint, Source, Storage, Tensor};

use crate::Error;
use crate::description::*;
use crate::names::Site;
use crate::names::{Names, Prefix, Role};
use crate::weights::*;

/// Binds the weights of a checkpoint.
pub(crate) fn bind(
    description: &Description,
    names: &Names,
    checkpoint: &Checkpoint,
) -> Result<Weights, Error> {
    let binder = Binder::new(names, checkpoint)?;
    let weights = binder.weights(description)?;
    binder.check_leftovers(checkpoint)?;
    Ok(weights)
}

/// The tensors that a checkpoint of this description has, in the order in which they are bound.
///
/// # Errors
///
/// Parts that have no place in a new checkpoint; more than [`BLANK_ELEMENTS_MAX`] numbers.
pub(crate) fn blank(description: &Description, names: &Names) -> Result<Vec<BlankTensor>, Error> {
    let blanks = Blanks::default();
    let origin = Origin::Nothing(&blanks);
    Binder { names, origin, prefix: Prefix::Same, used: RefCell::default() }.weights(description)?;
    Ok(blanks.tensors.into_inner())
}

/// A tensor of a model that has learnt nothing yet.
#[derive(Clone, Debug, PartialEq)]
pub struct BlankTensor {
    /// As checkpoints call it.
    pub name: String,
    /// Slowest axis first.
    pub shape: Vec<usize>,
    /// Its first numbers.
    pub start: Start,
}

/// The numbers that a tensor begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Chance decides.
    Drawn,
    /// All are this.
    Filled(f32),
}

/// More numbers are refused: nobody trains such a model from nothing on one machine.
pub(crate) const BLANK_ELEMENTS_MAX: usize = 1 << 31;

/// Tensors that are asked for and not there.
#[derive(Default)]
struct Blanks {
    tensors: RefCell<Vec<BlankTensor>>,
    elements: Cell<usize>,
}

impl Blanks {
    fn add(&self, name: &str, shape: &[usize], start: Start) -> Result<Tensor, Error> {
        let elements = shape.iter().try_fold(1_usize, |product, axis| product.checked_mul(*axis));
        let all = elements.and_then(|elements| elements.checked_add(self.elements.get()));
        let Some(all) = all.filter(|all| *all <= BLANK_ELEMENTS_MAX) else {
            let reason = format!("more than {BLANK_ELEMENTS_MAX} numbers, wanted a smaller model");
            return Err(Error::Config { key: "hidden_size".into(), reason });
        };
        self.elements.set(all);
        self.tensors.borrow_mut().push(BlankTensor { name: name.into(), shape: shape.to_vec(), start });
        // Only its shape is looked at: pages that nobody touches take no memory.
        let bytes = vec![0; 2 * shape.iter().product::<usize>()];
        Ok(Tensor::new(name, shape.to_vec(), Storage::BF16, bytes.into())?)
    }
}

/// Where tensors come from.
enum Origin<'a> {
    Checkpoint(&'a Checkpoint),
    Nothing(&'a Blanks),
}

struct Binder<'a> {
    names: &'a Names,
    origin: Origin<'a>,
    /// How this checkpoint's names differ from the scheme's.
    prefix: Prefix,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> Binder<'a> {
    fn new(names: &'a Names, checkpoint: &'a Checkpoint) -> Result<Self, Error> {
        let embed = names.of(Role::Embed, 0).unwrap_or_default() + ".weight";
        let found = Prefix::ALL.into_iter().find(|prefix| checkpoint.weight(&prefix.apply(&embed)).is_ok());
        let Some(prefix) = found else {
            // Says whether it is absent or in a storage that is refused.
            checkpoint.weight(&embed)?;
            return Err(missing(&embed, Role::Embed));
        };
        Ok(Binder { names, origin: Origin::Checkpoint(checkpoint), prefix, used: RefCell::default() })
    }

    fn weights(&self, d: &Description) -> Result<Weights, Error> {
        let embed = self.table(Role::Embed, d.vocab_size, d.hidden_size)?;
        let site = Site { layer: 0, role: Role::Head };
        let head = match d.head.matrix {
            HeadMatrix::Tied => Linear { site, matrix: embed.clone(), bias: None },
            HeadMatrix::Own(bias) => Linear {
                site,
                matrix: self.table(Role::Head, d.vocab_size, d.hidden_size)?,
                bias: self.bias(bias, Role::Head, 0, d.vocab_size)?,
            },
        };
        let layers = d.layers.iter().enumerate();
        Ok(Weights {
            embed,
            positions: match d.embed.positions {
                Positions::None => None,
                Positions::Learned(count) => Some(self.table(Role::Positions, count, d.hidden_size)?),
            },
            layers: layers.map(|(i, layer)| self.layer(i, layer, d.hidden_size)).collect::<Result<_, _>>()?,
            norm: self.norm(&d.norm, Role::FinalNorm, 0, d.hidden_size)?,
            head,
        })
    }

    fn layer(&self, i: usize, layer: &Layer, hidden: usize) -> Result<LayerWeights, Error> {
        let Mixer::Attention(attention) = &layer.mixer;
        let norm = |norm: Option<&Norm>, role| norm.map(|norm| self.norm(norm, role, i, hidden)).transpose();
        let (mixer, mlp) = match &layer.wiring {
            Wiring::Sequential { mixer, mlp } => (*mixer, Some(*mlp)),
            Wiring::Parallel { before } => (BranchNorms::Before(*before), None),
        };
        Ok(LayerWeights {
            mixer: self.attention(i, attention, hidden)?,
            mlp: self.mlp(i, &layer.mlp, hidden)?,
            mixer_before: norm(mixer.before(), Role::MixerNormBefore)?,
            mixer_after: norm(mixer.after(), Role::MixerNormAfter)?,
            mlp_before: norm(mlp.as_ref().and_then(BranchNorms::before), Role::MlpNormBefore)?,
            mlp_after: norm(mlp.as_ref().and_then(BranchNorms::after), Role::MlpNormAfter)?,
        })
    }

    fn attention(&self, i: usize, a: &Attention, hidden: usize) -> Result<AttentionWeights, Error> {
        let (queries, keys) = (a.query_width(), a.kv_width());
        let linear = |role, width| self.linear(role, i, width, hidden, a.qkv_bias);
        let input = match a.projections {
            Projections::Separate => QkvWeights::Separate([
                linear(Role::Query, queries)?,
                linear(Role::Key, keys)?,
                linear(Role::Value, keys)?,
            ]),
            Projections::Fused => QkvWeights::Fused(linear(Role::QueryKeyValue, queries + 2 * keys)?),
        };
        let norm =
            |role, heads| a.qk_norm.as_ref().map(|norm| self.qk_norm(norm, role, i, heads, a)).transpose();
        Ok(AttentionWeights {
            input,
            query_norm: norm(Role::QueryNorm, a.num_heads)?,
            key_norm: norm(Role::KeyNorm, a.num_kv_heads)?,
            output: self.linear(Role::AttentionOutput, i, hidden, queries, a.output_bias)?,
        })
    }

    fn mlp(&self, i: usize, mlp: &Mlp, hidden: usize) -> Result<MlpWeights, Error> {
        Ok(match *mlp {
            Mlp::Gated { intermediate_size: width, projections: GateUp::Separate, bias, .. } => {
                MlpWeights::Gated([
                    self.linear(Role::Gate, i, width, hidden, bias)?,
                    self.linear(Role::Up, i, width, hidden, bias)?,
                    self.linear(Role::Down, i, hidden, width, bias)?,
                ])
            }
            Mlp::Gated { intermediate_size: width, projections: GateUp::Fused, bias, .. } => {
                MlpWeights::GatedFused([
                    self.linear(Role::GateUp, i, 2 * width, hidden, bias)?,
                    self.linear(Role::Down, i, hidden, width, bias)?,
                ])
            }
            Mlp::Plain { intermediate_size: width, bias, .. } => MlpWeights::Plain([
                self.linear(Role::Up, i, width, hidden, bias)?,
                self.linear(Role::Down, i, hidden, width, bias)?,
            ]),
        })
    }

    fn qk_norm(
        &self,
        norm: &QkNorm,
        role: Role,
        i: usize,
        heads: usize,
        a: &Attention,
    ) -> Result<NormWeights, Error> {
        let QkNorm { norm, over } = norm;
        let (width, length) = match over {
            QkNormOver::Head => (a.head_dim, a.head_dim),
            QkNormOver::EachHead => (a.head_dim, heads * a.head_dim),
            QkNormOver::Row => (heads * a.head_dim, heads * a.head_dim),
        };
        Ok(NormWeights { width, ..self.norm(norm, role, i, length)? })
    }

    fn norm(&self, norm: &Norm, role: Role, i: usize, width: usize) -> Result<NormWeights, Error> {
        let weight = match norm.weight {
            NormWeight::None => None,
            NormWeight::Stored => Some(self.vector(role, i, "weight", width, 1.0)?),
            NormWeight::OnePlus => {
                let vector = self.vector(role, i, "weight", width, 0.0)?;
                Some(Vector { values: vector.values.iter().map(|w| 1.0 + w).collect(), ..vector })
            }
        };
        let bias = self.bias(norm.bias, role, i, width)?;
        Ok(NormWeights { kind: norm.kind, eps: norm.eps, width, weight, bias })
    }

    fn linear(
        &self,
        role: Role,
        i: usize,
        outputs: usize,
        inputs: usize,
        bias: Bias,
    ) -> Result<Linear, Error> {
        let layout = self.names.layout();
        let wanted = match layout {
            Layout::OutIn => [outputs, inputs],
            Layout::InOut => [inputs, outputs],
        };
        let tensor = self.tensor(role, i, "weight", &wanted)?;
        let bias = self.bias(bias, role, i, outputs)?;
        let site = Site { layer: i, role };
        Ok(Linear { site, matrix: Matrix { tensor, layout, outputs, inputs }, bias })
    }

    /// A matrix with one row for each of so many things, in any family.
    fn table(&self, role: Role, rows: usize, width: usize) -> Result<Matrix, Error> {
        let tensor = self.tensor(role, 0, "weight", &[rows, width])?;
        Ok(Matrix { tensor, layout: Layout::OutIn, outputs: rows, inputs: width })
    }

    fn bias(&self, bias: Bias, role: Role, i: usize, width: usize) -> Result<Option<Vector>, Error> {
        match bias {
            Bias::Absent => Ok(None),
            Bias::Present => self.vector(role, i, "bias", width, 0.0).map(Some),
        }
    }

    /// A vector of `width` numbers: one tensor, or one for each head where the name says so. Of a new model all of them
    /// are `start`.
    fn vector(&self, role: Role, i: usize, leaf: &str, width: usize, start: f32) -> Result<Vector, Error> {
        let name = self.name(role, i, leaf)?;
        if !name.contains('#') {
            let tensor = self.sized(&name, role, width, Start::Filled(start))?;
            return Ok(Vector { values: tensor.to_f32().into(), names: vec![name] });
        }
        let (mut values, mut names) = (Vec::with_capacity(width), Vec::new());
        while values.len() < width {
            let name = name.replace('#', &names.len().to_string());
            // How many numbers a head has is the checkpoint's word.
            let found = self.find(&name, role, &[], Start::Filled(start))?;
            values.extend(found.to_f32());
            names.push(name);
        }
        if values.len() != width {
            return Err(Error::Shape { name, wanted: vec![width], found: vec![values.len()] });
        }
        Ok(Vector { values: Arc::from(values), names })
    }

    /// A tensor of so many numbers, in one row or several.
    fn sized(&self, name: &str, role: Role, width: usize, start: Start) -> Result<Tensor, Error> {
        let tensor = self.find(name, role, &[width], start)?;
        if tensor.elements() != width {
            return Err(Error::Shape {
                name: name.into(),
                wanted: vec![width],
                found: tensor.shape().to_vec(),
            });
        }
        Ok(tensor)
    }

    fn tensor(&self, role: Role, i: usize, leaf: &str, wanted: &[usize]) -> Result<Tensor, Error> {
        let name = self.name(role, i, leaf)?;
        let tensor = self.find(&name, role, wanted, Start::Drawn)?;
        if tensor.shape() != wanted {
            return Err(Error::Shape { name, wanted: wanted.to_vec(), found: tensor.shape().to_vec() });
        }
        Ok(tensor)
    }

    fn name(&self, role: Role, i: usize, leaf: &str) -> Result<String, Error> {
        let name = self.names.of(role, i).ok_or_else(|| missing("", role))?;
        Ok(self.prefix.apply(&format!("{name}.{leaf}")))
    }

    /// A tensor of the checkpoint; or a new one of this shape.
    fn find(&self, name: &str, role: Role, shape: &[usize], start: Start) -> Result<Tensor, Error> {
        let checkpoint = match &self.origin {
            Origin::Checkpoint(checkpoint) => checkpoint,
            Origin::Nothing(_) if shape.is_empty() => {
                let reason = "a norm of its own for each head, wanted one that a new model can have".into();
                return Err(Error::Config { key: "qk_layernorm".into(), reason });
            }
            Origin::Nothing(blanks) => return blanks.add(name, shape, start),
        };
        self.used.borrow_mut().insert(name.to_owned());
        match checkpoint.weight(name) {
            Ok(tensor) => Ok(tensor.clone()),
            Err(bantam_tensor::Error::MissingTensor { .. }) => Err(missing(name, role)),
            Err(other) => Err(other.into()),
        }
    }

    fn check_leftovers(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let used = self.used.borrow();
        let folder = checkpoint.source() == Source::Folder;
        let head = self.prefix.apply(&(self.names.of(Role::Head, 0).unwrap_or_default() + ".weight"));
        let expected = |name: &&str| {
            let foreign = match self.prefix {
                Prefix::Add(prefix) | Prefix::Model(prefix) => !name.starts_with(prefix),
                Prefix::Same | Prefix::Strip => false,
            };
            // A tied head may be stored all the same.
            used.contains(*name) || foreign || is_buffer(name) || (folder && **name == *head)
        };
        let left = checkpoint.tensors().map(Tensor::name).filter(|name| !expected(name));
        let names: Vec<String> = left.take(5).map(str::to_owned).collect();
        if names.is_empty() { Ok(()) } else { Err(Error::UnusedTensors { names }) }
    }
}

fn missing(name: &str, role: Role) -> Error {
    Error::MissingTensor { name: name.into(), role: role.to_string() }
}

/// Tensors that are no weights: frequencies, masks, and what the config was read from.
fn is_buffer(name: &str) -> bool {
    const ENDS: [&str; 6] = [
        "rotary_emb.inv_freq",
        ".attn.bias",
        ".attn.masked_bias",
        "rope_freqs.weight",
        "rope_factors_long.weight",
        "rope_factors_short.weight",
    ];
    ENDS.iter().any(|end| name.ends_with(end))
}
