//! The key-value pairs of a GGUF file, in order, and typed reads of them.

use std::collections::HashMap;

use crate::error::Error;
use crate::format::gguf::value::{Array, Strings, Value};

/// An ordered map from keys to values.
///
/// `read` and the shorthands named after types want a key to be there; [`Metadata::find`] takes its absence
/// for an answer, but not another type.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    places: HashMap<String, usize>,
}

impl Metadata {
    /// An empty map, to be filled and written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key; an old value stays in its place in the order.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.places.get(key) {
            Some(&place) => self.entries[place].1 = value,
            None => {
                self.places.insert(key.to_owned(), self.entries.len());
                self.entries.push((key.to_owned(), value));
            }
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.places.get(key).map(|&place| &self.entries[place].1)
    }

    /// All pairs, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key as a `T`, or `None` if there is no such key.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] if the value is no `T`.
    pub fn find<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let mismatch = || Error::Metadata { key: key.to_owned(), wanted: T::WANTED, found: value.describe() };
        T::from_value(value).map(Some).ok_or_else(mismatch)
    }

    /// The value of a key as a `T`.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] if the key is absent or its value is no `T`.
    pub fn read<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T, Error> {
        let absent =
            || Error::Metadata { key: key.to_owned(), wanted: T::WANTED, found: "no such key".into() };
        self.find(key)?.ok_or_else(absent)
    }

    /// A string that must be there.
    pub fn string(&self, key: &str) -> Result<&str, Error> {
        self.read(key)
    }

    /// An integer of any width, not negative, that must be there.
    pub fn u64(&self, key: &str) -> Result<u64, Error> {
        self.read(key)
    }

    /// A number of any type that must be there.
    pub fn f32(&self, key: &str) -> Result<f32, Error> {
        self.read(key)
    }

    /// A bool that must be there.
    pub fn bool(&self, key: &str) -> Result<bool, Error> {
        self.read(key)
    }

    /// An array that must be there.
    pub fn array(&self, key: &str) -> Result<&Array, Error> {
        self.read(key)
    }
}

/// What a metadata value can be read as.
pub trait FromValue<'a>: Sized {
    /// The name of the type in messages.
    const WANTED: &'static str;

    /// The value, if it is of this type.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! from_value {
    ($type:ty, $wanted:literal, $value:ident => $read:expr) => {
        impl<'a> FromValue<'a> for $type {
            const WANTED: &'static str = $wanted;

            fn from_value($value: &'a Value) -> Option<Self> {
                $read
            }
        }
    };
}

from_value!(u64, "an integer, not negative", value => value.as_integer()?.try_into().ok());
from_value!(u32, "an integer from 0 to 4294967295", value => value.as_integer()?.try_into().ok());
from_value!(usize, "an integer, not negative", value => value.as_integer()?.try_into().ok());
from_value!(i64, "an integer", value => value.as_integer()?.try_into().ok());
from_value!(f32, "a number", value => value.as_f64().map(|x| x as f32));
from_value!(f64, "a number", value => value.as_f64());
from_value!(bool, "a bool", value => match value {
    Value::Bool(x) => Some(*x),
    _ => None,
});
from_value!(&'a [u8], "a string", value => match value {
    Value::String(bytes) => Some(bytes.as_slice()),
    _ => None,
});
from_value!(&'a str, "a string of UTF-8", value => match value {
    Value::String(bytes) => std::str::from_utf8(bytes).ok(),
    _ => None,
});
from_value!(&'a Array, "an array", value => match value {
    Value::Array(array) => Some(array),
    _ => None,
});
from_value!(Strings<'a>, "an array of strings", value => <&Array>::from_value(value)?.strings());
from_value!(Vec<f32>, "an array of numbers", value => <&Array>::from_value(value)?.to_f32s());
from_value!(Vec<i32>, "an array of integers", value => <&Array>::from_value(value)?.to_i32s());
from_value!(Vec<i64>, "an array of integers", value => <&Array>::from_value(value)?.to_i64s());
from_value!(Vec<bool>, "an array of bools", value => <&Array>::from_value(value)?.to_bools());

macro_rules! into_value {
    ($type:ty, $value:ident => $made:expr) => {
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        }
    };
}

into_value!(u16, value => Self::U16(value));
into_value!(u32, value => Self::U32(value));
into_value!(i32, value => Self::I32(value));
into_value!(u64, value => Self::U64(value));
into_value!(f32, value => Self::F32(value));
into_value!(bool, value => Self::Bool(value));
into_value!(&str, value => Self::String(value.as_bytes().to_vec().into()));
into_value!(Array, value => Self::Array(value));
