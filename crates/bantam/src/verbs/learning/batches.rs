//! Which examples each step learns: a function of the seed and of how many steps there were.

use std::collections::VecDeque;

use bantam_data::{Key, Order};

/// How much a step learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchSize {
    /// So many examples or pairs.
    Examples(usize),
    /// As many as have so many tokens together, or one.
    Tokens(usize),
}

/// The batches of a run, one after the other, without an end.
pub(crate) struct Batches<'a> {
    keys: &'a [Key],
    order: Order,
    seed: u64,
    size: BatchSize,
    /// Epochs that the run has, the last in part perhaps.
    epochs: u64,
    epoch: u64,
    left: VecDeque<Vec<usize>>,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(keys: &'a [Key], order: Order, seed: u64, size: BatchSize, epochs: u64) -> Self {
        Batches { keys, order, seed, size, epochs, epoch: 0, left: VecDeque::new() }
    }

    /// The order of an epoch. The best data comes last only where the run ends.
    fn order(&self) -> Order {
        match self.order {
            Order::BestLast { .. } if self.epoch + 1 < self.epochs => Order::Shuffled,
            order => order,
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        if self.left.is_empty() {
            let places = self.order().indices(self.keys, self.seed, self.epoch);
            self.left = cut(&places, self.keys, self.size);
            self.epoch += 1;
        }
        self.left.pop_front()
    }
}

fn cut(places: &[usize], keys: &[Key], size: BatchSize) -> VecDeque<Vec<usize>> {
    let most = match size {
        BatchSize::Examples(count) => return places.chunks(count.max(1)).map(<[usize]>::to_vec).collect(),
        BatchSize::Tokens(most) => most,
    };
    let (mut batches, mut batch, mut tokens) = (VecDeque::new(), Vec::new(), 0);
    for place in places {
        let length = keys[*place].length;
        if !batch.is_empty() && tokens + length > most {
            batches.push_back(std::mem::take(&mut batch));
            tokens = 0;
        }
        batch.push(*place);
        tokens += length;
    }
    batches.extend((!batch.is_empty()).then_some(batch));
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Vec<Key> {
        (0..10).map(|i| Key { length: 1 + i % 3, rank: Some(i as f64) }).collect()
    }

    #[test]
    fn batches_hold_every_example_once_an_epoch() {
        let keys = keys();
        for size in [BatchSize::Examples(3), BatchSize::Tokens(4)] {
            let mut batches = Batches::new(&keys, Order::Shuffled, 1, size, 2);
            let mut epoch = || {
                let mut places = Vec::new();
                while places.len() < keys.len() {
                    places.extend(batches.next().unwrap());
                }
                places
            };
            let (first, second) = (epoch(), epoch());
            assert_ne!(first, second);
            for mut places in [first, second] {
                places.sort_unstable();
                assert_eq!(places, (0..10).collect::<Vec<_>>(), "{size:?}");
            }
        }
    }

    #[test]
    fn tokens_bound_a_batch() {
        let keys = keys();
        let batches = Batches::new(&keys, Order::AsGiven, 1, BatchSize::Tokens(4), 1);
        let batches: Vec<Vec<usize>> = batches.take(5).collect();
        assert_eq!(batches, [vec![0, 1], vec![2, 3], vec![4], vec![5, 6], vec![7]]);
    }

    #[test]
    fn the_best_is_last_in_the_last_epoch_alone() {
        let keys = keys();
        let order = Order::BestLast { share: 0.2 };
        let batches = Batches::new(&keys, order, 1, BatchSize::Examples(5), 2);
        let batches: Vec<Vec<usize>> = batches.take(4).collect();
        let end = |batch: &[usize]| batch[3..].iter().all(|place| *place >= 8);
        assert!(end(&batches[3]) && !end(&batches[1]), "{batches:?}");
    }
}
