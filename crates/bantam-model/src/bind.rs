//! From a description and a checkpoint to a model: finds every tensor, checks every shape, and refuses
//! what is missing or left over.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use bantam_tensor::kernels::matmul::Layout;
use bantam_tensor::{Checkpoint, Source, Tensor};

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
    binder.check_leftovers()?;
    Ok(weights)
}

struct Binder<'a> {
    names: &'a Names,
    checkpoint: &'a Checkpoint,
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
        Ok(Binder { names, checkpoint, prefix, used: RefCell::default() })
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
            NormWeight::Stored => Some(self.vector(role, i, "weight", width)?),
            NormWeight::OnePlus => {
                let vector = self.vector(role, i, "weight", width)?;
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
            Bias::Present => self.vector(role, i, "bias", width).map(Some),
        }
    }

    /// A vector of `width` numbers: one tensor, or one for each head where the name says so.
    fn vector(&self, role: Role, i: usize, leaf: &str, width: usize) -> Result<Vector, Error> {
        let name = self.name(role, i, leaf)?;
        if !name.contains('#') {
            let tensor = self.sized(&name, role, width)?;
            return Ok(Vector { values: tensor.to_f32().into(), names: vec![name] });
        }
        let (mut values, mut names) = (Vec::with_capacity(width), Vec::new());
        while values.len() < width {
            let name = name.replace('#', &names.len().to_string());
            let found = self.find(&name, role)?;
            values.extend(found.to_f32());
            names.push(name);
        }
        if values.len() != width {
            return Err(Error::Shape { name, wanted: vec![width], found: vec![values.len()] });
        }
        Ok(Vector { values: Arc::from(values), names })
    }

    /// A tensor of so many numbers, in one row or several.
    fn sized(&self, name: &str, role: Role, width: usize) -> Result<&'a Tensor, Error> {
        let tensor = self.find(name, role)?;
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
        let tensor = self.find(&name, role)?;
        if tensor.shape() != wanted {
            return Err(Error::Shape { name, wanted: wanted.to_vec(), found: tensor.shape().to_vec() });
        }
        Ok(tensor.clone())
    }

    fn name(&self, role: Role, i: usize, leaf: &str) -> Result<String, Error> {
        let name = self.names.of(role, i).ok_or_else(|| missing("", role))?;
        Ok(self.prefix.apply(&format!("{name}.{leaf}")))
    }

    fn find(&self, name: &str, role: Role) -> Result<&'a Tensor, Error> {
        self.used.borrow_mut().insert(name.to_owned());
        match self.checkpoint.weight(name) {
            Ok(tensor) => Ok(tensor),
            Err(bantam_tensor::Error::MissingTensor { .. }) => Err(missing(name, role)),
            Err(other) => Err(other.into()),
        }
    }

    fn check_leftovers(&self) -> Result<(), Error> {
        let used = self.used.borrow();
        let folder = self.checkpoint.source() == Source::Folder;
        let head = self.prefix.apply(&(self.names.of(Role::Head, 0).unwrap_or_default() + ".weight"));
        let expected = |name: &&str| {
            let foreign = match self.prefix {
                Prefix::Add(prefix) | Prefix::Model(prefix) => !name.starts_with(prefix),
                Prefix::Same | Prefix::Strip => false,
            };
            // A tied head may be stored all the same.
            used.contains(*name) || foreign || is_buffer(name) || (folder && **name == *head)
        };
        let left = self.checkpoint.tensors().map(Tensor::name).filter(|name| !expected(name));
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
