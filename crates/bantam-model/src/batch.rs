//! Rows of tokens, each with its sequence and position: one call's work, ragged.

use std::ops::Range;
use std::sync::Arc;

use crate::{Adapter, Error, Model};

/// Consecutive rows of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where in the batch.
    pub rows: Range<usize>,
    /// The position of the first row.
    pub position: usize,
    /// How long the sequence may become; some rotary scalings depend on it.
    pub length_max: usize,
    /// Which of the batch's adapters changes the model for it.
    pub adapter: Option<usize>,
    /// The earlier span of this batch that it continues, rather than a state. Several may continue one, and so on: what
    /// sequences have in common at their beginnings is there once. Only what records a pass knows such spans.
    pub behind: Option<usize>,
}

/// The rows of one forward pass: prefill, decode and verification differ only in how many there are.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One for each row.
    pub tokens: Vec<u32>,
    /// In the order of the rows, which they cover without gaps.
    pub spans: Vec<Span>,
    /// Rows whose logits are wanted, in order.
    pub wanted: Vec<usize>,
    /// Rows whose last hidden states are wanted, in order.
    pub hidden: Vec<usize>,
    /// What spans may be changed by.
    pub adapters: Vec<Arc<Adapter>>,
}

/// What rows of a span should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// The last one logits.
    Last,
    /// All of them logits.
    All,
    /// All of them their last hidden states.
    Hidden,
}

impl Batch {
    /// Adds tokens of a sequence, the first at `position`.
    pub fn push(&mut self, tokens: &[u32], position: usize, length_max: usize, want: Want) {
        let begin = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let rows = begin..self.tokens.len();
        match want {
            Want::Nothing => {}
            Want::Last => self.wanted.extend(rows.end.checked_sub(1).filter(|_| !rows.is_empty())),
            Want::All => self.wanted.extend(rows.clone()),
            Want::Hidden => self.hidden.extend(rows.clone()),
        }
        self.spans.push(Span { rows, position, length_max, adapter: None, behind: None });
    }

    /// Has the last span changed by an adapter.
    pub fn adapt(&mut self, adapter: &Arc<Adapter>) {
        let place = self.adapters.iter().position(|known| Arc::ptr_eq(known, adapter));
        let place = place.unwrap_or_else(|| {
            self.adapters.push(Arc::clone(adapter));
            self.adapters.len() - 1
        });
        if let Some(span) = self.spans.last_mut() {
            span.adapter = Some(place);
        }
    }

    /// Has the last span continue an earlier one of the batch.
    ///
    /// # Panics
    ///
    /// If that is none of the batch, or does not end where the last span begins.
    pub fn continue_span(&mut self, place: usize) {
        let before = &self.spans[place];
        let end = before.position + before.rows.len();
        assert!(place + 1 < self.spans.len(), "an earlier span");
        if let Some(span) = self.spans.last_mut() {
            assert_eq!(span.position, end, "a span that goes on where the other ends");
            span.behind = Some(place);
        }
    }

    /// The position of each row.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.spans.iter().flat_map(|span| span.position..span.position + span.rows.len())
    }

    /// How many wanted rows there are before a row.
    pub(crate) fn wanted_before(&self, row: usize) -> usize {
        self.wanted.partition_point(|wanted| *wanted < row)
    }

    /// Refuses tokens and positions that the model does not have.
    pub fn check(&self, model: &Model) -> Result<(), Error> {
        let vocab_size = model.description.vocab_size;
        if let Some(&token) = self.tokens.iter().find(|token| **token as usize >= vocab_size) {
            return Err(Error::Token { token, vocab_size });
        }
        if let Some(table) = &model.weights.positions {
            let limit = table.outputs;
            let beyond = self.positions().find(|position| *position >= limit);
            if let Some(position) = beyond {
                return Err(Error::Position { position, limit, what: "the model has learned" });
            }
        }
        Ok(())
    }
}
