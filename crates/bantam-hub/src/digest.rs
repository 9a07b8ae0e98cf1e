//! Digests: what a file must hash to. A [`Digest`] is valid by construction, so it may be part of a path.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::disk;
use crate::observer::{Event, Observer};
use crate::{Error, Result};

/// A sha256, written `sha256:` and 64 lower-case hexadecimal digits (`sha256-` in file names).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The digest of 64 lower-case hexadecimal digits, without a prefix.
    pub fn from_hex(hex: &str) -> Result<Digest> {
        parse_hex(hex).map(Digest).ok_or_else(|| Error::BadDigest { text: clip(hex) })
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The name of the blob in a store: `sha256-<hex>`.
    pub fn file_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        let hex = text.strip_prefix("sha256:").or_else(|| text.strip_prefix("sha256-"));
        hex.and_then(parse_hex).map(Digest).ok_or_else(|| Error::BadDigest { text: clip(text) })
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Digest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a hub says a file is: its `etag` is the sha256 of a large file or the git blob id of a small one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    Sha256(Digest),
    GitBlob([u8; 20]),
}

impl Expected {
    /// Reads an `etag` header (quotes and `W/` allowed); `None` when it is no content hash.
    pub(crate) fn from_etag(etag: &str) -> Option<Expected> {
        let bare = etag.trim().trim_start_matches("W/").trim_matches('"');
        if let Some(sha256) = parse_hex(bare) {
            return Some(Expected::Sha256(Digest(sha256)));
        }
        parse_hex(bare).map(Expected::GitBlob)
    }

    /// The hexadecimal digits: the blob's name in the hub's cache.
    pub(crate) fn hex(&self) -> String {
        match self {
            Expected::Sha256(digest) => digest.hex(),
            Expected::GitBlob(id) => to_hex(id),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Sha256(digest) => write!(f, "{digest}"),
            Expected::GitBlob(id) => write!(f, "git blob {}", to_hex(id)),
        }
    }
}

/// Hashes a stream once for all that may be asked of it.
pub(crate) struct Hasher {
    sha256: Sha256,
    git: Sha1,
}

impl Hasher {
    /// `size`: the length of the whole stream, which a git blob id starts with.
    pub(crate) fn new(size: u64) -> Hasher {
        let mut git = Sha1::new();
        git.update(format!("blob {size}\0"));
        Hasher { sha256: Sha256::new(), git }
    }

    pub(crate) fn update(&mut self, bytes: &[u8], expected: &Expected) {
        self.sha256.update(bytes);
        // Only small files have git blob ids; hashing gigabytes twice would cost for nothing.
        if matches!(expected, Expected::GitBlob(_)) {
            self.git.update(bytes);
        }
    }

    /// The sha256 of the stream, or `WrongHash` if it is not what was expected.
    pub(crate) fn verify(self, name: &str, expected: &Expected) -> Result<Digest> {
        let digest = Digest(self.sha256.finalize().into());
        let found = match expected {
            Expected::Sha256(_) => Expected::Sha256(digest),
            Expected::GitBlob(_) => Expected::GitBlob(self.git.finalize().into()),
        };
        if found == *expected {
            return Ok(digest);
        }
        Err(Error::WrongHash { name: name.into(), wanted: expected.to_string(), found: found.to_string() })
    }
}

/// Hashes a whole file and holds it against `expected`, with a bar of its own.
pub(crate) fn verify_file(
    path: &Path,
    name: &str,
    expected: &Expected,
    observer: &mut dyn Observer,
) -> Result<Digest> {
    let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
    let mut hasher = Hasher::new(size);
    observer.event(&Event::Verifying { name });
    observer.start(name, Some(size), 0);
    let read = disk::for_each_chunk(path, u64::MAX, |chunk| {
        hasher.update(chunk, expected);
        observer.advance(chunk.len() as u64);
        if observer.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    });
    observer.finish();
    read?;
    hasher.verify(name, expected)
}

fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let digits = hex.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hostile text must not fill the terminal.
fn clip(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digest_of_abc() {
        assert_eq!(Digest::of(b"abc").hex(), ABC);
        assert_eq!(format!("sha256-{ABC}").parse::<Digest>().unwrap(), Digest::of(b"abc"));
    }

    #[test]
    fn paths_and_odd_digits_are_no_digests() {
        let upper = format!("sha256:{}", ABC.to_uppercase());
        let long = format!("sha256:{ABC}0");
        let climb = format!("sha256:../{}", &ABC[3..]);
        for bad in
            ["", "sha256:", "sha256-../../etc/passwd", ABC, &upper, &long, &climb, "md5:00", "sha256/x"]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    /// `printf 'hello\n' | git hash-object --stdin` gives ce01...
    #[test]
    fn etags_are_read_and_checked() {
        let etag = "W/\"ce013625030ba8dba906f756967f9e9ca394464a\"";
        let expected = Expected::from_etag(etag).unwrap();
        let mut hasher = Hasher::new(6);
        hasher.update(b"hello\n", &expected);
        assert_eq!(hasher.verify("f", &expected).unwrap(), Digest::of(b"hello\n"));
        let mut other = Hasher::new(6);
        other.update(b"hellO\n", &expected);
        assert!(matches!(other.verify("f", &expected), Err(Error::WrongHash { .. })));
        assert_eq!(Expected::from_etag("\"abc-3\""), None);
    }
}
