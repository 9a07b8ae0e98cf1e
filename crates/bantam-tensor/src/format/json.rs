//! JSON as model folders have it: of bounded size, and with the `Infinity` and `NaN` that Python writes.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::Error;
use crate::format::{NAME_BYTES_MAX, TENSORS_MAX};

/// Parses JSON in which `Infinity`, `-Infinity` and `NaN` may stand for numbers; they become strings of the
/// same letters, which [`number`] understands.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Error> {
    // Each value but the first follows one of these bytes, which may stand in strings too.
    let values = bytes.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > VALUES_MAX {
        let reason = format!("it may hold {values} values; the limit is {VALUES_MAX}");
        return Err(Error::Malformed { format: "JSON", reason });
    }
    serde_json::from_slice(&quote_constants(bytes)).map_err(malformed)
}

/// More values are refused, since each takes up to 250 bytes of memory: the tokeniser configs with the longest
/// lists of added tokens have about 60,000.
const VALUES_MAX: usize = 200_000;

pub(super) fn malformed(error: serde_json::Error) -> Error {
    Error::Malformed { format: "JSON", reason: error.to_string() }
}

/// A JSON number, or one of the three constants that JSON has no number for.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(constant) => match constant.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            "NaN" => Some(f64::NAN),
            _ => None,
        },
        _ => None,
    }
}

/// Puts quotes around the constants that stand outside strings.
fn quote_constants(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !CONSTANTS.iter().any(|constant| bytes.windows(constant.len()).any(|window| window == *constant)) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let (mut at, mut in_string) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let constant = CONSTANTS.iter().find(|constant| !in_string && bytes[at..].starts_with(constant));
        let len = match (constant, byte) {
            (Some(constant), _) => constant.len(),
            (None, b'\\') if in_string => 2,
            _ => 1,
        };
        in_string ^= byte == b'"';
        let piece = &bytes[at..bytes.len().min(at + len)];
        match constant {
            Some(_) => out.extend([b"\"", piece, b"\""].concat()),
            None => out.extend(piece),
        }
        at += len;
    }
    Cow::Owned(out)
}

const CONSTANTS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// An object with an entry per tensor, in its own order and with repeated names kept: the header of a
/// safetensors file, the index of a sharded one. It is bounded while it is read.
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
    type Value = Entries<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry per tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.len() >= TENSORS_MAX || name.len() > NAME_BYTES_MAX {
                return Err(A::Error::custom(format_args!(
                    "more than {TENSORS_MAX} tensors, or a name of more than {NAME_BYTES_MAX} bytes"
                )));
            }
            entries.push((name.into_owned(), map.next_value()?));
        }
        Ok(Entries(entries))
    }
}
