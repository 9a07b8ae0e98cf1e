//! SentencePiece's precompiled character map: a double-array trie from byte strings to replacements.
//!
//! Source: `normalizer.cc` of SentencePiece and Darts-clone's unit layout. Layout of the blob: u32 length of
//! the trie in bytes, the trie as u32 units, then the replacements, each ended by a zero byte. All
//! little-endian.

use crate::error::Error;

/// A normalisation table such as `nmt_nfkc`.
#[derive(Debug)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    texts: String,
}

impl Charsmap {
    pub(crate) fn new(blob: &[u8]) -> Result<Self, Error> {
        let bad = |found: &str| Error::wanted("precompiled_charsmap", "a trie and its replacements", found);
        let (head, rest) = blob.split_first_chunk::<4>().ok_or_else(|| bad("less than 4 bytes"))?;
        let trie_len = u32::from_le_bytes(*head) as usize;
        if trie_len > rest.len() || !trie_len.is_multiple_of(4) {
            return Err(bad(&format!("a trie of {trie_len} bytes in a blob of {}", blob.len())));
        }
        let (trie, texts) = rest.split_at(trie_len);
        let units = trie.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let texts = std::str::from_utf8(texts).map_err(|_| bad("replacements that are not UTF-8"))?;
        Ok(Self { units, texts: texts.to_owned() })
    }

    /// The text with the longest known string at each place replaced.
    pub(crate) fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (len, replacement) = self.longest(rest.as_bytes()).unwrap_or((0, ""));
            // A match that ends inside a character can only come from a broken table.
            if len == 0 || !rest.is_char_boundary(len) {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            } else {
                out.push_str(replacement);
                rest = &rest[len..];
            }
        }
        out
    }

    /// Length and replacement of the longest entry that begins `text`.
    fn longest(&self, text: &[u8]) -> Option<(usize, &str)> {
        let mut node = offset(*self.units.first()?);
        let mut best = None;
        for (i, &byte) in text.iter().enumerate() {
            node ^= usize::from(byte);
            let Some(&unit) = self.units.get(node) else { break };
            if unit & 0x8000_00FF != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if unit & 0x100 != 0 {
                let value = self.units.get(node).map_or(0, |u| u & 0x7FFF_FFFF);
                best = self.replacement(value as usize).map(|text| (i + 1, text)).or(best);
            }
        }
        best
    }

    fn replacement(&self, at: usize) -> Option<&str> {
        self.texts.get(at..)?.split('\0').next()
    }
}

/// Where a unit's children lie, relative to it (Darts-clone).
fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 0x200) >> 6)) as usize
}
