//! Plain text: documents.

use std::io::BufRead;

use super::lines::Lines;
use super::{Record, Sink, Stop};
use crate::fault::{Fault, LINE_BYTES_MAX};

/// A line that parts two documents.
const SEPARATOR: &[u8] = b"<|endoftext|>";

pub(super) fn read(reader: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut lines = Lines::new(reader);
    let mut document = String::new();
    let mut begin = 1;
    while let Some(line) = lines.next()? {
        let line = match line.and_then(text) {
            Ok(line) => line,
            Err(fault) => {
                let number = lines.number;
                sink(number, Err(fault))?;
                continue;
            }
        };
        let is_separator = line.as_bytes().trim_ascii() == SEPARATOR;
        // A document beyond the bound goes on in another one.
        let is_full = document.len() + line.len() >= LINE_BYTES_MAX;
        if !is_separator && !is_full {
            document.push_str(line);
            document.push('\n');
        } else {
            let rest = if is_separator { String::new() } else { format!("{line}\n") };
            give(begin, std::mem::replace(&mut document, rest), sink)?;
            begin = lines.number;
        }
        if document.trim_ascii().is_empty() {
            document.clear();
            begin = lines.number + 1;
        }
    }
    give(begin, document, sink)
}

fn text(line: &[u8]) -> Result<&str, Fault> {
    if line.contains(&0) {
        return Err(Fault::ZeroByte);
    }
    std::str::from_utf8(line).map_err(|e| Fault::Utf8 { at: e.valid_up_to() })
}

fn give(line: usize, mut document: String, sink: &mut Sink<'_>) -> Result<(), Stop> {
    document.truncate(document.trim_ascii_end().len());
    if !document.is_empty() {
        sink(line, Ok(Record::Document(document)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, faults};
    use super::*;

    #[test]
    fn documents_are_parted_by_their_separator() {
        let file = b"\n one\ntwo\n\n<|endoftext|>\n\nthree \n<|endoftext|>\n";
        let given = all(|sink| read(file.as_slice(), sink));
        let expected =
            [(2, " one\ntwo"), (7, "three")].map(|(line, text)| (line, Ok(Record::Document(text.into()))));
        assert_eq!(given, expected);
    }

    #[test]
    fn binary_lines_are_bad() {
        let given = all(|sink| read(b"one\nt\0wo\nth\xffree\nfour".as_slice(), sink));
        assert_eq!(faults(&given), [(2, "zero byte"), (3, "not UTF-8")]);
        assert_eq!(given[2], (1, Ok(Record::Document("one\nfour".into()))));
    }

    #[test]
    fn a_long_document_goes_on_in_another() {
        let line = "x".repeat(LINE_BYTES_MAX / 3);
        let given = all(|sink| read([line.as_str(); 4].join("\n").as_bytes(), sink));
        assert_eq!(given.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
    }
}
