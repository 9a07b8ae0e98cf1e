//! The merges of words: the pair that is there most often, again and again.
//!
//! Counts are kept as words change; a heap holds counts that may be too high, and puts back what fell.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A word as symbols, and how often it is there.
pub(super) struct Word {
    pub(super) symbols: Vec<u32>,
    pub(super) count: u64,
}

/// Two ids that become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) pair: Pair,
    pub(super) into: u32,
}

type Pair = (u32, u32);

/// Learns merges until there are so many pieces; a new piece is put behind the others.
pub(super) fn learn(
    mut words: Vec<Word>,
    pieces: &mut Vec<String>,
    vocab_size: usize,
    count_min: u64,
) -> Vec<Merge> {
    let mut ids: HashMap<String, u32> =
        (0..).zip(pieces.iter()).map(|(id, piece)| (piece.clone(), id)).collect();
    let mut pairs = Pairs::of(&words);
    let mut merges = Vec::new();
    while pieces.len() < vocab_size {
        let Some(pair) = pairs.most(count_min.max(1)) else { break };
        let piece = [pair.0, pair.1].map(|id| pieces[id as usize].as_str()).concat();
        // Two pairs may spell the same.
        let into = *ids.entry(piece).or_insert_with_key(|piece| {
            pieces.push(piece.clone());
            pieces.len() as u32 - 1
        });
        let merge = Merge { pair, into };
        merges.push(merge);
        pairs.merge(&mut words, merge);
    }
    merges
}

/// Pairs of neighbours, with how often they are there and in which words.
struct Pairs {
    counts: HashMap<Pair, i64>,
    places: HashMap<Pair, Vec<u32>>,
    /// The count first, then the lower ids.
    heap: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl Pairs {
    fn of(words: &[Word]) -> Self {
        let mut pairs = Pairs { counts: HashMap::new(), places: HashMap::new(), heap: BinaryHeap::new() };
        for (place, word) in (0..).zip(words) {
            for pair in word.symbols.windows(2) {
                pairs.add((pair[0], pair[1]), word.count as i64, place);
            }
        }
        pairs.heap = pairs.counts.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
        pairs
    }

    fn add(&mut self, pair: Pair, count: i64, place: u32) {
        *self.counts.entry(pair).or_default() += count;
        let places = self.places.entry(pair).or_default();
        if places.last() != Some(&place) {
            places.push(place);
        }
    }

    /// The pair that is there most often, if that is often enough.
    fn most(&mut self, count_min: u64) -> Option<Pair> {
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now != count {
                self.heap.extend((now > 0).then_some((now, Reverse(pair))));
            } else {
                return (count as u64 >= count_min).then_some(pair);
            }
        }
        None
    }

    fn merge(&mut self, words: &mut [Word], merge: Merge) {
        self.counts.remove(&merge.pair);
        let mut new = Vec::new();
        for place in self.places.remove(&merge.pair).unwrap_or_default() {
            let Word { symbols, count } = &mut words[place as usize];
            let count = *count as i64;
            merge_word(symbols, merge, |pair, sign| {
                if pair == merge.pair {
                    return;
                }
                if sign > 0 {
                    self.add(pair, count, place);
                    new.push(pair);
                } else if let Some(known) = self.counts.get_mut(&pair) {
                    *known -= count;
                }
            });
        }
        new.sort_unstable();
        new.dedup();
        let counts = &self.counts;
        self.heap.extend(new.into_iter().filter_map(|pair| {
            let count = counts.get(&pair).copied().filter(|count| *count > 0)?;
            Some((count, Reverse(pair)))
        }));
    }
}

/// Merges a pair wherever it stands, from the left, and tells which pairs went (-1) and came (1).
fn merge_word(symbols: &mut Vec<u32>, merge: Merge, mut changed: impl FnMut(Pair, i32)) {
    let (mut read, mut written) = (0, 0);
    while read < symbols.len() {
        let right = symbols.get(read + 1).copied();
        if symbols[read] == merge.pair.0 && right == Some(merge.pair.1) {
            if written > 0 {
                changed((symbols[written - 1], merge.pair.0), -1);
                changed((symbols[written - 1], merge.into), 1);
            }
            if let Some(behind) = symbols.get(read + 2) {
                changed((merge.pair.1, *behind), -1);
                changed((merge.into, *behind), 1);
            }
            symbols[written] = merge.into;
            read += 2;
        } else {
            symbols[written] = symbols[read];
            read += 1;
        }
        written += 1;
    }
    symbols.truncate(written);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in plain loops, counting all pairs anew each time.
    fn naive(mut words: Vec<Word>, pieces: &mut Vec<String>, vocab_size: usize) -> Vec<Merge> {
        let mut merges = Vec::new();
        while pieces.len() < vocab_size {
            let mut counts: HashMap<Pair, u64> = HashMap::new();
            for word in &words {
                for pair in word.symbols.windows(2) {
                    *counts.entry((pair[0], pair[1])).or_default() += word.count;
                }
            }
            let best = counts.into_iter().max_by_key(|(pair, count)| (*count, Reverse(*pair)));
            let Some((pair, _)) = best else { break };
            let piece = [pair.0, pair.1].map(|id| pieces[id as usize].clone()).concat();
            let known = pieces.iter().position(|one| *one == piece);
            let into = known.unwrap_or_else(|| {
                pieces.push(piece);
                pieces.len() - 1
            }) as u32;
            for word in &mut words {
                merge_word(&mut word.symbols, Merge { pair, into }, |_, _| {});
            }
            merges.push(Merge { pair, into });
        }
        merges
    }

    fn words(seed: u64) -> Vec<Word> {
        let mut state = seed;
        let mut next = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        let word = |next: &mut dyn FnMut(u64) -> u64| Word {
            symbols: (0..2 + next(9)).map(|_| next(4) as u32).collect(),
            count: 1 + next(50),
        };
        (0..200).map(|_| word(&mut next)).collect()
    }

    #[test]
    fn counts_that_are_kept_are_those_that_are_counted() {
        for seed in 0..20 {
            let alphabet = || ["a", "b", "c", "d"].map(str::to_owned).to_vec();
            let (mut pieces, mut plain) = (alphabet(), alphabet());
            let merges = learn(words(seed), &mut pieces, 60, 1);
            assert_eq!(merges, naive(words(seed), &mut plain, 60), "{seed}");
            assert_eq!(pieces, plain);
        }
    }

    #[test]
    fn runs_are_merged_from_the_left() {
        let mut symbols = vec![1, 1, 1, 2];
        let mut changes = Vec::new();
        merge_word(&mut symbols, Merge { pair: (1, 1), into: 9 }, |pair, sign| changes.push((pair, sign)));
        assert_eq!(symbols, [9, 1, 2]);
        assert_eq!(changes, [((1, 1), -1), ((9, 1), 1)]);
    }
}
