//! What the tests of streams share: random texts and random splits.

/// A small generator (Marsaglia, xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    /// Up to `chars_max` characters of the alphabet.
    pub(crate) fn text(&mut self, alphabet: &str, chars_max: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        (0..self.below(chars_max + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

/// The text in pieces of one to five characters.
pub(crate) fn pieces(random: &mut Random, text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut parts = Vec::new();
    let mut done = 0;
    while done < chars.len() {
        let end = (done + 1 + random.below(5)).min(chars.len());
        parts.push(chars[done..end].iter().collect());
        done = end;
    }
    parts
}
