//! One array of JSON objects in a file, laid out in any way, read element by element.

use std::io::BufRead;

use super::json::object;
use super::lines::BYTE_ORDER_MARK;
use super::{Record, Sink, Stop};
use crate::fault::{Fault, LINE_BYTES_MAX};

pub(super) fn read(mut reader: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut elements = Elements { line: 1, ..Elements::default() };
    let mut is_first = true;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let skipped = if is_first && chunk.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        for &byte in &chunk[skipped..] {
            elements.push(byte, sink)?;
        }
        is_first = false;
        let used = chunk.len();
        reader.consume(used);
    }
    elements.end(sink)
}

/// What was read so far. Its depth is 1 between the elements and 0 outside the array.
#[derive(Default)]
struct Elements {
    line: usize,
    depth: usize,
    is_string: bool,
    is_escaped: bool,
    /// The bytes of the element, as far as they are not too many.
    element: Vec<u8>,
    bytes: usize,
    first_line: usize,
}

impl Elements {
    fn push(&mut self, byte: u8, sink: &mut Sink<'_>) -> Result<(), Stop> {
        self.line += usize::from(byte == b'\n');
        if self.is_string {
            self.keep(byte);
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_string = false,
                _ => {}
            }
            return Ok(());
        }
        match (byte, self.depth) {
            (b'[', 0) => self.depth = 1,
            (b',' | b']', 1) => {
                self.depth = usize::from(byte == b',');
                return self.give(sink);
            }
            (byte, 0..=1) if byte.is_ascii_whitespace() && self.bytes == 0 => {}
            _ => {
                self.keep(byte);
                match byte {
                    b'"' => self.is_string = true,
                    b'[' | b'{' => self.depth += 1,
                    b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, byte: u8) {
        if self.bytes == 0 {
            self.first_line = self.line;
        }
        self.bytes += 1;
        if self.bytes <= LINE_BYTES_MAX {
            self.element.push(byte);
        }
    }

    /// Gives the element, unless there is none.
    fn give(&mut self, sink: &mut Sink<'_>) -> Result<(), Stop> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        let record = if bytes > LINE_BYTES_MAX { Err(Fault::LineTooLong) } else { object(&self.element) };
        self.element.clear();
        sink(self.first_line, record.map(Record::Fields))?;
        Ok(())
    }

    /// What is left when the file ends, or stands after the array, is no element.
    fn end(mut self, sink: &mut Sink<'_>) -> Result<(), Stop> {
        if self.bytes == 0 && self.depth == 0 {
            return Ok(());
        }
        if self.bytes > 0 && self.bytes <= LINE_BYTES_MAX && object(&self.element).is_ok() {
            self.give(sink)?;
        }
        let fault = Fault::Json("the file ends before its array does".to_owned());
        sink(self.line, Err(fault))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, faults};
    use super::*;

    #[test]
    fn elements_are_found_in_any_layout() {
        let file = "\n[\n {\"text\": \"a ] , [ \\\" b\"},\n {\n  \"n\": [1, {\"x\": 2}]\n }, 3, {\"a\": }]\n";
        let given = all(|sink| read(std::io::BufReader::with_capacity(5, file.as_bytes()), sink));
        let lines: Vec<usize> = given.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 6, 6]);
        assert_eq!(faults(&given), [(6, "not an object"), (6, "not JSON")]);
    }

    #[test]
    fn an_array_that_is_cut_short_gives_its_whole_elements() {
        let given = all(|sink| read(b"[{\"text\": \"a\"}, {\"text\": \"b\"".as_slice(), sink));
        assert_eq!(given.len(), 2);
        assert_eq!(faults(&given), [(1, "not JSON")]);
    }
}
