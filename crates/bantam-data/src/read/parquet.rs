//! Apache Parquet: tables by column.
//!
//! The `parquet` crate reads the format. It was not written for hostile files: what it panics on is an error
//! here.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Value};

use super::{Record, Sink};
use crate::error::Error;
use crate::fault::{Fault, LINE_BYTES_MAX};

const WANTED: &str = "a Parquet file, uncompressed or compressed with Snappy";

pub(super) fn read(path: &Path, file: File, sink: &mut Sink<'_>) -> Result<(), Error> {
    let fault = |found: String| Error::file(path, WANTED, found);
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(fault)?;
    let mut rows = guarded(|| reader.get_row_iter(None)).map_err(fault)?;
    for line in 1.. {
        let row = guarded(|| rows.next().transpose());
        match row {
            Ok(None) => break,
            Ok(Some(row)) => sink(line, record(row))?,
            Err(reason) => {
                // The reader cannot go on behind a broken page.
                sink(line, Err(Fault::Unreadable(format!("{reason}; rows behind it are lost"))))?;
                break;
            }
        }
    }
    Ok(())
}

/// What the reader gives, or why it does not.
fn guarded<T>(call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("a broken file".to_owned()),
    }
}

fn record(row: Row) -> Result<Record, Fault> {
    let mut bytes = 0;
    let fields = object(row, &mut bytes)?;
    Ok(Record::Fields(fields))
}

fn object(row: Row, bytes: &mut usize) -> Result<Map<String, Value>, Fault> {
    row.into_columns().into_iter().map(|(name, field)| Ok((name, value(&field, bytes)?))).collect()
}

fn value(field: &Field, bytes: &mut usize) -> Result<Value, Fault> {
    let float = |number: f64| Value::from(number.is_finite().then_some(number));
    let value = match field {
        Field::Null => Value::Null,
        Field::Bool(flag) => (*flag).into(),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float(number) => float(f64::from(*number)),
        Field::Double(number) => float(*number),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(text) => {
            let text = std::str::from_utf8(text.data()).map_err(|e| Fault::Utf8 { at: e.valid_up_to() })?;
            text.into()
        }
        Field::Group(row) => Value::Object(object(row.clone(), bytes)?),
        Field::ListInternal(list) => {
            list.elements().iter().map(|item| value(item, bytes)).collect::<Result<_, _>>()?
        }
        other => other.to_string().into(),
    };
    *bytes += value.as_str().map_or(1, str::len);
    if *bytes > LINE_BYTES_MAX { Err(Fault::LineTooLong) } else { Ok(value) }
}
