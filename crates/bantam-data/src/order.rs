//! In which order examples are learnt.

use crate::example::Example;
use crate::hash::Random;

/// An order of examples. All but the first shuffle what they do not rule, by seed and epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Order {
    /// As the files have them.
    AsGiven,
    /// Without any order.
    #[default]
    Shuffled,
    /// The shortest first.
    ByLength,
    /// The least [`Example::rank`] first; examples without a rank last.
    ByRank,
    /// Without any order, but for the end: there are those of the highest rank, a share of all (0 to 1). The
    /// best data last, while the learning rate falls.
    BestLast {
        /// How much of all is the end.
        share: f64,
    },
}

impl Order {
    /// The places of the examples in this order. For pairs, give the chosen ones.
    pub fn indices<'e>(
        self,
        examples: impl IntoIterator<Item = &'e Example>,
        seed: u64,
        epoch: u64,
    ) -> Vec<usize> {
        let keys: Vec<(usize, Option<f64>)> =
            examples.into_iter().map(|example| (example.ids.len(), example.rank)).collect();
        let mut indices: Vec<usize> = (0..keys.len()).collect();
        if self != Self::AsGiven {
            Random::new(seed, epoch).shuffle(&mut indices);
        }
        match self {
            Self::AsGiven | Self::Shuffled => {}
            Self::ByLength => indices.sort_by_key(|&i| keys[i].0),
            Self::ByRank => indices.sort_by(|&a, &b| rank(keys[a].1).total_cmp(&rank(keys[b].1))),
            Self::BestLast { share } => best_last(&mut indices, &keys, share),
        }
        indices
    }
}

/// No rank comes last.
fn rank(rank: Option<f64>) -> f64 {
    rank.unwrap_or(f64::INFINITY)
}

/// Moves the best to the end; both parts stay shuffled.
fn best_last(indices: &mut Vec<usize>, keys: &[(usize, Option<f64>)], share: f64) {
    let value = |i: usize| keys[i].1.unwrap_or(f64::NEG_INFINITY);
    let count = (indices.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
    let mut best = indices.clone();
    best.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
    let mut is_best = vec![false; indices.len()];
    best[..count].iter().for_each(|&i| is_best[i] = true);
    let (end, begin): (Vec<usize>, Vec<usize>) = indices.iter().partition(|&&i| is_best[i]);
    *indices = [begin, end].concat();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Origin;

    fn examples() -> Vec<Example> {
        let example = |i: usize| Example {
            ids: vec![0; 2 + i * 7 % 10],
            learn: vec![false; 2 + i * 7 % 10],
            rank: (!i.is_multiple_of(5)).then_some((i % 3) as f64),
            origin: Origin { file: 0, line: i },
        };
        (0..50).map(example).collect()
    }

    #[test]
    fn every_order_has_every_example_once() {
        let examples = examples();
        let orders =
            [Order::AsGiven, Order::Shuffled, Order::ByLength, Order::ByRank, Order::BestLast { share: 0.3 }];
        for order in orders {
            let mut indices = order.indices(&examples, 1, 2);
            assert_eq!(indices, order.indices(&examples, 1, 2));
            let is_new = indices != order.indices(&examples, 1, 3);
            assert_eq!(is_new, order != Order::AsGiven, "{order:?}");
            indices.sort_unstable();
            assert_eq!(indices, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn keys_rise() {
        let examples = examples();
        let lengths = Order::ByLength.indices(&examples, 1, 0).into_iter().map(|i| examples[i].ids.len());
        assert!(lengths.is_sorted());
        let ranks = Order::ByRank.indices(&examples, 1, 0).into_iter().map(|i| examples[i].rank);
        let ranks: Vec<Option<f64>> = ranks.collect();
        assert!(ranks[..40].iter().map(|rank| rank.unwrap()).is_sorted());
        assert!(ranks[40..].iter().all(Option::is_none));
    }

    #[test]
    fn the_best_are_last() {
        let examples = examples();
        let indices = Order::BestLast { share: 0.2 }.indices(&examples, 1, 0);
        let is_best = |i: &usize| examples[*i].rank == Some(2.0);
        assert!(indices[40..].iter().all(is_best));
        assert!(indices[..40].iter().any(is_best));
    }
}
