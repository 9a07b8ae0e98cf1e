//! What a sequence leaves behind for its next tokens: keys and values of each layer, in pages.
//!
//! Clones share their pages. Whoever writes to a page that others have, too, gets a copy of his own first, so that a
//! fork costs its last page at most. [`Chunk`]s are what sequences hand to each other: the pages of all layers for the
//! same positions.

mod chunk;

use bantam_tensor::kernels::attention::{KvShape, KvStorage, PAGE, Page, append};
use bantam_tensor::kernels::{Isa, Machine};

use crate::KvPrefix;
use crate::description::{Description, Layer, Mixer};

pub use chunk::Chunk;

/// The state of one sequence.
#[derive(Clone)]
pub struct State {
    layers: Vec<LayerState>,
    storage: KvStorage,
    length: usize,
    length_max: usize,
}

/// Of one layer. Other kinds of mixers will have other states here.
#[derive(Clone)]
struct LayerState {
    shape: KvShape,
    /// A token sees so many positions, its own among them; all earlier ones if `None`.
    window: Option<usize>,
    /// Pages before this one are not there: they lie before the window of all tokens to come.
    first: usize,
    pages: Vec<Page>,
}

/// Tokens that can be taken back at any time, whatever lies behind a window.
pub const REWIND_MAX: usize = PAGE;

impl State {
    /// Of a sequence that has no tokens yet and may become `length_max` long.
    pub fn new(description: &Description, storage: KvStorage, length_max: usize) -> Self {
        let layers = description.layers.iter().map(LayerState::new).collect();
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

    /// Begins with keys and values that no token gave, as if so many had been read. What it held before is gone.
    ///
    /// # Panics
    ///
    /// For a prefix of another model, which [`crate::Adapter::check`] refuses.
    pub fn begin(&mut self, prefix: &KvPrefix) {
        self.truncate(0);
        assert_eq!(prefix.layers.len(), self.layers.len(), "a prefix for this model");
        // Rows are too few to share among threads.
        let machine = Machine::new(Isa::best(), 1);
        for (layer, of) in prefix.layers.iter().enumerate() {
            self.put(&machine, layer, &of.keys.to_f32(), &of.values.to_f32());
        }
        self.advance(prefix.virtual_tokens());
    }

    /// Goes back to the first `length` tokens; to none of them where the window of the next is no longer there.
    pub fn truncate(&mut self, length: usize) {
        let length = self.length.min(length);
        let is_there = self.layers.iter().all(|layer| layer.first <= layer.first_seen_at(length));
        self.length = if is_there { length } else { 0 };
        for layer in &mut self.layers {
            layer.truncate(self.length);
        }
    }

    /// Lets go of pages that no later token sees, but for what [`REWIND_MAX`] tokens that are taken back would need.
    pub fn forget_unseen(&mut self) {
        let length = self.length.saturating_sub(REWIND_MAX);
        for layer in &mut self.layers {
            layer.forget_before(layer.first_seen_at(length));
        }
    }

    /// Takes over the first `length` tokens of consecutive chunks, or fewer where a window is missing: then as many as
    /// there can be. What it held before is gone.
    pub fn resume(&mut self, chunks: &[&Chunk], length: usize) {
        self.length = self.resumable(chunks, length.min(chunks.len() * PAGE).min(self.length_max));
        let end = self.length.div_ceil(PAGE);
        for (place, layer) in self.layers.iter_mut().enumerate() {
            layer.first = layer.first_seen_at(self.length);
            let pages = chunks[layer.first..end].iter().filter_map(|chunk| chunk.page(place));
            layer.pages = pages.cloned().collect();
        }
    }

    fn resumable(&self, chunks: &[&Chunk], mut length: usize) -> usize {
        // The last chunk that lacks a page which the token behind `length` sees.
        let missing = |length: usize| {
            let of = |(place, layer): (usize, &LayerState)| {
                let mut seen = layer.first_seen_at(length)..length.div_ceil(PAGE);
                seen.rfind(|index| chunks[*index].page(place).is_none())
            };
            self.layers.iter().enumerate().filter_map(of).max()
        };
        while let Some(index) = missing(length) {
            length = index * PAGE;
        }
        length
    }

    /// The pages of all layers for the positions from `index * PAGE` on, as far as they are there.
    pub fn chunk(&self, index: usize) -> Chunk {
        Chunk::new(self.layers.iter().map(|layer| layer.page(index).cloned()).collect())
    }

    /// Goes on with the pages of a chunk that holds the same as its own.
    pub fn adopt(&mut self, index: usize, chunk: &Chunk) {
        for (place, layer) in self.layers.iter_mut().enumerate() {
            if let (Some(own), Some(page)) = (layer.page_mut(index), chunk.page(place)) {
                own.clone_from(page);
            }
        }
    }

    /// Bytes in use, shared ones too.
    pub fn bytes(&self) -> usize {
        self.pages_of_all().map(Page::bytes).sum()
    }

    /// Bytes of pages that nobody else has.
    pub fn own_bytes(&self) -> usize {
        self.pages_of_all().filter(|page| !page.is_shared()).map(Page::bytes).sum()
    }

    fn pages_of_all(&self) -> impl Iterator<Item = &Page> {
        self.layers.iter().flat_map(|layer| &layer.pages)
    }

    /// Bytes of the pages that so many more tokens take, copies of shared ones that they are written to among them.
    pub fn growth_bytes(&self, rows: usize) -> usize {
        let pages = (self.length + rows).div_ceil(PAGE) - self.length.div_ceil(PAGE);
        let of = |layer: &LayerState| {
            let is_copied = rows > 0
                && !self.length.is_multiple_of(PAGE)
                && layer.pages.last().is_some_and(Page::is_shared);
            layer.shape.page_bytes(self.storage) * (pages + usize::from(is_copied))
        };
        self.layers.iter().map(of).sum()
    }

    /// Bytes that a sequence of this length takes when it is read at once.
    pub fn bytes_at(description: &Description, storage: KvStorage, length: usize) -> usize {
        let empty = State::new(description, storage, length);
        let pages = length.div_ceil(PAGE);
        let of = |layer: &LayerState| layer.shape.page_bytes(storage).saturating_mul(pages);
        empty.layers.iter().map(of).fold(0, usize::saturating_add)
    }

    /// Puts the keys and values of the positions from `length` on of a layer, `[rows][kv_width]` each.
    pub(crate) fn put(&mut self, machine: &Machine, layer: usize, keys: &[f32], values: &[f32]) {
        let LayerState { shape, first, pages, .. } = &mut self.layers[layer];
        let rows = keys.len() / (shape.num_kv_heads * shape.head_dim);
        let end = (self.length + rows).div_ceil(PAGE) - *first;
        while pages.len() < end {
            pages.push(Page::new(*shape, self.storage));
        }
        let begin = self.length / PAGE - *first;
        append(machine, &mut pages[begin..end], self.length % PAGE, keys, values);
    }

    /// The pages of a layer that are there, and the position of the first.
    pub(crate) fn pages(&self, layer: usize) -> (&[Page], usize) {
        let LayerState { first, pages, .. } = &self.layers[layer];
        (pages, first * PAGE)
    }

    /// The tokens whose keys and values were put are part of the sequence now.
    pub(crate) fn advance(&mut self, count: usize) {
        self.length += count;
    }
}

impl LayerState {
    fn new(layer: &Layer) -> Self {
        let Mixer::Attention(a) = &layer.mixer;
        let shape = KvShape { num_kv_heads: a.num_kv_heads, head_dim: a.head_dim };
        LayerState { shape, window: layer.window(), first: 0, pages: Vec::new() }
    }

    /// The first page that a token at a position sees.
    fn first_seen_at(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window) / PAGE)
    }

    fn truncate(&mut self, length: usize) {
        if length == 0 {
            self.first = 0;
        }
        self.pages.truncate(length.div_ceil(PAGE).saturating_sub(self.first));
    }

    fn forget_before(&mut self, page: usize) {
        let count = page.saturating_sub(self.first).min(self.pages.len());
        self.pages.drain(..count);
        self.first += count;
    }

    fn page(&self, index: usize) -> Option<&Page> {
        self.pages.get(index.checked_sub(self.first)?)
    }

    fn page_mut(&mut self, index: usize) -> Option<&mut Page> {
        self.pages.get_mut(index.checked_sub(self.first)?)
    }
}
