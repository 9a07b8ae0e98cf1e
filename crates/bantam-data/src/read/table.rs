//! Comma- and tab-separated values, as RFC 4180 and spreadsheets write them; the first row names the columns.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::lines::BYTE_ORDER_MARK;
use super::{Record, Sink, Stop};
use crate::fault::{Fault, LINE_BYTES_MAX};

/// Most columns.
const FIELDS_MAX: usize = 4096;

pub(super) fn read(reader: impl BufRead, delimiter: u8, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut rows = Rows::new(reader, delimiter);
    let Some((_, head)) = rows.next()? else { return Ok(()) };
    let head = head.and_then(|mut fields| {
        if let Some(first) =
            fields.first_mut().and_then(|f| f.strip_prefix(BYTE_ORDER_MARK).map(<[u8]>::to_vec))
        {
            fields[0] = first;
        }
        fields.into_iter().map(text).collect::<Result<Vec<String>, Fault>>()
    });
    let head = head.map_err(|_| Stop::NoHead)?;
    while let Some((line, row)) = rows.next()? {
        sink(line, row.and_then(|fields| record(&head, fields)))?;
    }
    Ok(())
}

fn record(head: &[String], fields: Vec<Vec<u8>>) -> Result<Record, Fault> {
    if fields.len() != head.len() {
        return Err(Fault::Fields { wanted: head.len(), found: fields.len() });
    }
    let field = |(name, field): (&String, Vec<u8>)| Ok((name.clone(), value(text(field)?)));
    head.iter().zip(fields).map(field).collect::<Result<Map<_, _>, _>>().map(Record::Fields)
}

/// An empty field, and the name that tables made of numbers give to missing ones, are nothing.
fn value(field: String) -> Value {
    match field.as_str() {
        "" | "NaN" | "nan" => Value::Null,
        _ => Value::String(field),
    }
}

fn text(field: Vec<u8>) -> Result<String, Fault> {
    if field.contains(&0) {
        return Err(Fault::ZeroByte);
    }
    String::from_utf8(field).map_err(|e| Fault::Utf8 { at: e.utf8_error().valid_up_to() })
}

type Row = Result<Vec<Vec<u8>>, Fault>;

/// Rows of bounded length: a quote that is never closed makes one row of the rest of the file.
struct Rows<R> {
    reader: R,
    parser: Reader,
    output: Vec<u8>,
    ends: Vec<usize>,
    /// Where the reader is, from 1.
    line: usize,
}

impl<R: BufRead> Rows<R> {
    fn new(reader: R, delimiter: u8) -> Self {
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        Self { reader, parser, output: vec![0; 1 << 12], ends: vec![0; 64], line: 1 }
    }

    /// The next row with its line.
    fn next(&mut self) -> std::io::Result<Option<(usize, Row)>> {
        self.skip_line_ends()?;
        let line = self.line;
        let (mut written, mut fields) = (0, 0);
        let mut fault = None;
        loop {
            let input = self.reader.fill_buf()?;
            let (output, ends) = (&mut self.output[written..], &mut self.ends[fields..]);
            let (result, read, wrote, ended) = self.parser.read_record(input, output, ends);
            self.line += line_ends(&input[..read]);
            self.reader.consume(read);
            (written, fields) = (written + wrote, fields + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() < LINE_BYTES_MAX => {
                    self.output.resize(2 * self.output.len(), 0);
                }
                ReadRecordResult::OutputFull => (written, fault) = (0, Some(Fault::LineTooLong)),
                ReadRecordResult::OutputEndsFull if self.ends.len() < FIELDS_MAX => {
                    self.ends.resize(2 * self.ends.len(), 0);
                }
                ReadRecordResult::OutputEndsFull => (fields, fault) = (0, Some(Fault::TooManyValues)),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        let row = fault.map_or_else(|| Ok(self.fields(fields)), Err);
        Ok(Some((line, row)))
    }

    /// The parser leaves the end of a row to the next one, and skips blank rows.
    fn skip_line_ends(&mut self) -> std::io::Result<()> {
        loop {
            let input = self.reader.fill_buf()?;
            let ends = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            if ends == 0 {
                return Ok(());
            }
            self.line += line_ends(&input[..ends]);
            self.reader.consume(ends);
        }
    }

    fn fields(&self, count: usize) -> Vec<Vec<u8>> {
        let ends = &self.ends[..count];
        let begins = std::iter::once(&0).chain(ends);
        begins.zip(ends).map(|(&begin, &end)| self.output[begin..end].to_vec()).collect()
    }
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, faults};
    use super::*;

    #[test]
    fn quotes_breaks_and_missing_fields() {
        let file = "\u{feff}prompt,completion,rank\r\n\"a, \"\"b\"\"\nc\",d,1\r\ne,,nan\r\nf,g\r\n";
        let given = all(|sink| read(std::io::BufReader::with_capacity(4, file.as_bytes()), b',', sink));
        let Ok(Record::Fields(first)) = &given[0].1 else { panic!("{given:?}") };
        assert_eq!(first["prompt"], "a, \"b\"\nc");
        let Ok(Record::Fields(second)) = &given[1].1 else { panic!("{given:?}") };
        assert_eq!((&second["completion"], &second["rank"]), (&Value::Null, &Value::Null));
        assert_eq!(faults(&given), [(5, "number of fields")]);
    }

    #[test]
    fn hostile_rows_are_bad_and_small() {
        let quote = ["a,b\n1,\"2\n".as_bytes(), &vec![b'x'; 3 * LINE_BYTES_MAX]].concat();
        assert_eq!(faults(&all(|sink| read(quote.as_slice(), b',', sink))), [(2, "line too long")]);
        let wide = format!("a,b\n{}\n1,2\n", ",".repeat(3 * FIELDS_MAX));
        let given = all(|sink| read(wide.as_bytes(), b',', sink));
        assert_eq!(faults(&given), [(2, "too many values")]);
        assert!(given[1].1.is_ok());
        let bytes = all(|sink| read(b"a,b\n1,\0\n\xff,2\n".as_slice(), b',', sink));
        assert_eq!(faults(&bytes), [(2, "zero byte"), (3, "not UTF-8")]);
        assert!(all(|sink| read(b"".as_slice(), b',', sink)).is_empty());
    }
}
