//! The tensors of a checkpoint: in file order, found by name, each name once.

use std::collections::HashMap;
use std::ops::Range;

use crate::Tensor;
use crate::error::Error;
use crate::format::{NAME_BYTES_MAX, TENSORS_MAX};

/// An entry that is in the file but in no [`crate::Storage`]: buffers of integers, weights in other packings.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The name in the file.
    pub name: String,
    /// The axes, slowest first.
    pub shape: Vec<usize>,
    /// The file's own name of the type, or what else is unusual about the entry.
    pub dtype: String,
}

impl Unreadable {
    /// The error of asking for this entry as a weight.
    pub(super) fn refusal(&self) -> Error {
        let error = Error::UnsupportedStorage { name: self.dtype.clone() };
        Error::tensor(&self.name, error.to_string())
    }
}

/// An ordered map from names to tensors.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    list: Vec<Tensor>,
    unreadable: Vec<Unreadable>,
    /// Every name, with its place in `list` if it is there.
    places: HashMap<String, Option<usize>>,
}

impl Tensors {
    pub(super) fn push(&mut self, tensor: Tensor) -> Result<(), Error> {
        self.claim(tensor.name(), Some(self.list.len()))?;
        self.list.push(tensor);
        Ok(())
    }

    pub(super) fn push_unreadable(&mut self, entry: Unreadable) -> Result<(), Error> {
        self.claim(&entry.name, None)?;
        self.unreadable.push(entry);
        Ok(())
    }

    fn claim(&mut self, name: &str, place: Option<usize>) -> Result<(), Error> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let reason = format!("names must have 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::tensor(name, reason));
        }
        if self.places.len() >= TENSORS_MAX {
            return Err(Error::tensor(name, format!("it is one more than the limit of {TENSORS_MAX}")));
        }
        match self.places.insert(name.to_owned(), place) {
            None => Ok(()),
            Some(_) => Err(Error::tensor(name, "the name is there twice")),
        }
    }

    /// Adds the tensors of another part of the same checkpoint.
    pub(super) fn append(&mut self, other: Self) -> Result<(), Error> {
        other.list.into_iter().try_for_each(|tensor| self.push(tensor))?;
        other.unreadable.into_iter().try_for_each(|entry| self.push_unreadable(entry))
    }

    pub(super) fn find(&self, name: &str) -> Option<&Tensor> {
        let place = self.places.get(name).copied().flatten()?;
        self.list.get(place)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// How many names there are, readable or not.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tensor> {
        self.list.iter()
    }

    pub(super) fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }
}

/// Refuses tensors that share bytes: sorts the ranges and looks at neighbours.
pub(super) fn refuse_overlaps(mut extents: Vec<(Range<usize>, &str)>) -> Result<(), Error> {
    extents.sort_unstable_by_key(|(bytes, _)| (bytes.start, bytes.end));
    for pair in extents.windows(2) {
        let ((one, name), (other, other_name)) = (&pair[0], &pair[1]);
        if other.start < one.end {
            let other_name = crate::error::Quoted(other_name);
            let reason = format!("its data bytes {one:?} overlap bytes {other:?} of tensor {other_name}");
            return Err(Error::tensor(name, reason));
        }
    }
    Ok(())
}

/// The axes that a file gives, slowest first, as sizes in memory.
pub(super) fn shape_of(name: &str, axes: impl Iterator<Item = u64>) -> Result<Vec<usize>, Error> {
    axes.map(|axis| usize::try_from(axis).ok())
        .collect::<Option<_>>()
        .ok_or_else(|| Error::tensor(name, "an axis is longer than any memory"))
}
