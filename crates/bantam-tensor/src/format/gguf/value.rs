//! Typed metadata values. Strings and arrays are views of the file: a vocabulary costs nothing until it is read.

use crate::format::gguf::cursor::Cursor;
use crate::format::gguf::malformed;
use crate::{Bytes, Error};

/// The type of a value or of the elements of an array, with the id that the file writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

/// A metadata value.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    /// Most often UTF-8, but nothing in the format makes it so.
    String(Bytes),
    Array(Array),
}

/// An array of elements of one type, as it lies in the file; its bytes have been walked and are well formed.
#[derive(Clone, Debug)]
pub struct Array {
    kind: Kind,
    len: usize,
    bytes: Bytes,
}

/// The strings of an [`Array`], as bytes.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    left: usize,
    bytes: &'a [u8],
}

/// Arrays of arrays of arrays are refused beyond this: no published file nests at all.
const ARRAY_DEPTH_MAX: usize = 4;

impl Kind {
    fn from_id(id: u32) -> Option<Self> {
        KINDS.into_iter().find(|kind| *kind as u32 == id)
    }

    /// Bytes per value; `None` for strings and arrays.
    const fn width(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

const KINDS: [Kind; 13] = [
    Kind::U8,
    Kind::I8,
    Kind::U16,
    Kind::I16,
    Kind::U32,
    Kind::I32,
    Kind::F32,
    Kind::Bool,
    Kind::String,
    Kind::Array,
    Kind::U64,
    Kind::I64,
    Kind::F64,
];

impl Value {
    /// Reads a type and a value of it.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        match read_kind(cursor)? {
            Kind::String => read_string(cursor).map(Self::String),
            Kind::Array => Array::read(cursor).map(Self::Array),
            Kind::Bool => read_bool(cursor).map(Self::Bool),
            number => read_number(cursor, number),
        }
    }

    /// The type.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::U8(_) => Kind::U8,
            Self::I8(_) => Kind::I8,
            Self::U16(_) => Kind::U16,
            Self::I16(_) => Kind::I16,
            Self::U32(_) => Kind::U32,
            Self::I32(_) => Kind::I32,
            Self::U64(_) => Kind::U64,
            Self::I64(_) => Kind::I64,
            Self::F32(_) => Kind::F32,
            Self::F64(_) => Kind::F64,
            Self::Bool(_) => Kind::Bool,
            Self::String(_) => Kind::String,
            Self::Array(_) => Kind::Array,
        }
    }

    /// Any integer.
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Self::U8(x) => Some(x.into()),
            Self::I8(x) => Some(x.into()),
            Self::U16(x) => Some(x.into()),
            Self::I16(x) => Some(x.into()),
            Self::U32(x) => Some(x.into()),
            Self::I32(x) => Some(x.into()),
            Self::U64(x) => Some(x.into()),
            Self::I64(x) => Some(x.into()),
            _ => None,
        }
    }

    /// Any number, as the nearest double.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(x) => Some(x.into()),
            Self::F64(x) => Some(x),
            _ => self.as_integer().map(|x| x as f64),
        }
    }

    /// What stands here, for messages: `u32 7`, `array of 3 strings`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bool(x) => format!("bool {x}"),
            Self::String(bytes) => format!("string of {} bytes", bytes.len()),
            Self::Array(array) => format!("array of {} {}s", array.len, array.kind.name()),
            number => format!("{} {}", number.kind().name(), number.as_f64().unwrap_or(f64::NAN)),
        }
    }
}

fn read_kind(cursor: &mut Cursor<'_>) -> Result<Kind, Error> {
    let (at, id) = (cursor.at(), cursor.u32("a value type")?);
    Kind::from_id(id).ok_or_else(|| malformed(format!("value type {id} at byte {at} is unknown")))
}

fn read_string(cursor: &mut Cursor<'_>) -> Result<Bytes, Error> {
    let len = cursor.u64("a string length")?;
    cursor.take_view(len, "a string")
}

fn read_bool(cursor: &mut Cursor<'_>) -> Result<bool, Error> {
    let at = cursor.at();
    match cursor.array("a bool")? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(malformed(format!("bool at byte {at} is {other}, wanted 0 or 1"))),
    }
}

fn read_number(cursor: &mut Cursor<'_>, kind: Kind) -> Result<Value, Error> {
    let what = kind.name();
    Ok(match kind {
        Kind::U8 => Value::U8(u8::from_le_bytes(cursor.array(what)?)),
        Kind::I8 => Value::I8(i8::from_le_bytes(cursor.array(what)?)),
        Kind::U16 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
        Kind::I16 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
        Kind::U32 => Value::U32(cursor.u32(what)?),
        Kind::I32 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
        Kind::U64 => Value::U64(cursor.u64(what)?),
        Kind::I64 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
        Kind::F32 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
        Kind::F64 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
        Kind::Bool | Kind::String | Kind::Array => return Err(malformed("a number was expected")),
    })
}

impl Array {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let kind = read_kind(cursor)?;
        let len = cursor.u64("an array length")?;
        let start = cursor.at();
        skip_elements(cursor, kind, len, 1)?;
        let bytes = cursor.view_from(start)?;
        // Every element took at least a byte of the file, so that the count fits.
        let len = usize::try_from(len).map_err(|_| malformed("an array is longer than any memory"))?;
        Ok(Self { kind, len, bytes })
    }

    /// An array of strings, to be written.
    pub fn from_strings<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Self {
        let (mut bytes, mut len) = (Vec::new(), 0);
        for string in strings {
            bytes.extend((string.as_ref().len() as u64).to_le_bytes());
            bytes.extend(string.as_ref());
            len += 1;
        }
        Self { kind: Kind::String, len, bytes: bytes.into() }
    }

    /// An array of single precision numbers, to be written.
    pub fn from_f32s(values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self { kind: Kind::F32, len: values.len(), bytes: bytes.into() }
    }

    /// An array of 32-bit integers, to be written.
    pub fn from_i32s(values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self { kind: Kind::I32, len: values.len(), bytes: bytes.into() }
    }

    /// The type of the elements.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements as the file writes them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The strings, one after the other; `None` if the elements are none.
    pub fn strings(&self) -> Option<Strings<'_>> {
        (self.kind == Kind::String).then(|| Strings { left: self.len, bytes: &self.bytes })
    }

    /// Lets go of the memory of a mapped file that it lies in, for one that will hardly be read again; if it is, the
    /// system reads the file again.
    pub fn release(&self) {
        self.bytes.release();
    }

    /// The elements as raw bytes; `None` if they are wider.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        matches!(self.kind, Kind::U8 | Kind::I8).then_some(&self.bytes)
    }

    /// The integers, whatever their width; `None` if the elements are none.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        match self.kind {
            Kind::U8 | Kind::Bool => Some(self.map(|[x]: [u8; 1]| x.into())),
            Kind::I8 => Some(self.map(|x| i8::from_le_bytes(x).into())),
            Kind::U16 => Some(self.map(|x| u16::from_le_bytes(x).into())),
            Kind::I16 => Some(self.map(|x| i16::from_le_bytes(x).into())),
            Kind::U32 => Some(self.map(|x| u32::from_le_bytes(x).into())),
            Kind::I32 => Some(self.map(|x| i32::from_le_bytes(x).into())),
            Kind::I64 => Some(self.map(i64::from_le_bytes)),
            Kind::U64 => self.map(|x| i64::try_from(u64::from_le_bytes(x)).ok()).into_iter().collect(),
            _ => None,
        }
    }

    /// The integers, whatever their width, those outside of 32 bits as the nearest that fits; `None` if the elements are
    /// none.
    pub fn to_i32s(&self) -> Option<Vec<i32>> {
        let nearest = |x: i64| x.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        match self.kind {
            Kind::I32 => Some(self.map(i32::from_le_bytes)),
            _ => Some(self.to_i64s()?.into_iter().map(nearest).collect()),
        }
    }

    /// The numbers as single precision; `None` if the elements are no numbers.
    pub fn to_f32s(&self) -> Option<Vec<f32>> {
        match self.kind {
            Kind::F32 => Some(self.map(f32::from_le_bytes)),
            Kind::F64 => Some(self.map(|x| f64::from_le_bytes(x) as f32)),
            Kind::Bool => None,
            _ => Some(self.to_i64s()?.into_iter().map(|x| x as f32).collect()),
        }
    }

    /// The bools; `None` if the elements are none.
    pub fn to_bools(&self) -> Option<Vec<bool>> {
        (self.kind == Kind::Bool).then(|| self.map(|[x]: [u8; 1]| x != 0))
    }

    fn map<const N: usize, T>(&self, convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        self.bytes.as_chunks::<N>().0.iter().map(|&element| convert(element)).collect()
    }
}

/// Walks over the elements of an array, checking what can be wrong in them.
fn skip_elements(cursor: &mut Cursor<'_>, kind: Kind, len: u64, depth: usize) -> Result<(), Error> {
    if depth > ARRAY_DEPTH_MAX {
        return Err(malformed(format!("arrays are nested more than {ARRAY_DEPTH_MAX} deep")));
    }
    // The least an element takes: its length, or its type and its length.
    let width = kind.width().unwrap_or(if kind == Kind::String { 8 } else { 12 });
    let least = len.saturating_mul(width);
    if kind.width().is_some() {
        let bytes = cursor.take(least, "an array")?;
        return refuse_odd_bools(kind, bytes);
    }
    if least > cursor.left() as u64 {
        cursor.skip(least, "an array")?;
    }
    for _ in 0..len {
        if kind == Kind::String {
            cursor.skip_string()?;
        } else {
            let (kind, len) = (read_kind(cursor)?, cursor.u64("an array length")?);
            skip_elements(cursor, kind, len, depth + 1)?;
        }
    }
    Ok(())
}

fn refuse_odd_bools(kind: Kind, bytes: &[u8]) -> Result<(), Error> {
    if kind == Kind::Bool && bytes.iter().any(|&byte| byte > 1) {
        return Err(malformed("an array of bools has a byte that is neither 0 nor 1"));
    }
    Ok(())
}

impl<'a> Strings<'a> {
    /// Those that are left, each behind its length in 64 bits with the low byte first.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let (len, rest) = self.bytes.split_first_chunk()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (string, rest) = rest.split_at_checked(len)?;
        self.bytes = rest;
        Some(string)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}
