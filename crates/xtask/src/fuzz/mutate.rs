//! Inputs made from seeds: a pure function of (seeds, seed, iteration).

/// Numbers that lengths, counts and offsets go wrong at.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Pieces of text that parsers of JSON, templates and Unicode go wrong at.
const TEXTS: [&str; 16] = [
    "[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\"",
    "\\u0000",
    "\\ud800",
    "-1",
    "1e999",
    "99999999999999999999",
    "null",
    "{{",
    "{% for x in range(999999999) %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ 'x' * 999999999 }}",
    "{%- endfor %}",
    "\u{feff}\u{200d}\u{fffd}",
    "((((((((((((((((",
];

const LENGTH_MAX: usize = 1 << 20;

/// The first inputs are the seeds themselves; each one after has one to eight changes.
pub(crate) fn input(seeds: &[Vec<u8>], seed: u64, iteration: u64) -> Vec<u8> {
    if let Some(unchanged) = seeds.get(iteration as usize) {
        return unchanged.clone();
    }
    let mut random = Random(seed.rotate_left(32) ^ iteration);
    let mut bytes = random.pick(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.below(8) {
        change(&mut bytes, seeds, &mut random);
    }
    bytes.truncate(LENGTH_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let range = random.range(bytes.len());
    match random.below(9) {
        0 => bytes.truncate(range.start),
        1 => drop(bytes.drain(range)),
        2 => bytes.extend_from_within(range),
        3 => splice(bytes, seeds, random),
        4 => insert(bytes, range.start, random.pick(&TEXTS).map_or(&[], |text| text.as_bytes())),
        5 => insert(bytes, range.start, &[random.next() as u8]),
        6 => flip(bytes, random),
        7 => overwrite(bytes, range.start, &[random.next() as u8]),
        _ => number(bytes, range.start, random),
    }
}

/// The start of this input, the end of a seed.
fn splice(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let Some(other) = random.pick(seeds) else { return };
    bytes.truncate(random.below(bytes.len() + 1));
    bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

fn flip(bytes: &mut [u8], random: &mut Random) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// A number that is often wrong, or a little off what is there, in 1, 2, 4 or 8 bytes.
fn number(bytes: &mut [u8], at: usize, random: &mut Random) {
    let width = 1 << random.below(4);
    let mut old = [0; 8];
    for (to, from) in old.iter_mut().zip(bytes.iter().skip(at).take(width)) {
        *to = *from;
    }
    let near = u64::from_le_bytes(old).wrapping_add(random.below(17) as u64).wrapping_sub(8);
    let wrong = random.pick(&NUMBERS).copied().unwrap_or(0);
    let new = if random.below(3) == 0 { near } else { wrong };
    overwrite(bytes, at, &new.to_le_bytes()[..width]);
}

fn overwrite(bytes: &mut [u8], at: usize, new: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(new) {
        *to = *from;
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len());
        from.get(at)
    }

    /// A range inside `0..length`, mostly short.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        let longest = if self.below(4) == 0 { length } else { 32 };
        let end = start + self.below(longest.min(length - start) + 1);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn inputs_depend_on_seed_and_iteration_alone() {
        let seeds = [b"some bytes of a file".to_vec(), b"and of another".to_vec()];
        assert_eq!(input(&seeds, 1, 0), seeds[0]);
        assert_eq!(input(&seeds, 1, 77), input(&seeds, 1, 77));
        let distinct: HashSet<_> = (0..1000).map(|iteration| input(&seeds, 1, iteration)).collect();
        assert!(distinct.len() > 900, "{}", distinct.len());
        assert_ne!(input(&seeds, 1, 77), input(&seeds, 2, 77));
    }

    #[test]
    fn empty_seeds_are_no_trouble() {
        for iteration in 0..1000 {
            input(&[Vec::new()], 0, iteration);
            input(&[], 0, iteration);
        }
    }
}
