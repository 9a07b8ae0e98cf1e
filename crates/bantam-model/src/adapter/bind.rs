//! From an adapter's file to a model's projections, and back.
//!
//! A file of either form binds to a base of either form: names are looked up in the file's scheme, and where
//! converters re-order the rows of queries and keys, the rows of `B` are re-ordered likewise.

use std::collections::HashMap;
use std::ops::Range;

use bantam_tensor::format::adapter::{AdapterFile, AdapterForm, AdapterPair};
use bantam_tensor::kernels::matmul::Layout;
use bantam_tensor::kernels::{Isa, Machine};
use bantam_tensor::{Bytes, Source, Tensor};

use super::low_rank::transposed;
use super::{Adapter, KvPrefix, LowRank, Magnitude, Site, refuse};
use crate::description::Mixer;
use crate::names::{GgufRows, Prefix, Role};
use crate::weights::{Linear, Matrix};
use crate::{Error, Model};

/// Whether an adapter must have been made for the very base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaseCheck {
    /// Its fingerprint, where it carries one, must be the model's.
    #[default]
    Fingerprint,
    /// Shapes alone must fit.
    Shapes,
}

impl Adapter {
    /// The adapter of a file, for a model.
    ///
    /// # Errors
    ///
    /// [`Error::OtherBase`]; [`Error::Adapter`] with the module that the model does not have, or has in another size.
    pub fn bind(file: &AdapterFile, model: &Model, check: BaseCheck) -> Result<Self, Error> {
        check_base(file, model, check)?;
        let targets = targets(model, source_of(file.form));
        let mut parts: HashMap<Site, Vec<LowRank>> = HashMap::new();
        let is_turned = is_turned(file, &targets, model)?;
        for pair in &file.pairs {
            let target = targets.get(&pair.module).ok_or_else(|| unknown_module(pair, file, model))?;
            let part = match is_turned {
                true => target.fit(&turned(pair)?, file.form, model)?,
                false => target.fit(pair, file.form, model)?,
            };
            parts.entry(target.site).or_default().push(part);
        }
        let mut adapter = Adapter::default();
        for (site, parts) in parts {
            let parts: Vec<(&LowRank, f32)> = parts.iter().map(|part| (part, 1.0)).collect();
            let whole = LowRank::sum(&parts).map_err(|reason| refuse(&site.to_string(), reason))?;
            adapter.sites.insert(site, whole);
        }
        adapter.prefix = file.prefix.as_ref().map(|prefix| KvPrefix::bind(prefix, model)).transpose()?;
        adapter.settle(&Machine::new(Isa::best(), 1), model);
        Ok(adapter)
    }

    /// What a file of this form holds of the adapter; it carries the model's fingerprint.
    ///
    /// # Errors
    ///
    /// [`Error::Adapter`] for projections that the form has no name for.
    pub fn to_file(&self, model: &Model, form: AdapterForm) -> Result<AdapterFile, Error> {
        self.check(model)?;
        let folded = self.folded()?;
        let pairs =
            folded.sites.iter().map(|(site, low_rank)| pair_of(*site, low_rank, model, source_of(form)));
        let mut pairs = pairs.collect::<Result<Vec<_>, Error>>()?;
        pairs.sort_by(|a, b| a.module.cmp(&b.module));
        Ok(AdapterFile {
            form,
            pairs,
            prefix: folded.prefix.map(|prefix| prefix.to_file(model)).transpose()?,
            fingerprint: Some(model.fingerprint()),
            base_name: None,
            architecture: Some(model.gguf_architecture().to_owned()),
            base_layout: model.naming.hugging_face.layout(),
        })
    }
}

fn check_base(file: &AdapterFile, model: &Model, check: BaseCheck) -> Result<(), Error> {
    if check == BaseCheck::Shapes {
        return Ok(());
    }
    let wanted = model.fingerprint();
    if let Some(found) = file.fingerprint.as_ref().filter(|found| **found != wanted) {
        return Err(Error::OtherBase { wanted, found: found.clone() });
    }
    match &file.architecture {
        Some(found) if found != model.gguf_architecture() => {
            let reason = format!("it is for \"{found}\", the model is \"{}\"", model.gguf_architecture());
            Err(refuse("architecture", reason))
        }
        _ => Ok(()),
    }
}

/// The kind of checkpoint whose names a form uses.
fn source_of(form: AdapterForm) -> Source {
    match form {
        AdapterForm::Peft | AdapterForm::Mlx => Source::Folder,
        AdapterForm::Gguf => Source::Gguf,
    }
}

/// Which outputs of a projection a module of a file stands for.
struct Target {
    site: Site,
    inputs: usize,
    outputs: usize,
    /// Among the outputs.
    rows: Range<usize>,
}

/// Every name that a file may use. A matrix that lies fused in the model may come in parts.
fn targets(model: &Model, source: Source) -> HashMap<String, Target> {
    let mut targets = HashMap::new();
    let names = model.naming.of(source);
    let mut add = |linear: &Linear, role: Role, rows: Range<usize>| {
        let Some(name) = names.of(role, linear.site.layer) else { return };
        let Matrix { inputs, outputs, .. } = linear.matrix;
        for prefix in Prefix::ALL {
            let target = Target { site: linear.site, inputs, outputs, rows: rows.clone() };
            targets.entry(prefix.apply(&name)).or_insert(target);
        }
    };
    for linear in model.linears() {
        add(linear, linear.site.role, 0..linear.matrix.outputs);
    }
    for linear in model.linears() {
        for (role, rows) in parts_of(linear, model) {
            add(linear, role, rows);
        }
    }
    targets
}

/// The projections that a fused one consists of.
fn parts_of(linear: &Linear, model: &Model) -> Vec<(Role, Range<usize>)> {
    let outputs = linear.matrix.outputs;
    match linear.site.role {
        Role::QueryKeyValue => {
            let Mixer::Attention(attention) = &model.description.layers[linear.site.layer].mixer;
            let (queries, keys) = (attention.query_width(), attention.kv_width());
            vec![
                (Role::Query, 0..queries),
                (Role::Key, queries..queries + keys),
                (Role::Value, queries + keys..outputs),
            ]
        }
        Role::GateUp => vec![(Role::Gate, 0..outputs / 2), (Role::Up, outputs / 2..outputs)],
        _ => Vec::new(),
    }
}

impl Target {
    /// The product of a pair, for the whole of the site's outputs.
    fn fit(&self, pair: &AdapterPair, form: AdapterForm, model: &Model) -> Result<LowRank, Error> {
        let (inputs, outputs) = (pair.a.cols(), pair.b.rows());
        if (inputs, outputs) != (self.inputs, self.rows.len()) {
            let reason = format!(
                "wanted {} inputs and {} outputs, found {inputs} and {outputs}",
                self.inputs,
                self.rows.len()
            );
            return Err(refuse(&pair.module, reason));
        }
        let mut b = match row_order(self.site, model, source_of(form), model.source) {
            Some(order) => in_order(&pair.b, &order)?,
            None => pair.b.clone(),
        };
        if self.rows.len() < self.outputs {
            b = among_zeros(&b, &self.rows, self.outputs)?;
        }
        let magnitude = match &pair.magnitude {
            Some(lengths) => Some(self.magnitude(pair, lengths, form, model)?),
            None => None,
        };
        Ok(LowRank { magnitude, ..LowRank::of(pair.a.clone(), b, pair.scale) })
    }

    /// The lengths of the rows of a pair.
    fn magnitude(
        &self,
        pair: &AdapterPair,
        lengths: &Tensor,
        form: AdapterForm,
        model: &Model,
    ) -> Result<Magnitude, Error> {
        let refuse = |reason: String| refuse(&pair.module, reason);
        if self.rows.len() < self.outputs {
            return Err(refuse(
                "it gives a part of a fused matrix lengths (DoRA), which bantam cannot".into(),
            ));
        }
        if lengths.elements() != self.outputs {
            let found = lengths.elements();
            return Err(refuse(format!("wanted {} lengths of rows, found {found}", self.outputs)));
        }
        let lengths = match row_order(self.site, model, source_of(form), model.source) {
            Some(order) => lengths_in_order(lengths, &order)?,
            None => lengths.clone(),
        };
        let linear = model.linears().find(|linear| linear.site == self.site);
        let linear = linear.ok_or_else(|| refuse("the model has no such projection".into()))?;
        Ok(Magnitude::new(linear, lengths))
    }
}

/// Whether a GGUF file holds its pairs transposed, `lora_a` being `Bᵀ` and `lora_b` `Aᵀ`. llama.cpp's converter leaves
/// them so for models whose checkpoints store projections transposed: it turns them together with the weights,
/// though PEFT's pairs are never stored that way, and llama.cpp refuses the result. Shapes tell, unless all are square.
fn is_turned(file: &AdapterFile, targets: &HashMap<String, Target>, model: &Model) -> Result<bool, Error> {
    let may_be = file.form == AdapterForm::Gguf
        && file.fingerprint.is_none()
        && model.naming.hugging_face.layout() == Layout::InOut;
    if !may_be {
        return Ok(false);
    }
    let known = file.pairs.iter().filter_map(|pair| Some((pair, targets.get(&pair.module)?)));
    let mut long = known.filter(|(_, target)| target.inputs != target.rows.len());
    match long.next() {
        Some((pair, target)) => Ok((pair.b.rows(), pair.a.cols()) == (target.inputs, target.rows.len())),
        None => {
            let reason = "it changes square matrices alone, and llama.cpp's converter leaves those of this family \
                          transposed: whether these are cannot be told; take the adapter's PEFT folder";
            let module = file.pairs.first().map_or("adapter", |pair| &pair.module);
            Err(refuse(module, reason.into()))
        }
    }
}

/// The pair of the transposed product.
fn turned(pair: &AdapterPair) -> Result<AdapterPair, Error> {
    let turn = |tensor: &Tensor| {
        let shape = vec![tensor.cols(), tensor.rows()];
        Tensor::from_f32(tensor.name(), shape, &transposed(&tensor.to_f32(), tensor.cols()))
    };
    Ok(AdapterPair { a: turn(&pair.b)?, b: turn(&pair.a)?, ..pair.clone() })
}

/// The matrix as some rows of a higher one that is zero elsewhere.
fn among_zeros(b: &Tensor, rows: &Range<usize>, outputs: usize) -> Result<Tensor, Error> {
    let width = b.cols();
    let mut values = vec![0.0; outputs * width];
    values[rows.start * width..rows.end * width].copy_from_slice(&b.to_f32());
    Ok(Tensor::from_f32(b.name(), vec![outputs, width], &values)?)
}

/// Where each row of a projection comes from when it goes from one kind of checkpoint to another; `None` where they lie
/// alike. The order is that of `permute` in llama.cpp's converter.
pub(crate) fn row_order(site: Site, model: &Model, from: Source, to: Source) -> Option<Vec<usize>> {
    let turns = matches!(site.role, Role::Query | Role::Key);
    if !turns || from == to || model.naming.gguf_rows == GgufRows::Same {
        return None;
    }
    let Mixer::Attention(attention) = &model.description.layers[site.layer].mixer;
    let (dim, half) = (attention.head_dim, attention.head_dim / 2);
    let heads = if site.role == Role::Query { attention.num_heads } else { attention.num_kv_heads };
    let within = |row: usize| match to {
        Source::Gguf => row % 2 * half + row / 2,
        Source::Folder => row % half * 2 + row / half,
    };
    Some((0..heads * dim).map(|row| row / dim * dim + within(row % dim)).collect())
}

/// The same rows in another order, in their own bits.
pub(crate) fn in_order(tensor: &Tensor, order: &[usize]) -> Result<Tensor, Error> {
    let (width, from) = (tensor.row_bytes(), tensor.bytes());
    let mut bytes = Vec::with_capacity(from.len());
    for row in order {
        bytes.extend_from_slice(&from[row * width..][..width]);
    }
    Ok(Tensor::new(tensor.name(), tensor.shape().to_vec(), tensor.storage(), Bytes::from(bytes))?)
}

fn lengths_in_order(lengths: &Tensor, order: &[usize]) -> Result<Tensor, Error> {
    let from = lengths.to_f32();
    let to: Vec<f32> = order.iter().map(|row| from[*row]).collect();
    Ok(Tensor::from_f32(lengths.name(), vec![to.len()], &to)?)
}

fn pair_of(site: Site, low_rank: &LowRank, model: &Model, to: Source) -> Result<AdapterPair, Error> {
    let module = model.naming.of(to).of(site.role, site.layer);
    let module = module.ok_or_else(|| refuse(&site.to_string(), "the form has no name for it".into()))?;
    if to == Source::Gguf && is_tied_head(site, model) {
        let reason =
            "the head is the table of tokens, to which llama.cpp would apply it, too; merge it instead";
        return Err(refuse(&module, reason.into()));
    }
    let mut b = low_rank.b.in_rows()?;
    let mut magnitude = low_rank.magnitude.as_ref().map(|magnitude| magnitude.lengths.clone());
    if let Some(order) = row_order(site, model, model.source, to) {
        b = in_order(&b, &order)?;
        magnitude = magnitude.map(|lengths| lengths_in_order(&lengths, &order)).transpose()?;
    }
    Ok(AdapterPair { module, a: low_rank.a.in_rows()?, b, scale: low_rank.scale, magnitude })
}

fn is_tied_head(site: Site, model: &Model) -> bool {
    site.role == Role::Head && model.weights.head.matrix.tensor.name() == model.weights.embed.tensor.name()
}

fn unknown_module(pair: &AdapterPair, file: &AdapterFile, model: &Model) -> Error {
    let names = model.naming.of(source_of(file.form));
    let known = model.linears().next().and_then(|linear| names.of(linear.site.role, linear.site.layer));
    let reason = format!(
        "the model has no such projection; its first is called {}",
        known.unwrap_or_else(|| "otherwise".into())
    );
    refuse(&pair.module, reason)
}
