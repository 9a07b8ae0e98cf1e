//! Keys and values that stand before a sequence's first token, as if some tokens had been read (prefix tuning, Li and
//! Liang, 2021): the state of a sequence that nobody wrote, learnt.
//!
//! Keys are as rotary positions leave them, in the order of the model's own rows.

use bantam_tensor::format::adapter::AdapterPrefix;
use bantam_tensor::{Source, Tensor};

use super::{refuse, row_order};
use crate::description::{Attention, Mixer};
use crate::names::{Role, Site};
use crate::{Error, Model};

/// Keys and values of virtual tokens.
#[derive(Clone, Debug)]
pub struct KvPrefix {
    /// Of each layer.
    pub layers: Vec<KvPrefixLayer>,
}

/// Keys and values of one layer, `[virtual tokens, num_kv_heads * head_dim]` each.
#[derive(Clone, Debug)]
pub struct KvPrefixLayer {
    /// As rotary positions leave them.
    pub keys: Tensor,
    /// As they are attended to.
    pub values: Tensor,
}

impl KvPrefixLayer {
    /// Those of a layer, whose rows have so many numbers.
    ///
    /// # Errors
    ///
    /// [`Error::File`] for numbers that are no whole rows.
    pub fn new(layer: usize, width: usize, keys: &[f32], values: &[f32]) -> Result<Self, Error> {
        let tensor = |part: &str, numbers: &[f32]| {
            let shape = vec![numbers.len() / width.max(1), width];
            Tensor::from_f32(format!("prefix.{layer}.{part}"), shape, numbers)
        };
        Ok(KvPrefixLayer { keys: tensor("keys", keys)?, values: tensor("values", values)? })
    }

    /// Both, the keys first.
    pub fn both(&self) -> [&Tensor; 2] {
        [&self.keys, &self.values]
    }
}

impl KvPrefix {
    /// Positions that it takes; the first token stands behind them.
    pub fn virtual_tokens(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.keys.rows())
    }

    /// Bytes of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().flat_map(KvPrefixLayer::both).map(|tensor| tensor.bytes().len()).sum()
    }

    /// Refuses one that is not for this model's layers.
    pub(super) fn check(&self, model: &Model) -> Result<(), Error> {
        let (found, wanted) = (self.layers.len(), model.description.layers.len());
        if found != wanted {
            return Err(other_size(format!("wanted {wanted} layers, found {found}")));
        }
        let (tokens, context) = (self.virtual_tokens(), model.description.context_length);
        if tokens == 0 || tokens >= context {
            let reason = format!("it has {tokens} virtual tokens; wanted some, and fewer than {context}");
            return Err(other_size(reason));
        }
        for (place, layer) in self.layers.iter().enumerate() {
            let wanted = [tokens, attention(model, place).kv_width()];
            if let Some(tensor) = layer.both().into_iter().find(|tensor| tensor.shape() != wanted) {
                let found = tensor.shape();
                return Err(other_size(format!("wanted {wanted:?} in layer {place}, found {found:?}")));
            }
        }
        Ok(())
    }

    /// The prefix of a PEFT folder.
    pub(super) fn bind(file: &AdapterPrefix, model: &Model) -> Result<Self, Error> {
        let (found, wanted) = (file.num_layers, model.description.layers.len());
        if found != wanted {
            return Err(other_size(format!("wanted {wanted} layers, found {found}")));
        }
        let rows = file.rows.to_f32();
        let layer = |place: usize| {
            let Attention { num_kv_heads, head_dim, .. } = *attention(model, place);
            let (found, width) = ((file.num_kv_heads, file.width()), num_kv_heads * head_dim);
            if found != (num_kv_heads, width) {
                let reason = format!("wanted {num_kv_heads} heads and a width of {width}, found {found:?}");
                return Err(other_size(reason));
            }
            let part = |part: usize| -> Vec<f32> {
                let tokens = rows.chunks_exact(file.rows.cols());
                tokens.flat_map(|row| &row[(2 * place + part) * width..][..width]).copied().collect()
            };
            let keys = in_order(part(0), order(place, model, Source::Folder, model.source));
            KvPrefixLayer::new(place, width, &keys, &part(1))
        };
        let layers = (0..wanted).map(layer).collect::<Result<_, Error>>()?;
        let prefix = KvPrefix { layers };
        prefix.check(model)?;
        Ok(prefix)
    }

    /// What a PEFT folder holds of it.
    pub(super) fn to_file(&self, model: &Model) -> Result<AdapterPrefix, Error> {
        let (tokens, num_layers) = (self.virtual_tokens(), self.layers.len());
        let Attention { num_kv_heads, head_dim, .. } = *attention(model, 0);
        let width = num_kv_heads * head_dim;
        if self.layers.iter().any(|layer| layer.keys.cols() != width) {
            return Err(other_size("its layers differ in width, for which PEFT has no form".into()));
        }
        let mut rows = vec![0.0; tokens * num_layers * 2 * width];
        for (place, layer) in self.layers.iter().enumerate() {
            let keys = in_order(layer.keys.to_f32(), order(place, model, model.source, Source::Folder));
            for (part, values) in [keys, layer.values.to_f32()].iter().enumerate() {
                let places = rows.chunks_exact_mut(num_layers * 2 * width);
                for (row, values) in places.zip(values.chunks_exact(width)) {
                    row[(2 * place + part) * width..][..width].copy_from_slice(values);
                }
            }
        }
        let rows = Tensor::from_f32("prefix", vec![tokens, num_layers * 2 * width], &rows)?;
        Ok(AdapterPrefix { rows, num_layers, num_kv_heads })
    }
}

fn attention(model: &Model, layer: usize) -> &Attention {
    let Mixer::Attention(attention) = &model.description.layers[layer].mixer;
    attention
}

/// Where each number of a key comes from, from one kind of checkpoint to another.
fn order(layer: usize, model: &Model, from: Source, to: Source) -> Option<Vec<usize>> {
    row_order(Site { layer, role: Role::Key }, model, from, to)
}

/// The same rows with their numbers in another order.
fn in_order(values: Vec<f32>, order: Option<Vec<usize>>) -> Vec<f32> {
    let Some(order) = order else { return values };
    let rows = values.chunks_exact(order.len());
    rows.flat_map(|row| order.iter().map(|from| row[*from])).collect()
}

fn other_size(reason: String) -> Error {
    refuse("prefix", reason)
}
