//! What is learnt from: tokens, and which of them carry loss.

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

    /// The tokens that have to go through the model, at least one: those behind the last learnt token, and this itself,
    /// change no loss.
    pub(crate) fn read(&self) -> &[u32] {
        let last = self.learn.iter().rposition(|learn| *learn).unwrap_or(0);
        &self.ids[..last.max(1).min(self.ids.len())]
    }

    /// Tokens that carry loss.
    pub fn learnt_tokens(&self) -> usize {
        self.learn.iter().skip(1).filter(|learn| **learn).count()
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
            tokens += example.read().len();
            tokens <= tokens_max
        });
        let count = fit.count().max(1);
        begin += count;
        Some(&rest[..count])
    })
}
