//! Files to records, one by one: no file is held whole.
//!
//! Invariant: every line, row or element of a file is given once to the sink, as a record or as a fault; what is
//! blank is neither. Memory stays below a few times [`LINE_BYTES_MAX`](crate::fault::LINE_BYTES_MAX), whatever the file
//! holds.

mod elements;
pub(crate) mod json;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod table;
mod text;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::fault::Fault;
use crate::files::Format;

/// What a line holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// Columns by name.
    Fields(Map<String, Value>),
    /// A document of a text file.
    Document(String),
}

/// Takes what a reader finds: a line's number, from 1, and its record.
pub(crate) type Sink<'s> = dyn FnMut(usize, Result<Record, Fault>) -> Result<(), Error> + 's;

/// Why reading stopped before the end.
enum Stop {
    Io(std::io::Error),
    Sink(Error),
    /// A table without a head.
    NoHead,
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Sink(error)
    }
}

/// Gives all records of a file to the sink.
pub(crate) fn read(path: &Path, format: Format, sink: &mut Sink<'_>) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    if format == Format::Parquet {
        return read_parquet(path, file, sink);
    }
    let reader = BufReader::with_capacity(1 << 16, file);
    let read = match format {
        Format::Jsonl => json::read_lines(reader, sink),
        Format::Json => read_json(reader, sink),
        Format::Csv => table::read(reader, b',', sink),
        Format::Tsv => table::read(reader, b'\t', sink),
        Format::Text | Format::Parquet => text::read(reader, sink),
    };
    read.map_err(|stop| match stop {
        Stop::Io(source) => Error::io(path)(source),
        Stop::Sink(error) => error,
        Stop::NoHead => Error::file(path, "a first row with the names of the columns", "none"),
    })
}

/// An array, or lines.
fn read_json(mut reader: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let head = reader.fill_buf()?;
    let head = head.strip_prefix(lines::BYTE_ORDER_MARK).unwrap_or(head);
    let is_array = head.trim_ascii_start().starts_with(b"[");
    if is_array { elements::read(reader, sink) } else { json::read_lines(reader, sink) }
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path, file: File, sink: &mut Sink<'_>) -> Result<(), Error> {
    parquet::read(path, file, sink)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _: File, _: &mut Sink<'_>) -> Result<(), Error> {
    let wanted = "a program that was built with Parquet (as it is without --no-default-features), or the data as JSONL";
    Err(Error::file(path, wanted, "a Parquet file"))
}

#[cfg(test)]
mod testing {
    use super::*;

    /// Everything that a reader gives.
    pub(super) fn all(
        read: impl FnOnce(&mut Sink<'_>) -> Result<(), Stop>,
    ) -> Vec<(usize, Result<Record, Fault>)> {
        let mut given = Vec::new();
        let read = read(&mut |line, record| {
            given.push((line, record));
            Ok(())
        });
        assert!(read.is_ok());
        given
    }

    /// The lines that are bad.
    pub(super) fn faults(given: &[(usize, Result<Record, Fault>)]) -> Vec<(usize, &'static str)> {
        let faults = given.iter().filter_map(|(line, record)| Some((*line, record.as_ref().err()?.kind())));
        faults.collect()
    }
}
