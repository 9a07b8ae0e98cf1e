//! In which order examples are learnt.

use crate::example::Key;
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
    /// The least [`Key::rank`] first; examples without a rank last.
    ByRank,
    /// Without any order, but for the end: there are those of the highest rank, a share of all (0 to 1). The
    /// best data last, while the learning rate falls.
    BestLast {
        /// How much of all is the end.
        share: f64,
    },
}

impl Order {
    /// The places of the examples with these keys in this order.
    pub fn indices(self, keys: &[Key], seed: u64, epoch: u64) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..keys.len()).collect();
        if self != Self::AsGiven {
            Random::new(seed, epoch).shuffle(&mut indices);
        }
        match self {
            Self::AsGiven | Self::Shuffled => {}
            Self::ByLength => indices.sort_by_key(|&i| keys[i].length),
            Self::ByRank => indices.sort_by(|&a, &b| rank(keys[a].rank).total_cmp(&rank(keys[b].rank))),
            Self::BestLast { share } => best_last(&mut indices, keys, share),
        }
        indices
    }
}

/// No rank comes last.
fn rank(rank: Option<f64>) -> f64 {
    rank.unwrap_or(f64::INFINITY)
}

/// Moves the best to the end; both parts stay shuffled.
fn best_last(indices: &mut Vec<usize>, keys: &[Key], share: f64) {
    let value = |i: usize| keys[i].rank.unwrap_or(f64::NEG_INFINITY);
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

    fn keys() -> Vec<Key> {
        let key =
            |i: usize| Key { length: 2 + i * 7 % 10, rank: (!i.is_multiple_of(5)).then_some((i % 3) as f64) };
        (0..50).map(key).collect()
    }

    #[test]
    fn every_order_has_every_example_once() {
        let keys = keys();
        let orders =
            [Order::AsGiven, Order::Shuffled, Order::ByLength, Order::ByRank, Order::BestLast { share: 0.3 }];
        for order in orders {
            let mut indices = order.indices(&keys, 1, 2);
            assert_eq!(indices, order.indices(&keys, 1, 2));
            let is_new = indices != order.indices(&keys, 1, 3);
            assert_eq!(is_new, order != Order::AsGiven, "{order:?}");
            indices.sort_unstable();
            assert_eq!(indices, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn keys_rise() {
        let keys = keys();
        let lengths = Order::ByLength.indices(&keys, 1, 0).into_iter().map(|i| keys[i].length);
        assert!(lengths.is_sorted());
        let ranks = Order::ByRank.indices(&keys, 1, 0).into_iter().map(|i| keys[i].rank);
        let ranks: Vec<Option<f64>> = ranks.collect();
        assert!(ranks[..40].iter().map(|rank| rank.unwrap()).is_sorted());
        assert!(ranks[40..].iter().all(Option::is_none));
    }

    #[test]
    fn the_best_are_last() {
        let keys = keys();
        let indices = Order::BestLast { share: 0.2 }.indices(&keys, 1, 0);
        let is_best = |i: &usize| keys[*i].rank == Some(2.0);
        assert!(indices[40..].iter().all(is_best));
        assert!(indices[..40].iter().any(is_best));
    }
}
