//! The pages of all layers for the same positions.

use bantam_tensor::kernels::attention::{KvStorage, Page};

use super::State;
use crate::Error;
use crate::description::Description;

/// The pages of all layers for [`PAGE`](bantam_tensor::kernels::attention::PAGE) positions, shared with the states that
/// it is from and that go on from it.
///
/// A layer that sees a window only may be without its page: a sequence goes on from a chunk if the chunks within the
/// window before it are whole, so these are the checkpoints of such layers. (Layers with a recurrent state will keep
/// theirs, as it is behind the last position, in the same place.)
#[derive(Clone, Default)]
pub struct Chunk {
    pages: Vec<Option<Page>>,
}

impl Chunk {
    pub(super) fn new(pages: Vec<Option<Page>>) -> Self {
        Chunk { pages }
    }

    pub(super) fn page(&self, layer: usize) -> Option<&Page> {
        self.pages[layer].as_ref()
    }

    /// Bytes of its pages.
    pub fn bytes(&self) -> usize {
        self.pages.iter().flatten().map(Page::bytes).sum()
    }

    /// Whether a state has one of its pages, too.
    pub fn is_shared(&self) -> bool {
        self.pages.iter().flatten().any(Page::is_shared)
    }

    /// Lets go of the pages of layers that see a window only; tells whether there were any.
    pub fn forget_windows(&mut self, description: &Description) -> bool {
        let mut forgotten = false;
        for (page, layer) in self.pages.iter_mut().zip(&description.layers) {
            forgotten |= layer.window().is_some() && page.take().is_some();
        }
        forgotten
    }

    /// Takes over pages that it lacks from a chunk that holds the same.
    pub fn complete(&mut self, other: &Chunk) {
        for (page, other) in self.pages.iter_mut().zip(&other.pages) {
            if page.is_none() {
                page.clone_from(other);
            }
        }
    }

    /// Appends all of it: for each layer a byte that says whether its page is there, and the page.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        for page in &self.pages {
            out.push(u8::from(page.is_some()));
            if let Some(page) = page {
                page.write_to(out);
            }
        }
    }

    /// A chunk as [`Chunk::write_to`] wrote it, of a model with the same description; `bytes` goes on behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Chunk`] for bytes that are no chunk of this model.
    pub fn read_from(
        description: &Description,
        storage: KvStorage,
        bytes: &mut &[u8],
    ) -> Result<Self, Error> {
        let state = State::new(description, storage, 0);
        let pages = state.layers.iter().map(|layer| {
            let [is_there, rest @ ..] = *bytes else { return Err(Error::Chunk { reason: "ends too early" }) };
            *bytes = rest;
            match (*is_there, layer.window) {
                (0, Some(_)) => return Ok(None),
                (1, _) => {}
                _ => return Err(Error::Chunk { reason: "lacks a page that it must have" }),
            }
            let page = bytes.split_at_checked(layer.shape.page_bytes(storage));
            let (page, rest) = page.ok_or(Error::Chunk { reason: "ends within a page" })?;
            *bytes = rest;
            Ok(Page::read_from(layer.shape, storage, page))
        });
        Ok(Chunk { pages: pages.collect::<Result<_, Error>>()? })
    }
}
