//! Training and validation, such that what is nearly the same is on one side.
//!
//! Groups go to validation in the order of a hash of the seed and their content, so that the split does not
//! depend on the order of files, and a line that is added moves few others. Where it must move no other, each line goes
//! by its own hash alone, and how many go is up to chance.

use std::collections::BTreeMap;

use crate::hash::mix;

/// What a sample's side depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// Also on the samples that say nearly the same, which are on one side, and on the share, which is kept.
    #[default]
    Grouped,
    /// On its own content alone: nobody learns from one sample's side whether another is there.
    Alone,
}

/// Whether what has this content is for validation, whatever else there is.
pub(crate) fn alone(hash: u64, share: f64, seed: u64) -> bool {
    (mix(hash ^ mix(seed)) as f64) < share * 2f64.powi(64)
}

/// Whether each of so many samples is for validation. `groups` names the group of each, `hashes` its content.
pub(crate) fn grouped(groups: &[usize], hashes: &[u64], wanted: usize, seed: u64) -> Vec<bool> {
    let mut sizes: BTreeMap<usize, (usize, u64)> = BTreeMap::new();
    for (group, hash) in groups.iter().zip(hashes) {
        let (size, least) = sizes.entry(*group).or_insert((0, u64::MAX));
        *size += 1;
        *least = (*least).min(mix(*hash ^ mix(seed)));
    }
    let mut order: Vec<(u64, usize, usize)> =
        sizes.iter().map(|(group, (size, least))| (*least, *group, *size)).collect();
    order.sort_unstable();
    let mut left = wanted;
    let mut is_validation = BTreeMap::new();
    for (_, group, size) in order {
        let fits = size <= left;
        left -= if fits { size } else { 0 };
        is_validation.insert(group, fits);
    }
    groups.iter().map(|group| is_validation.get(group).copied().unwrap_or(false)).collect()
}

/// How many samples are for validation: their share, or `least` of them as far as that is no more than a fifth; one at
/// least, if any are wanted and there is another.
pub(crate) fn wanted(samples: usize, share: f64, least: usize) -> usize {
    if share <= 0.0 || samples < 2 {
        return 0;
    }
    let wanted = (samples as f64 * share).round() as usize;
    wanted.max(least.min(samples / 5)).clamp(1, samples - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content by number.
    fn hashes(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
        numbers.map(mix).collect()
    }

    #[test]
    fn a_group_is_on_one_side_and_the_share_is_kept() {
        let groups: Vec<usize> = (0..1000).map(|i| i - i % 7).collect();
        let is_validation = grouped(&groups, &hashes(0..1000), 100, 1);
        let count = is_validation.iter().filter(|v| **v).count();
        assert!((94..=100).contains(&count), "{count}");
        assert!((0..1000).all(|i| is_validation[i] == is_validation[groups[i]]));
        assert_ne!(is_validation, grouped(&groups, &hashes(0..1000), 100, 2));
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let alone: Vec<usize> = (0..100).collect();
        let forth = grouped(&alone, &hashes(0..100), 20, 3);
        let mut back = grouped(&alone, &hashes((0..100).rev()), 20, 3);
        back.reverse();
        assert_eq!(forth, back);
        assert_eq!(forth.iter().filter(|v| **v).count(), 20);
    }

    #[test]
    fn alone_about_the_share_is_chosen() {
        let chosen = |share| hashes(0..10_000).into_iter().filter(|hash| alone(*hash, share, 5)).count();
        assert_eq!(chosen(0.0), 0);
        assert!((900..1100).contains(&chosen(0.1)), "{}", chosen(0.1));
    }

    #[test]
    fn few_samples_still_train() {
        assert_eq!([0, 1, 2, 3].map(|samples| wanted(samples, 0.1, 0)), [0, 0, 1, 1]);
        assert!(grouped(&[0, 0, 0], &hashes(0..3), 2, 0).iter().all(|v| !v));
    }

    #[test]
    fn few_samples_give_a_fifth_at_most() {
        let counts = [10, 40, 99, 100, 200, 400, 2000].map(|samples| wanted(samples, 0.05, 20));
        assert_eq!(counts, [2, 8, 19, 20, 20, 20, 100]);
        assert_eq!(wanted(200, 0.0, 20), 0);
    }
}
