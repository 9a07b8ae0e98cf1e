//! Which samples say nearly the same: MinHash and locality-sensitive hashing.
//!
//! A sample's words, lower-cased, are taken five at a time. Of a set of such shingles the least value under a
//! random hash is kept, for 112 hashes; two sets agree in a share of them that is about their Jaccard similarity
//! (Broder 1997, "On the resemblance and containment of documents"). Samples are compared only if they agree in
//! all of 8 hashes for one of 14 bands, which pairs of similarity s do with probability 1 - (1 - s^8)^14: 92 % at
//! 0.8, 5 % at 0.5. Unlike in Lee et al. 2022 ("Deduplicating training data makes language models better"), no edit distance
//! follows; the share of agreeing hashes decides, with a standard error of at most 0.05.
//!
//! Invariant: groups depend on the order and the content of the samples only.

use std::collections::HashMap;

use serde::Serialize;

use crate::error::Error;
use crate::hash::{hash, mix};

const BANDS: usize = 14;
const ROWS: usize = 8;
/// Words in a shingle.
const SHINGLE_WORDS: usize = 5;
/// Samples of one bucket that a new one is compared with.
const COMPARED_MAX: usize = 16;

/// What becomes of samples that are there twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// All are learnt.
    Keep,
    /// Of those that are equal the first is learnt.
    #[default]
    Exact,
    /// Of those that say nearly the same the first is learnt.
    Near,
}

/// How much two samples have in common if they say nearly the same: the Jaccard similarity of their shingles.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct Similarity(f64);

impl Default for Similarity {
    fn default() -> Self {
        Self(0.8)
    }
}

impl Similarity {
    /// # Errors
    ///
    /// A number that is not above 0.5 and at most 1: below, too few of such pairs would be found.
    pub fn new(threshold: f64) -> Result<Self, Error> {
        if threshold > 0.5 && threshold <= 1.0 {
            return Ok(Self(threshold));
        }
        let (wanted, found) = ("a number above 0.5 and at most 1", threshold.to_string());
        Err(Error::Option { option: "similarity", wanted, found })
    }
}

/// What is kept of a sample to compare it: 336 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    bands: [u64; BANDS],
    /// The low bits of each least hash.
    least: [u16; BANDS * ROWS],
}

impl Signature {
    /// `None` for a text without words.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let shingles = shingles(text);
        if shingles.is_empty() {
            return None;
        }
        let mut least = [u32::MAX; BANDS * ROWS];
        for shingle in shingles {
            for (i, least) in least.iter_mut().enumerate() {
                // Multiply-add-shift (Dietzfelbinger 1996) with constants of the hash's number.
                let (a, b) = (mix(2 * i as u64) | 1, mix(2 * i as u64 + 1));
                *least = (*least).min((shingle.wrapping_mul(a).wrapping_add(b) >> 32) as u32);
            }
        }
        let band = |band: usize| {
            let rows = least[band * ROWS..(band + 1) * ROWS].iter();
            rows.fold(band as u64, |state, row| mix(state ^ u64::from(*row)))
        };
        Some(Self { bands: std::array::from_fn(band), least: least.map(|least| least as u16) })
    }

    fn similarity(&self, other: &Self) -> f64 {
        let equal = self.least.iter().zip(&other.least).filter(|(a, b)| a == b).count();
        equal as f64 / self.least.len() as f64
    }
}

/// The hashes of all runs of words; of all words together if they are fewer than a run.
fn shingles(text: &str) -> Vec<u64> {
    let words = words(text);
    let of = |words: &[u64]| words.iter().fold(0, |state, word| mix(state ^ word));
    match words.len() {
        0 => Vec::new(),
        1..SHINGLE_WORDS => vec![of(&words)],
        _ => words.windows(SHINGLE_WORDS).map(of).collect(),
    }
}

/// The hashes of the words. In scripts without spaces every letter is a word.
fn words(text: &str) -> Vec<u64> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        let is_alone = is_unspaced(c);
        if c.is_alphanumeric() && !is_alone {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            words.push(hash(word.as_bytes(), 0));
            word.clear();
        }
        if is_alone {
            words.push(hash(c.encode_utf8(&mut [0; 4]).as_bytes(), 0));
        }
    }
    words
}

/// Thai, Lao, Khmer, kana, Han.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// For each sample the first that says nearly the same, perhaps by way of others.
pub(crate) fn groups(signatures: &[Option<Signature>], similarity: Similarity) -> Vec<usize> {
    let mut firsts: Vec<usize> = (0..signatures.len()).collect();
    let mut buckets: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for (sample, signature) in signatures.iter().enumerate() {
        let Some(signature) = signature else { continue };
        for (band, key) in signature.bands.iter().enumerate() {
            let bucket = buckets.entry((band, *key)).or_default();
            let is_like = |other: &&usize| {
                let other = signatures[**other].as_ref();
                other.is_some_and(|other| signature.similarity(other) >= similarity.0)
            };
            let like = bucket.iter().find(is_like).copied();
            match like {
                Some(other) => unite(&mut firsts, sample, other),
                None if bucket.len() < COMPARED_MAX => bucket.push(sample),
                None => {}
            }
        }
    }
    (0..firsts.len()).map(|sample| first(&firsts, sample)).collect()
}

fn first(firsts: &[usize], mut sample: usize) -> usize {
    while firsts[sample] != sample {
        sample = firsts[sample];
    }
    sample
}

fn unite(firsts: &mut [usize], a: usize, b: usize) {
    let (a, b) = (first(firsts, a), first(firsts, b));
    firsts[a.max(b)] = a.min(b);
    firsts[a] = a.min(b);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::hash::Random;

    fn jaccard(a: &str, b: &str) -> f64 {
        let [a, b] = [a, b].map(|text| shingles(text).into_iter().collect::<HashSet<u64>>());
        a.intersection(&b).count() as f64 / a.union(&b).count() as f64
    }

    /// A text of random words, and the same with some of them replaced.
    fn pair(seed: u64, replaced: usize) -> (String, String) {
        let word = |i: u64| format!("w{}", mix(seed * 1000 + i) % 5000);
        let one: Vec<String> = (0..200).map(word).collect();
        let mut places: Vec<usize> = (0..200).collect();
        Random::new(seed, 1).shuffle(&mut places);
        let mut other = one.clone();
        places[..replaced].iter().for_each(|place| other[*place] = format!("other{place}"));
        (one.join(" "), other.join(" "))
    }

    #[test]
    fn the_estimate_is_near_the_true_similarity() {
        for seed in 0..60 {
            let (one, other) = pair(seed, (seed % 20) as usize);
            let estimate = Signature::of(&one).unwrap().similarity(&Signature::of(&other).unwrap());
            assert!((estimate - jaccard(&one, &other)).abs() < 0.2, "{estimate} {}", jaccard(&one, &other));
        }
    }

    #[test]
    fn bands_find_what_the_formula_says() {
        let mut found = [0; 2];
        let cases = [(2, 0.9..1.0), (20, 0.3..0.5)];
        for (case, (replaced, range)) in cases.into_iter().enumerate() {
            for seed in 0..100 {
                let (one, other) = pair(seed, replaced);
                assert!(range.contains(&jaccard(&one, &other)), "{}", jaccard(&one, &other));
                let signatures = [Signature::of(&one), Signature::of(&other)];
                found[case] += usize::from(groups(&signatures, Similarity::default())[1] == 0);
            }
        }
        assert!(found[0] >= 98 && found[1] == 0, "{found:?}");
    }

    #[test]
    fn case_and_punctuation_do_not_matter_but_words_do() {
        let texts = [
            "The cat sat, on the mat!",
            "the cat sat on the MAT",
            "the dog sat on the mat",
            "the cat",
            "",
            "-",
        ];
        let signatures: Vec<_> = texts.map(Signature::of).into();
        assert_eq!(groups(&signatures, Similarity::default()), [0, 0, 2, 3, 4, 5]);
        assert_eq!(shingles("今日は良い天気ですね").len(), 6);
    }

    #[test]
    fn groups_reach_through_others() {
        let mut firsts: Vec<usize> = (0..6).collect();
        [(5, 4), (3, 2), (2, 5), (1, 1)].into_iter().for_each(|(a, b)| unite(&mut firsts, a, b));
        let all: Vec<usize> = (0..6).map(|sample| first(&firsts, sample)).collect();
        assert_eq!(all, [0, 1, 2, 2, 2, 2]);
    }
}
