//! What is learnt from: tokens, and which of them carry loss.

use bantam_model::{Adapter, Batch, Want};
use std::sync::Arc;

use crate::Error;

/// A sequence of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Whether a token is to be predicted from those before it; as many as tokens. The first cannot be.
    pub learn: Vec<bool>,
}

impl Example {
    /// A sequence whose tokens are all learnt.
    pub fn whole(ids: Vec<u32>) -> Self {
        let learn = vec![true; ids.len()];
        Example { ids, learn }
    }

    /// Tokens that carry loss.
    pub fn learnt_tokens(&self) -> usize {
        self.learn.iter().skip(1).filter(|learn| **learn).count()
    }
}

/// Sequences that go through the model together, without seeing each other.
pub(crate) struct Packed {
    pub(crate) batch: Batch,
    /// The token that each wanted row predicts.
    pub(crate) targets: Vec<u32>,
    /// How many of the targets belong to each example.
    pub(crate) counts: Vec<usize>,
}

impl Packed {
    pub(crate) fn new(examples: &[&Example], adapter: Option<&Arc<Adapter>>) -> Self {
        let mut packed = Packed { batch: Batch::default(), targets: Vec::new(), counts: Vec::new() };
        let ahead = adapter.map_or(0, |adapter| adapter.virtual_tokens());
        for example in examples {
            let begin = packed.batch.tokens.len();
            packed.batch.push(&example.ids, ahead, ahead + example.ids.len(), Want::Nothing);
            if let Some(adapter) = adapter {
                packed.batch.adapt(adapter);
            }
            for (place, learn) in example.learn.iter().enumerate().skip(1) {
                if *learn {
                    packed.batch.wanted.push(begin + place - 1);
                    packed.targets.push(example.ids[place]);
                }
            }
            packed.counts.push(example.learnt_tokens());
        }
        packed
    }
}

/// Refuses examples that nothing can be learnt from; gives the number of tokens that carry loss.
pub(crate) fn check(examples: &[&Example]) -> Result<usize, Error> {
    if examples.is_empty() {
        return Err(Error::EmptyBatch);
    }
    for (place, example) in examples.iter().enumerate() {
        let (tokens, learn) = (example.ids.len(), example.learn.len());
        if tokens != learn {
            return Err(Error::Mask { example: place, tokens, learn });
        }
    }
    match examples.iter().map(|example| example.learnt_tokens()).sum() {
        0 => Err(Error::NothingToLearn { examples: examples.len() }),
        learnt => Ok(learnt),
    }
}

/// Cuts examples, in their order, into groups of at most so many tokens, or of one example.
pub(crate) fn micro_batches<'a, 'e>(
    examples: &'a [&'e Example],
    tokens_max: usize,
) -> impl Iterator<Item = &'a [&'e Example]> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let rest = examples.get(begin..).filter(|rest| !rest.is_empty())?;
        let mut tokens = 0;
        let fit = rest.iter().take_while(|example| {
            tokens += example.ids.len();
            tokens <= tokens_max
        });
        let count = fit.count().max(1);
        begin += count;
        Some(&rest[..count])
    })
}
