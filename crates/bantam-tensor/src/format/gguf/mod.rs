//! GGUF versions 2 and 3, little endian.
//!
//! ```text
//! "GGUF"  version u32  tensors u64  pairs u64
//! pairs:    key (length u64, bytes)  type u32  value
//! tensors:  name (length u64, bytes)  axes u32  length u64 per axis, fastest first  type u32  offset u64
//! padding to general.alignment (32 unless given)
//! data: each tensor at its offset from here, which is a multiple of the alignment
//! ```
//!
//! A string is a length of 64 bits and its bytes; an array is an element type, a length of 64 bits and its
//! elements. Source: `docs/gguf.md` and `src/gguf.cpp` of ggml.

pub(super) mod split;

mod cursor;
mod metadata;
mod value;
mod writer;

use std::ops::Range;

pub use metadata::{FromValue, Metadata};
pub use value::{Array, Kind, Strings, Value};
pub use writer::Writer;

use crate::error::{Error, Quoted};
use crate::format::tensors::{Tensors, Unreadable, refuse_overlaps, shape_of};
use crate::format::types;
use crate::format::{NAME_BYTES_MAX, TENSORS_MAX};
use crate::tensor::bytes_of_shape;
use crate::{Bytes, Storage, Tensor};
use cursor::Cursor;

/// The first bytes of every GGUF file.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// More key-value pairs are refused: published files have 20 to 60.
const PAIRS_MAX: u64 = 1 << 14;

/// Longer keys are refused: the format allows 65,535 bytes, published ones have fewer than 100.
const KEY_BYTES_MAX: usize = 512;

/// More axes are refused: ggml has no tensors of more.
const AXES_MAX: u32 = 4;

/// Tensors start at multiples of this unless `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;

/// One file, read and checked.
#[derive(Debug)]
pub struct File {
    /// The key-value pairs.
    pub metadata: Metadata,
    pub(super) tensors: Tensors,
}

/// What the header says of one tensor.
struct Info<'a> {
    name: &'a str,
    shape: Vec<usize>,
    dtype: Dtype,
    offset: u64,
    len: usize,
}

/// How its numbers lie.
#[derive(Clone, Copy)]
enum Dtype {
    Weight(Storage),
    /// Integers and doubles: some files carry a table of them, but no weight is computed with.
    Plain(&'static str),
}

impl File {
    /// Reads the header and cuts out the tensors, without a copy.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] or [`Error::Tensor`] with the place and the reason, [`Error::UnsupportedStorage`]
    /// within the latter for storages that bantam does not compute with.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes);
        let (tensor_count, pair_count) = read_counts(&mut cursor)?;
        let metadata = read_pairs(&mut cursor, pair_count)?;
        let infos = read_infos(&mut cursor, tensor_count)?;
        let alignment = alignment(&metadata)?;
        // A file of a vocabulary alone may end without the padding.
        let start = (cursor.at() as u64).next_multiple_of(alignment).min(bytes.len() as u64);
        let tensors = cut_out(bytes, start, alignment, infos)?;
        Ok(Self { metadata, tensors })
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter()
    }
}

/// The counts of tensors and pairs, after magic and version.
fn read_counts(cursor: &mut Cursor<'_>) -> Result<(u64, u64), Error> {
    if cursor.take(4, "the magic")? != MAGIC {
        return Err(malformed("it does not start with \"GGUF\""));
    }
    let version = cursor.u32("the version")?;
    refuse_version(version)?;
    let tensors = cursor.u64("the number of tensors")?;
    let pairs = cursor.u64("the number of metadata pairs")?;
    // The least that an entry takes: a name of one byte, no axis, type and offset; a key, type and value.
    let left = cursor.left() as u64;
    refuse_count("tensors", tensors, (TENSORS_MAX as u64).min(left / 25))?;
    refuse_count("metadata pairs", pairs, PAIRS_MAX.min(left / 14))?;
    Ok((tensors, pairs))
}

fn refuse_count(what: &str, count: u64, possible: u64) -> Result<(), Error> {
    if count > possible {
        let reason = format!("it claims {count} {what}; its size and bantam's limits allow {possible}");
        return Err(malformed(reason));
    }
    Ok(())
}

fn refuse_version(version: u32) -> Result<(), Error> {
    match version {
        2 | 3 => Ok(()),
        1 => Err(malformed("it is GGUF version 1, which no current program writes; convert the model again")),
        // A version above 65535 is a small one with its bytes the other way round.
        _ if (1..=0xffff).contains(&version.swap_bytes()) => {
            Err(malformed("it is big endian; bantam reads little endian GGUF, so convert the model again"))
        }
        _ => Err(malformed(format!("it is GGUF version {version}; versions 2 and 3 are supported"))),
    }
}

fn read_pairs(cursor: &mut Cursor<'_>, count: u64) -> Result<Metadata, Error> {
    let mut metadata = Metadata::new();
    for _ in 0..count {
        let key = cursor.name(KEY_BYTES_MAX, "a metadata key")?;
        let value = Value::read(cursor).map_err(|error| at_key(key, error))?;
        if metadata.get(key).is_some() {
            return Err(malformed(format!("metadata key {} is there twice", Quoted(key))));
        }
        metadata.set(key, value);
    }
    Ok(metadata)
}

/// The same error, with the key whose value is at fault.
fn at_key(key: &str, error: Error) -> Error {
    match error {
        Error::Malformed { reason, .. } => malformed(format!("metadata key {}: {reason}", Quoted(key))),
        error => error,
    }
}

fn read_infos<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<Info<'a>>, Error> {
    (0..count).map(|_| read_info(cursor)).collect()
}

fn read_info<'a>(cursor: &mut Cursor<'a>) -> Result<Info<'a>, Error> {
    let name = cursor.name(NAME_BYTES_MAX, "a tensor name")?;
    let axes = cursor.u32("the number of axes")?;
    if axes > AXES_MAX {
        return Err(Error::tensor(name, format!("it has {axes} axes; at most {AXES_MAX} are allowed")));
    }
    let mut lengths = Vec::new();
    for _ in 0..axes {
        lengths.push(cursor.u64("the length of an axis")?);
    }
    let shape = shape_of(name, lengths.into_iter().rev())?;
    let id = cursor.u32("a tensor type")?;
    let (dtype, len) = match plain_type(id) {
        Some((plain, width)) => (Dtype::Plain(plain), plain_len(name, &shape, width)?),
        None => {
            let storage = types::from_gguf_id(id).map_err(|error| Error::tensor(name, error.to_string()))?;
            (Dtype::Weight(storage), bytes_of_shape(name, &shape, storage)?)
        }
    };
    let offset = cursor.u64("a tensor offset")?;
    Ok(Info { name, shape, dtype, offset, len })
}

/// The types of ggml that are no weights, with their width in bytes.
fn plain_type(id: u32) -> Option<(&'static str, usize)> {
    match id {
        24 => Some(("I8", 1)),
        25 => Some(("I16", 2)),
        26 => Some(("I32", 4)),
        27 => Some(("I64", 8)),
        28 => Some(("F64", 8)),
        _ => None,
    }
}

fn plain_len(name: &str, shape: &[usize], width: usize) -> Result<usize, Error> {
    let len = shape.iter().try_fold(width, |product, &axis| product.checked_mul(axis));
    len.ok_or_else(|| Error::tensor(name, format!("shape {shape:?} is larger than any memory")))
}

/// Cuts every tensor out of the data that starts at byte `start`.
fn cut_out(bytes: &Bytes, start: u64, alignment: u64, infos: Vec<Info<'_>>) -> Result<Tensors, Error> {
    let ranges = infos.iter().map(|info| range_of(info, start, alignment, bytes.len()));
    let ranges = ranges.collect::<Result<Vec<_>, Error>>()?;
    refuse_overlaps(ranges.iter().cloned().zip(infos.iter().map(|info| info.name)).collect())?;
    let mut tensors = Tensors::default();
    for (Info { name, shape, dtype, .. }, range) in infos.into_iter().zip(ranges) {
        match dtype {
            Dtype::Plain(dtype) => {
                tensors.push_unreadable(Unreadable {
                    name: name.to_owned(),
                    shape,
                    dtype: dtype.to_owned(),
                })?;
            }
            Dtype::Weight(storage) => {
                let view =
                    bytes.slice(range).ok_or_else(|| Error::tensor(name, "it is not inside the file"))?;
                tensors.push(Tensor::new(name, shape, storage, view)?)?;
            }
        }
    }
    Ok(tensors)
}

/// The bytes of the file that a tensor takes.
fn range_of(info: &Info<'_>, start: u64, alignment: u64, file_len: usize) -> Result<Range<usize>, Error> {
    let Info { name, offset, len, .. } = *info;
    if !offset.is_multiple_of(alignment) {
        let reason = format!("its offset {offset} is not a multiple of the alignment {alignment}");
        return Err(Error::tensor(name, reason));
    }
    let begin = start.checked_add(offset).and_then(|begin| usize::try_from(begin).ok());
    let end = begin.and_then(|begin| begin.checked_add(len)).filter(|&end| end <= file_len);
    let range = begin.zip(end).map(|(begin, end)| begin..end);
    range.ok_or_else(|| {
        let reason = format!(
            "its {len} bytes at offset {offset} of the data (which starts at byte {start}) pass the end of the \
             file of {file_len} bytes, which may be truncated"
        );
        Error::tensor(name, reason)
    })
}

/// `general.alignment`, or what stands for it.
fn alignment(metadata: &Metadata) -> Result<u64, Error> {
    let alignment = metadata.find::<u32>("general.alignment")?.map_or(ALIGNMENT, u64::from);
    if !alignment.is_power_of_two() {
        return Err(malformed(format!("general.alignment is {alignment}, wanted a power of two")));
    }
    Ok(alignment)
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { format: "GGUF", reason: reason.into() }
}
