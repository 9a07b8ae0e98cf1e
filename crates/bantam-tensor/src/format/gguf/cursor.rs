//! Reads the header of a GGUF file from front to back, with every length checked.

use crate::format::gguf::malformed;
use crate::{Bytes, Error};

/// A place in the header.
pub(super) struct Cursor<'a> {
    bytes: &'a Bytes,
    /// The same, since asking for them takes longer than reading a length does.
    slice: &'a [u8],
    at: usize,
    /// Reading stops here: the end of the file, or the limit for headers.
    end: usize,
}

/// A header longer than this is refused. The largest vocabularies take about 20 MB; a whole `tokenizer.json`
/// may stand in one string. The limit bounds the time that a hostile file of any size can take.
const HEADER_BYTES_MAX: usize = 64 << 20;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, slice: bytes.as_slice(), at: 0, end: bytes.len().min(HEADER_BYTES_MAX) }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that may still be read.
    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    /// Steps over `len` bytes of `what` and returns them.
    pub(super) fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8], Error> {
        let start = self.skip(len, what)?;
        Ok(&self.slice[start..self.at])
    }

    /// As [`Cursor::take`], as a view that keeps the file alive.
    pub(super) fn take_view(&mut self, len: u64, what: &str) -> Result<Bytes, Error> {
        let start = self.skip(len, what)?;
        self.view_from(start)
    }

    /// What was read since `start`.
    pub(super) fn view_from(&self, start: usize) -> Result<Bytes, Error> {
        let view = self.bytes.slice(start..self.at);
        view.ok_or_else(|| malformed("the header was read out of order"))
    }

    /// Steps over `len` bytes of `what`; returns where they start.
    pub(super) fn skip(&mut self, len: u64, what: &str) -> Result<usize, Error> {
        let start = self.at;
        match usize::try_from(len) {
            Ok(len) if len <= self.left() => self.at += len,
            _ => return Err(self.too_short(len, what)),
        }
        Ok(start)
    }

    fn too_short(&self, len: u64, what: &str) -> Error {
        let (at, left) = (self.at, self.left());
        let bound = match self.end < self.bytes.len() {
            true => format!("the limit of {HEADER_BYTES_MAX} bytes for a header"),
            false => "the end of the file, which may be truncated".to_owned(),
        };
        malformed(format!("{what} at byte {at} wants {len} bytes, and {left} are left before {bound}"))
    }

    /// Steps over a string in an array: a length of 64 bits and as many bytes. Vocabularies have hundreds of thousands.
    pub(super) fn skip_string(&mut self) -> Result<(), Error> {
        if let Some((len, rest)) = self.slice[self.at..self.end].split_first_chunk()
            && let len = u64::from_le_bytes(*len)
            && len <= rest.len() as u64
        {
            self.at += size_of::<u64>() + len as usize;
            return Ok(());
        }
        let len = self.u64("a string length")?;
        self.skip(len, "a string in an array").map(|_| ())
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let bytes = self.take(N as u64, what)?;
        bytes.try_into().map_err(|_| malformed(format!("{what} is cut short")))
    }

    /// A length of 64 bits and as many bytes of UTF-8, of which there may be 1 to `max`.
    pub(super) fn name(&mut self, max: usize, what: &str) -> Result<&'a str, Error> {
        let (at, len) = (self.at, self.u64(what)?);
        if len == 0 || len > max as u64 {
            return Err(malformed(format!("{what} at byte {at} has {len} bytes; 1 to {max} are allowed")));
        }
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|_| malformed(format!("{what} at byte {at} is not UTF-8")))
    }
}
