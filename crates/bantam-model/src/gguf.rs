//! A model of a folder as a GGUF file: other names, other orders of rows, the config in other words.

use bantam_tensor::format::gguf::Value;
use bantam_tensor::{Source, Tensor};

use crate::adapter::{in_order, row_order};
use crate::description::*;
use crate::names::Role;
use crate::weights::{LayerWeights, Linear, NormWeights, Vector};
use crate::{Error, Model};

/// What a GGUF file says of a model, apart from its tokeniser.
#[derive(Debug)]
pub struct GgufParts {
    /// Keys and values, `general.architecture` first.
    pub metadata: Vec<(String, Value)>,
    /// The weights: matrices in their own storage, vectors in f32.
    pub tensors: Vec<Tensor>,
}

impl Model {
    /// The parts of a GGUF file of this model, which is of a folder. `rope_theta` is the base of its angles, which a
    /// description holds no more.
    ///
    /// What has no common key, such as a scaled rope or a multiplier, is not written: whoever writes the file should see
    /// that both compute the same.
    ///
    /// # Errors
    ///
    /// A tensor that cannot be.
    pub fn gguf_parts(&self, rope_theta: f32) -> Result<GgufParts, Error> {
        let mut export = Export { model: self, tensors: Vec::new() };
        export.all()?;
        Ok(GgufParts { metadata: metadata(self, rope_theta), tensors: export.tensors })
    }
}

fn metadata(model: &Model, rope_theta: f32) -> Vec<(String, Value)> {
    let d = &model.description;
    let architecture = model.gguf_architecture();
    let mut keys = vec![("general.architecture".to_owned(), Value::from(architecture))];
    let mut set = |key: &str, value: Value| keys.push((format!("{architecture}.{key}"), value));
    let number = |value: usize| Value::from(value as u32);
    set("context_length", number(d.context_length));
    set("embedding_length", number(d.hidden_size));
    set("block_count", number(d.layers.len()));
    set("vocab_size", number(d.vocab_size));
    let epsilon = match d.norm.kind {
        NormKind::Rms => "attention.layer_norm_rms_epsilon",
        NormKind::Layer => "attention.layer_norm_epsilon",
    };
    set(epsilon, d.norm.eps.into());
    let Some(layer) = d.layers.first() else { return keys };
    let (Mlp::Gated { intermediate_size, .. } | Mlp::Plain { intermediate_size, .. }) = &layer.mlp;
    set("feed_forward_length", number(*intermediate_size));
    let Mixer::Attention(attention) = &layer.mixer;
    set("attention.head_count", number(attention.num_heads));
    set("attention.head_count_kv", number(attention.num_kv_heads));
    set("attention.key_length", number(attention.head_dim));
    set("attention.value_length", number(attention.head_dim));
    if attention.rope.is_some() {
        set("rope.freq_base", rope_theta.into());
        set("rope.dimension_count", number(attention.head_dim));
    }
    keys
}

/// Tensors under their new names.
struct Export<'a> {
    model: &'a Model,
    tensors: Vec<Tensor>,
}

impl Export<'_> {
    fn all(&mut self) -> Result<(), Error> {
        let weights = &self.model.weights;
        self.table(Role::Embed, &weights.embed.tensor)?;
        if let Some(positions) = &weights.positions {
            self.table(Role::Positions, &positions.tensor)?;
        }
        for (place, layer) in weights.layers.iter().enumerate() {
            self.layer(place, layer)?;
        }
        self.norm(Role::FinalNorm, 0, Some(&weights.norm))?;
        if self.model.is_tied() {
            return Ok(());
        }
        self.linear(&weights.head)
    }

    fn layer(&mut self, place: usize, layer: &LayerWeights) -> Result<(), Error> {
        for linear in layer.linears() {
            self.linear(linear)?;
        }
        for (role, norm) in [
            (Role::MixerNormBefore, &layer.mixer_before),
            (Role::MixerNormAfter, &layer.mixer_after),
            (Role::MlpNormBefore, &layer.mlp_before),
            (Role::MlpNormAfter, &layer.mlp_after),
            (Role::QueryNorm, &layer.mixer.query_norm),
            (Role::KeyNorm, &layer.mixer.key_norm),
        ] {
            self.norm(role, place, norm.as_ref())?;
        }
        Ok(())
    }

    fn table(&mut self, role: Role, tensor: &Tensor) -> Result<(), Error> {
        self.push(role, 0, "weight", tensor)
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Error> {
        let (site, matrix) = (linear.site, &linear.matrix);
        let plain = matrix.in_rows()?;
        let order = row_order(site, self.model, Source::Folder, Source::Gguf);
        let ordered = match &order {
            Some(order) => in_order(&plain, order)?,
            None => plain,
        };
        self.push(site.role, site.layer, "weight", &ordered)?;
        let Some(bias) = &linear.bias else { return Ok(()) };
        let values = match order {
            Some(order) => order.iter().map(|row| bias.values[*row]).collect(),
            None => bias.values.to_vec(),
        };
        self.values(site.role, site.layer, "bias", &values)
    }

    fn norm(&mut self, role: Role, layer: usize, norm: Option<&NormWeights>) -> Result<(), Error> {
        let Some(norm) = norm else { return Ok(()) };
        let mut push = |vector: &Option<Vector>, leaf: &str| match vector {
            Some(vector) => self.values(role, layer, leaf, &vector.values),
            None => Ok(()),
        };
        push(&norm.weight, "weight")?;
        push(&norm.bias, "bias")
    }

    fn values(&mut self, role: Role, layer: usize, leaf: &str, values: &[f32]) -> Result<(), Error> {
        let tensor = Tensor::from_f32("", vec![values.len()], values)?;
        self.push(role, layer, leaf, &tensor)
    }

    fn push(&mut self, role: Role, layer: usize, leaf: &str, tensor: &Tensor) -> Result<(), Error> {
        let Some(name) = self.model.naming.gguf.of(role, layer) else {
            return Err(Error::MissingTensor { name: leaf.into(), role: role.to_string() });
        };
        let (shape, storage, bytes) = (tensor.shape().to_vec(), tensor.storage(), tensor.bytes().clone());
        self.tensors.push(Tensor::new(format!("{name}.{leaf}"), shape, storage, bytes)?);
        Ok(())
    }
}
