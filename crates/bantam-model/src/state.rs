//! What a sequence leaves behind for its next tokens: keys and values of each layer, in pages.

use bantam_tensor::kernels::Machine;
use bantam_tensor::kernels::attention::{KvShape, KvStorage, PAGE, Page, append};

use crate::description::{Description, Mixer};

/// The state of one sequence.
#[derive(Clone)]
pub struct State {
    layers: Vec<LayerState>,
    storage: KvStorage,
    length: usize,
    length_max: usize,
}

#[derive(Clone)]
struct LayerState {
    shape: KvShape,
    pages: Vec<Page>,
}

impl State {
    /// Of a sequence that has no tokens yet and may become `length_max` long.
    pub fn new(description: &Description, storage: KvStorage, length_max: usize) -> Self {
        let shapes = description.layers.iter().map(|layer| {
            let Mixer::Attention(a) = &layer.mixer;
            KvShape { num_kv_heads: a.num_kv_heads, head_dim: a.head_dim }
        });
        let layers = shapes.map(|shape| LayerState { shape, pages: Vec::new() }).collect();
        State { layers, storage, length: 0, length_max }
    }

    /// Tokens so far.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Tokens at most.
    pub fn length_max(&self) -> usize {
        self.length_max
    }

    /// Goes back to the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        for layer in &mut self.layers {
            layer.pages.truncate(self.length.div_ceil(PAGE));
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flat_map(|layer| &layer.pages).map(Page::bytes).sum()
    }

    /// Bytes that a sequence of this length takes.
    pub fn bytes_at(description: &Description, storage: KvStorage, length: usize) -> usize {
        let empty = State::new(description, storage, length);
        let pages = length.div_ceil(PAGE);
        empty.layers.iter().map(|layer| layer.shape.page_bytes(storage) * pages).sum()
    }

    /// Puts the keys and values of the positions from `length` on of a layer, `[rows][kv_width]` each.
    pub(crate) fn put(&mut self, machine: &Machine, layer: usize, keys: &[f32], values: &[f32]) {
        let LayerState { shape, pages } = &mut self.layers[layer];
        let rows = keys.len() / (shape.num_kv_heads * shape.head_dim);
        let end = (self.length + rows).div_ceil(PAGE);
        while pages.len() < end {
            pages.push(Page::new(*shape, self.storage));
        }
        append(machine, &mut pages[self.length / PAGE..end], self.length % PAGE, keys, values);
    }

    pub(crate) fn pages(&self, layer: usize) -> &[Page] {
        &self.layers[layer].pages
    }

    /// The tokens whose keys and values were put are part of the sequence now.
    pub(crate) fn advance(&mut self, count: usize) {
        self.length += count;
    }
}
