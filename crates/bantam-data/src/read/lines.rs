//! Lines of bounded length.

use std::io::BufRead;

use crate::fault::{Fault, LINE_BYTES_MAX};

pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a reader, one at a time, without their ends.
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Of the line last given, from 1.
    pub(super) number: usize,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), number: 0 }
    }

    /// The next line; a fault for one that is too long, whose bytes are not kept.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Result<&[u8], Fault>>> {
        self.buffer.clear();
        let mut bytes = 0;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() && bytes == 0 {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if bytes + part.len() <= LINE_BYTES_MAX {
                self.buffer.extend_from_slice(part);
            }
            bytes += part.len() + usize::from(end.is_some());
            let is_over = end.is_some() || chunk.is_empty();
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if is_over {
                break;
            }
        }
        self.number += 1;
        if bytes > LINE_BYTES_MAX + 1 {
            return Ok(Some(Err(Fault::LineTooLong)));
        }
        let line = self.buffer.strip_suffix(b"\r").unwrap_or(&self.buffer);
        let is_first = self.number == 1;
        Ok(Some(Ok(if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Result<Vec<u8>, Fault>> {
        let mut lines = Lines::new(std::io::BufReader::with_capacity(3, bytes));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.map(<[u8]>::to_vec));
        }
        all
    }

    #[test]
    fn lines_end_as_they_do_elsewhere() {
        let expected: Vec<Result<Vec<u8>, Fault>> =
            [b"one".as_slice(), b"", b"three"].map(|line| Ok(line.to_vec())).into();
        assert_eq!(lines(b"\xef\xbb\xbfone\r\n\nthree"), expected);
        assert_eq!(lines(b"one\n\nthree\n"), expected);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory() {
        let long = std::io::repeat(b'x');
        let reader = std::io::Read::chain(std::io::Read::take(long, 1 << 26), b"\nshort\n".as_slice());
        let mut lines = Lines::new(std::io::BufReader::new(reader));
        assert_eq!(lines.next().unwrap().unwrap(), Err(Fault::LineTooLong));
        assert!(lines.buffer.capacity() <= 2 * LINE_BYTES_MAX);
        assert_eq!(lines.next().unwrap().unwrap(), Ok(b"short".as_slice()));
        assert_eq!(lines.number, 2);
    }
}
