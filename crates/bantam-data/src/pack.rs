//! Which examples share a sequence of the batch.
//!
//! Examples of a pack do not see each other: the trainer gives each its own positions and its own past.

use std::collections::BTreeSet;

/// Packs of at most `budget` ids: best fit decreasing (Johnson 1973; at most 11/9 of the fewest packs possible).
/// `order` are places in `lengths`. Only examples within `window` of each other in that order come together,
/// and packs follow the order of their first examples, so that a curriculum stays one. An example beyond the
/// budget is a pack of its own.
///
/// # Panics
///
/// If `order` holds a place that `lengths` has not.
pub fn pack(order: &[usize], lengths: &[usize], budget: usize, window: usize) -> Vec<Vec<usize>> {
    assert!(order.iter().all(|&i| i < lengths.len()), "the order is one of these lengths");
    let windows = order.chunks(window.max(1));
    windows.flat_map(|window| pack_window(window, lengths, budget)).collect()
}

fn pack_window(order: &[usize], lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = (0..order.len()).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(lengths[order[place]]));
    let mut packs: Vec<Vec<usize>> = Vec::new();
    // What is free in each pack that is not full.
    let mut free: BTreeSet<(usize, usize)> = BTreeSet::new();
    for place in places {
        let length = lengths[order[place]];
        let best = free.range((length, 0)..).next().copied();
        let (space, pack) = best.unwrap_or((budget, packs.len()));
        match best {
            Some(best) => {
                free.remove(&best);
                packs[pack].push(place);
            }
            None => packs.push(vec![place]),
        }
        free.insert((space.saturating_sub(length), pack));
    }
    packs.iter_mut().for_each(|pack| pack.sort_unstable());
    packs.sort_unstable();
    packs.into_iter().map(|pack| pack.into_iter().map(|place| order[place]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{Random, mix};

    /// The same in plain loops.
    fn naive(lengths: &[usize], budget: usize) -> usize {
        let mut sorted = lengths.to_vec();
        sorted.sort_by(|a, b| b.cmp(a));
        let mut packs: Vec<usize> = Vec::new();
        for length in sorted {
            let fitting = packs.iter_mut().filter(|used| **used + length <= budget);
            match fitting.max_by_key(|used| **used) {
                Some(used) => *used += length,
                None => packs.push(length),
            }
        }
        packs.len()
    }

    #[test]
    fn packs_are_those_of_the_plain_way() {
        for seed in 0..50 {
            let lengths: Vec<usize> = (0..100).map(|i| 1 + (mix(seed * 100 + i) % 60) as usize).collect();
            let mut order: Vec<usize> = (0..100).collect();
            Random::new(seed, 0).shuffle(&mut order);
            let packs = pack(&order, &lengths, 64, 100);
            assert_eq!(packs.len(), naive(&lengths, 64));
            assert!(packs.iter().all(|pack| pack.iter().map(|&i| lengths[i]).sum::<usize>() <= 64));
            let mut all = packs.concat();
            all.sort_unstable();
            assert_eq!(all, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn windows_keep_the_order() {
        let order: Vec<usize> = (0..90).rev().collect();
        let packs = pack(&order, &[10; 90], 30, 9);
        assert_eq!(packs.len(), 30);
        assert_eq!(packs[0], [89, 88, 87]);
        assert_eq!(packs.concat(), order);
    }

    #[test]
    fn what_is_too_long_is_alone() {
        assert_eq!(pack(&[0, 1, 2], &[5, 100, 5], 10, 3), [vec![0, 2], vec![1]]);
        assert!(pack(&[], &[], 10, 3).is_empty());
    }
}
