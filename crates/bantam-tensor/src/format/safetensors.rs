//! The safetensors format.
//!
//! ```text
//! header length u64  header: JSON {"NAME": {"dtype", "shape", "data_offsets": [begin, end]}, ...}  data
//! ```
//!
//! Offsets count from the end of the header. Together the tensors cover the data exactly: no overlap, no hole,
//! nothing behind. Source: the format's own README, and the checks of its reference implementation.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use crate::error::{Error, Quoted};
use crate::format::atomic;
use crate::format::json::Entries;
use crate::format::tensors::{Tensors, Unreadable, refuse_overlaps, shape_of};
use crate::format::types;
use crate::{Bytes, Tensor};

/// A longer header is refused: it holds about 150 bytes per tensor.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// More axes are refused: no checkpoint has more than 5.
const AXES_MAX: usize = 8;

/// One file, read and checked.
#[derive(Debug)]
pub struct File {
    pub(super) tensors: Tensors,
}

impl File {
    /// Reads the header and cuts out the tensors, without a copy.
    ///
    /// Entries of other types than `F32`, `F16`, `BF16` are checked and listed, but are no tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] or [`Error::Tensor`] with the place and the reason.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        let (header, start) = split_header(bytes)?;
        let Entries(entries): Entries<Entry> =
            serde_json::from_slice(header).map_err(|error| malformed(error.to_string()))?;
        let data_len = bytes.len() - start;
        for (name, entry) in &entries {
            entry.check(name, data_len)?;
        }
        refuse_overlaps(entries.iter().map(|(name, entry)| (entry.range(), name.as_str())).collect())?;
        let covered: usize = entries.iter().map(|(_, entry)| entry.range().len()).sum();
        if covered != data_len {
            return Err(malformed(format!("its tensors cover {covered} of {data_len} bytes of data")));
        }
        Ok(Self { tensors: cut_out(bytes, start, entries)? })
    }

    /// The tensors that bantam computes with, in the order of the header.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter()
    }

    /// Refuses a file with entries that bantam cannot compute with.
    pub(super) fn refuse_unreadable(&self) -> Result<(), Error> {
        self.tensors.unreadable().first().map_or(Ok(()), |entry| Err(entry.refusal()))
    }
}

/// The texts under `__metadata__`.
///
/// # Errors
///
/// [`Error::Malformed`] if there is no header.
pub fn metadata(bytes: &Bytes) -> Result<BTreeMap<String, String>, Error> {
    #[derive(serde::Deserialize)]
    struct Header {
        #[serde(default, rename = "__metadata__")]
        metadata: BTreeMap<String, String>,
    }
    let (header, _) = split_header(bytes)?;
    let header: Header = serde_json::from_slice(header).map_err(|error| malformed(error.to_string()))?;
    Ok(header.metadata)
}

/// The JSON header, and where the data starts.
fn split_header(bytes: &Bytes) -> Result<(&[u8], usize), Error> {
    let Some((len, rest)) = bytes.as_slice().split_first_chunk() else {
        return Err(malformed(format!("it has {} bytes, less than the length of a header", bytes.len())));
    };
    let len = u64::from_le_bytes(*len);
    if len > HEADER_BYTES_MAX {
        return Err(malformed(format!("its header claims {len} bytes; the limit is {HEADER_BYTES_MAX}")));
    }
    let header = usize::try_from(len).ok().and_then(|len| rest.get(..len));
    let header = header.ok_or_else(|| {
        malformed(format!(
            "its header claims {len} bytes, and the file has {}; is it truncated?",
            bytes.len()
        ))
    })?;
    Ok((header, 8 + header.len()))
}

fn cut_out(bytes: &Bytes, start: usize, entries: Vec<(String, Entry)>) -> Result<Tensors, Error> {
    let mut tensors = Tensors::default();
    for (name, entry) in entries {
        let range = entry.range();
        let shape = shape_of(&name, entry.shape.0.into_iter())?;
        if shape.contains(&0) {
            // Empty buffers are legal, but nothing can be computed with them.
            let dtype = format!("{} without elements", entry.dtype);
            tensors.push_unreadable(Unreadable { name, shape, dtype })?;
            continue;
        }
        let Ok(storage) = types::from_safetensors_dtype(&entry.dtype) else {
            tensors.push_unreadable(Unreadable { name, shape, dtype: entry.dtype })?;
            continue;
        };
        let view = bytes.slice(start + range.start..start + range.end);
        let view = view.ok_or_else(|| Error::tensor(&name, "it is not inside the file"))?;
        tensors.push(Tensor::new(name, shape, storage, view)?)?;
    }
    Ok(tensors)
}

/// What the header says of one tensor.
#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Axes,
    data_offsets: [usize; 2],
}

/// The axes of a shape, of which there may be few, so that a long list costs nothing.
struct Axes(Vec<u64>);

impl Entry {
    /// Bytes of the data; in order once checked.
    fn range(&self) -> Range<usize> {
        self.data_offsets[0]..self.data_offsets[1]
    }

    /// Checks the range against the data, the shape and the type.
    fn check(&self, name: &str, data_len: usize) -> Result<(), Error> {
        let [begin, end] = self.data_offsets;
        if begin > end || end > data_len {
            let reason = format!("its bytes {begin}..{end} are not inside the data of {data_len} bytes");
            return Err(Error::tensor(name, reason));
        }
        let elements = self.shape.0.iter().try_fold(1_u64, |product, &axis| product.checked_mul(axis));
        let Some(elements) = elements else {
            return Err(Error::tensor(name, format!("shape {:?} is larger than any memory", self.shape.0)));
        };
        // The size of a type that is unknown here is the writer's word.
        let Some(bits) = bits_of(&self.dtype) else { return Ok(()) };
        let wanted = elements.checked_mul(bits).map(|bits| bits.div_ceil(8));
        if wanted != Some((end - begin) as u64) {
            let (shape, dtype, found) = (&self.shape.0, Quoted(&self.dtype), end - begin);
            let reason = format!("shape {shape:?} in {dtype} does not fit its {found} bytes");
            return Err(Error::tensor(name, reason));
        }
        Ok(())
    }
}

/// Bits per element of the types of the format.
fn bits_of(dtype: &str) -> Option<u64> {
    match dtype {
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" => Some(8),
        "I16" | "U16" | "F16" | "BF16" => Some(16),
        "I32" | "U32" | "F32" => Some(32),
        "I64" | "U64" | "F64" | "C64" => Some(64),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Axes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AxesVisitor)
    }
}

struct AxesVisitor;

impl<'de> Visitor<'de> for AxesVisitor {
    type Value = Axes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {AXES_MAX} lengths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Axes, A::Error> {
        let mut axes = Vec::new();
        while let Some(axis) = seq.next_element()? {
            if axes.len() == AXES_MAX {
                return Err(A::Error::invalid_length(AXES_MAX + 1, &self));
            }
            axes.push(axis);
        }
        Ok(Axes(axes))
    }
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { format: "safetensors", reason: reason.into() }
}

/// Writes tensors in `F32`, `F16` or `BF16` to a file, all or nothing.
///
/// The data starts at a multiple of 8 bytes, as the reference writer does.
///
/// # Errors
///
/// [`Error::Tensor`] for a block storage or a name that is there twice; [`Error::Io`].
pub fn write(path: &Path, tensors: &[Tensor]) -> Result<(), Error> {
    write_with(path, std::iter::empty(), tensors)
}

/// [`write()`] with texts under `__metadata__`.
///
/// # Errors
///
/// As [`write()`].
pub fn write_with<'a>(
    path: &Path,
    metadata: impl Iterator<Item = (&'a str, &'a str)>,
    tensors: &[Tensor],
) -> Result<(), Error> {
    let header = header_of(metadata, tensors)?;
    atomic::write(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| out.write_all(tensor.bytes()))
    })
}

fn header_of<'a>(
    metadata: impl Iterator<Item = (&'a str, &'a str)>,
    tensors: &[Tensor],
) -> Result<Vec<u8>, Error> {
    let mut header = serde_json::Map::new();
    let metadata: BTreeMap<&str, &str> = [("format", "pt")].into_iter().chain(metadata).collect();
    header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    let mut begin = 0;
    for tensor in tensors {
        let name = tensor.name();
        if types::from_safetensors_dtype(tensor.storage().name()).is_err() {
            return Err(Error::tensor(name, format!("safetensors has no storage {}", tensor.storage())));
        }
        let end = begin + tensor.bytes().len();
        let entry = serde_json::json!({
            "dtype": tensor.storage().name(), "shape": tensor.shape(), "data_offsets": [begin, end]
        });
        if header.insert(name.to_owned(), entry).is_some() {
            return Err(Error::tensor(name, "the name is there twice"));
        }
        begin = end;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}
