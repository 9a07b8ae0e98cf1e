//! One JSON object a line.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::lines::Lines;
use super::{Record, Sink, Stop};
use crate::fault::{Fault, VALUES_MAX};

pub(super) fn read_lines(reader: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut lines = Lines::new(reader);
    while let Some(line) = lines.next()? {
        let record = line.and_then(|line| match line.trim_ascii() {
            [] => Ok(None),
            line => object(line).map(Some),
        });
        let number = lines.number;
        if let Some(record) = record.transpose() {
            sink(number, record.map(Record::Fields))?;
        }
    }
    Ok(())
}

/// The object that these bytes write.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|e| Fault::Utf8 { at: e.valid_up_to() })?;
    match value(text)? {
        Value::Object(fields) => Ok(fields),
        other => Err(Fault::NotAnObject(kind(&other))),
    }
}

/// The value that this text writes.
pub(crate) fn value(text: &str) -> Result<Value, Fault> {
    if values(text.as_bytes()) > VALUES_MAX {
        return Err(Fault::TooManyValues);
    }
    serde_json::from_str(text).map_err(|e| Fault::Json(e.to_string()))
}

/// At least as many as there are values: a value takes forty times the memory of the two bytes `0,`.
fn values(bytes: &[u8]) -> usize {
    let mut count = 0;
    let mut is_string = false;
    let mut is_escaped = false;
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b',' | b':' | b'[' | b'{' if !is_string => count += 1,
            _ => {}
        }
    }
    count
}

/// What a value is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{all, faults};
    use super::*;

    #[test]
    fn bad_lines_are_named_and_good_ones_used() {
        let deep = "[".repeat(100_000);
        let wide = format!("[{}0]", "0,".repeat(2 * VALUES_MAX));
        let many: [&[u8]; 9] = [
            b"{\"text\": \"a, b: [c] {d}\"}",
            b"",
            b"{\"text\": \"a\xff\"}",
            b"{\"text\": NaN}",
            b"{\"text\": \"a",
            deep.as_bytes(),
            wide.as_bytes(),
            b"[1, 2]",
            b"{\"text\": \"a\0b\"}",
        ];
        let file = many.join(&b'\n');
        let given = all(|sink| read_lines(file.as_slice(), sink));
        let expected = [
            (3, "not UTF-8"),
            (4, "not JSON"),
            (5, "not JSON"),
            (6, "not JSON"),
            (7, "too many values"),
            (8, "not an object"),
            (9, "not JSON"),
        ];
        assert_eq!(faults(&given), expected);
        assert!(given[0].1.is_ok());
    }
}
