//! Examples as one batch, in which what they have in common at their beginnings is there once.
//!
//! Prompts share their template's head, the answers to a prompt all of it. A causal model computes the same for such
//! rows, and what their keys and values are changed by adds up, so results differ by rounding alone.

use std::sync::Arc;

use bantam_model::{Adapter, Batch, Model, Want};

use crate::Example;

/// Tokens that examples must have in common, beyond what is shared already, to share them.
const COMMON_MIN: usize = 4;

/// Sequences that go through the model together, without seeing each other.
pub(crate) struct Packed {
    pub(crate) batch: Batch,
    /// The row that predicts each target; the targets of the first example come first. Examples may share rows.
    pub(crate) rows: Vec<usize>,
    /// The token that each of these predicts.
    pub(crate) targets: Vec<u32>,
    /// How many of the targets belong to each example.
    pub(crate) counts: Vec<usize>,
    /// Tokens of the examples, shared or not, read or not.
    pub(crate) tokens: usize,
}

impl Packed {
    /// Examples that share the rows of their common beginnings.
    pub(crate) fn shared(model: &Model, examples: &[&Example], adapter: Option<&Arc<Adapter>>) -> Self {
        if model.description.depends_on_length() {
            return Packed::apart(examples, adapter);
        }
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|place| (examples[*place].read(), *place));
        let mut tree = Tree::new(examples, adapter);
        tree.grow(&order, 0, None);
        tree.pack()
    }

    /// Examples each with all of its rows: a span for each, in their order.
    pub(crate) fn apart(examples: &[&Example], adapter: Option<&Arc<Adapter>>) -> Self {
        let mut tree = Tree::new(examples, adapter);
        for (place, example) in examples.iter().enumerate() {
            tree.span(&[place], 0..example.read().len(), None);
        }
        tree.pack()
    }
}

/// A batch that grows.
struct Tree<'e> {
    examples: &'e [&'e Example],
    adapter: Option<&'e Arc<Adapter>>,
    batch: Batch,
    /// The row of each token of each example.
    rows: Vec<Vec<usize>>,
}

impl<'e> Tree<'e> {
    fn new(examples: &'e [&'e Example], adapter: Option<&'e Arc<Adapter>>) -> Self {
        Tree { examples, adapter, batch: Batch::default(), rows: vec![Vec::new(); examples.len()] }
    }

    /// Adds what examples have beyond their first `depth` tokens, which they have in common. They come sorted, so that
    /// those with most in common are neighbours.
    fn grow(&mut self, sorted: &[usize], depth: usize, behind: Option<usize>) {
        let mut rest = sorted;
        while let Some((first, others)) = rest.split_first() {
            let common = |other: &&usize| self.common(*first, **other);
            let alike = others.iter().take_while(|other| common(other) >= depth + COMMON_MIN).count();
            let (group, left) = rest.split_at(1 + alike);
            match others[..alike].last() {
                None => _ = self.span(group, depth..self.examples[*first].read().len(), behind),
                Some(last) => {
                    let common = self.common(*first, *last);
                    let span = self.span(group, depth..common, behind);
                    self.grow(group, common, Some(span));
                }
            }
            rest = left;
        }
    }

    /// Tokens that two examples share at their beginnings; each keeps one at least for itself.
    fn common(&self, one: usize, other: usize) -> usize {
        let [one, other] = [one, other].map(|place| self.examples[place].read());
        let alike = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        alike.min(one.len().min(other.len()).saturating_sub(1))
    }

    /// Adds the tokens of a range, which all members have in common.
    fn span(&mut self, members: &[usize], range: std::ops::Range<usize>, behind: Option<usize>) -> usize {
        let ahead = self.adapter.map_or(0, |adapter| adapter.virtual_tokens());
        let begin = self.batch.tokens.len();
        let length = members.iter().map(|place| self.examples[*place].ids.len()).max().unwrap_or(0);
        let tokens = &self.examples[members[0]].ids[range.clone()];
        self.batch.push(tokens, ahead + range.start, ahead + length, Want::Nothing);
        if let Some(adapter) = self.adapter {
            self.batch.adapt(adapter);
        }
        if let Some(behind) = behind {
            self.batch.continue_span(behind);
        }
        for place in members {
            self.rows[*place].extend(begin..begin + range.len());
        }
        self.batch.spans.len() - 1
    }

    fn pack(self) -> Packed {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (example, rows_of) in self.examples.iter().zip(&self.rows) {
            for (place, _) in example.learn.iter().enumerate().skip(1).filter(|(_, learn)| **learn) {
                rows.push(rows_of[place - 1]);
                targets.push(example.ids[place]);
            }
        }
        let counts = self.examples.iter().map(|example| example.learnt_tokens()).collect();
        let tokens = self.examples.iter().map(|example| example.ids.len()).sum();
        Packed { batch: self.batch, rows, targets, counts, tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree<'e>(examples: &'e [&'e Example]) -> Packed {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|place| (examples[*place].read(), *place));
        let mut tree = Tree::new(examples, None);
        tree.grow(&order, 0, None);
        tree.pack()
    }

    /// The tokens that a row has read, its own last.
    fn read(batch: &Batch, row: usize) -> Vec<u32> {
        let mut all = Vec::new();
        let mut part = batch.spans.iter().find(|span| span.rows.contains(&row));
        let mut end = row + 1;
        while let Some(span) = part {
            all.splice(0..0, batch.tokens[span.rows.start..end].iter().copied());
            part = span.behind.map(|place| &batch.spans[place]);
            end = part.map_or(0, |span| span.rows.end);
        }
        all
    }

    #[test]
    fn every_target_is_predicted_from_all_that_is_before_it() {
        let head: Vec<u32> = (100..110).collect();
        let example = |parts: &[&[u32]], learnt: usize| {
            let ids: Vec<u32> = head.iter().copied().chain(parts.concat()).collect();
            let learn = (0..ids.len()).map(|place| place + learnt >= ids.len()).collect();
            Example { ids, learn }
        };
        let question = [1, 2, 3, 4, 5];
        let examples = [
            example(&[&question, &[7, 8, 9]], 3),
            example(&[&[4, 5, 6]], 1),
            example(&[&question, &[7, 8]], 2),
            example(&[&question, &[7, 8, 9]], 3),
            Example::whole(vec![3]),
            example(&[&question], 15),
        ];
        let examples: Vec<&Example> = examples.iter().collect();
        let packed = tree(&examples);
        let mut places = packed.rows.iter().zip(&packed.targets);
        for (example, count) in examples.iter().zip(&packed.counts) {
            let learnt = (1..example.ids.len()).filter(|place| example.learn[*place]);
            assert_eq!(learnt.clone().count(), *count);
            for (place, (row, target)) in learnt.zip(&mut places) {
                assert_eq!(read(&packed.batch, *row), example.ids[..place]);
                assert_eq!(*target, example.ids[place]);
            }
        }
        // The head once, the question once but for the one that ends in it; last tokens are not read.
        assert_eq!(packed.batch.tokens.len(), 10 + (5 + 2 + 2 + 1) + 4 + 2 + 1);
    }
}
