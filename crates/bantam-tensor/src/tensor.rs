//! A named tensor: storage, shape and bytes, which always agree.

use std::ops::Range;

use crate::error::Error;
use crate::{Bytes, Storage, quant};

/// A named tensor as it lies in a checkpoint.
///
/// The shape has the slowest axis first, as in PyTorch: a matrix of `rows` outputs and `cols` inputs is
/// `[rows, cols]`, also when it comes from GGUF, which lists axes the other way round. The last axis is whole
/// blocks of the storage, so that a row can be read alone.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: String,
    shape: Vec<usize>,
    storage: Storage,
    bytes: Bytes,
}

impl Tensor {
    /// A tensor over these bytes, which must be as many as shape and storage say.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if an axis is zero, the size overflows, the last axis is not whole blocks, or the
    /// number of bytes is another.
    pub fn new(
        name: impl Into<String>,
        shape: Vec<usize>,
        storage: Storage,
        bytes: Bytes,
    ) -> Result<Self, Error> {
        let name = name.into();
        let wanted = bytes_of_shape(&name, &shape, storage)?;
        if bytes.len() != wanted {
            let found = bytes.len();
            let reason = format!("shape {shape:?} in {storage} needs {wanted} bytes, found {found}");
            return Err(Error::Tensor { name, reason });
        }
        Ok(Self { name, shape, storage, bytes })
    }

    /// A tensor in `F32` from values in row-major order.
    ///
    /// # Errors
    ///
    /// As [`Tensor::new`].
    pub fn from_f32(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Result<Self, Error> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::new(name, shape, Storage::F32, bytes.into())
    }

    /// The name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The axes, slowest first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How the numbers lie in [`Tensor::bytes`].
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The numbers as stored, row after row.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The product of all axes but the last.
    pub fn rows(&self) -> usize {
        self.elements() / self.cols()
    }

    /// The last axis: weights per row.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The number of weights.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes per row.
    pub fn row_bytes(&self) -> usize {
        self.bytes.len() / self.rows()
    }

    /// All weights, exactly dequantised, row after row.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.elements()];
        quant::dequantize(self.storage, &self.bytes, &mut out);
        out
    }

    /// One row, exactly dequantised.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if there is no such row or `out` is not one row long.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) -> Result<(), Error> {
        if row >= self.rows() || out.len() != self.cols() {
            let (rows, cols, room) = (self.rows(), self.cols(), out.len());
            let reason = format!("row {row} into {room} values asked of {rows} rows of {cols}");
            return Err(Error::tensor(&self.name, reason));
        }
        let width = self.row_bytes();
        quant::dequantize(self.storage, &self.bytes[row * width..(row + 1) * width], out);
        Ok(())
    }

    /// Some of the rows as a matrix of their own, without a copy: a part of a fused projection, one expert.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if the range is empty or not inside [`Tensor::rows`].
    pub fn slice_rows(&self, rows: Range<usize>) -> Result<Self, Error> {
        let outside = || {
            let reason = format!("rows {rows:?} asked of {}", self.rows());
            Error::tensor(&self.name, reason)
        };
        if rows.start >= rows.end || rows.end > self.rows() {
            return Err(outside());
        }
        let width = self.row_bytes();
        let bytes = self.bytes.slice(rows.start * width..rows.end * width).ok_or_else(outside)?;
        Self::new(self.name.as_str(), vec![rows.len(), self.cols()], self.storage, bytes)
    }
}

/// The size of a tensor, or why there can be no such tensor.
pub(crate) fn bytes_of_shape(name: &str, shape: &[usize], storage: Storage) -> Result<usize, Error> {
    if shape.contains(&0) {
        return Err(Error::tensor(name, format!("shape {shape:?} has an axis of length zero")));
    }
    let cols = shape.last().copied().unwrap_or(1);
    if !cols.is_multiple_of(storage.block_len()) {
        let block = storage.block_len();
        let reason = format!("rows of {cols} weights are not whole blocks of {block}, as {storage} needs");
        return Err(Error::tensor(name, reason));
    }
    let elements = shape.iter().try_fold(1_usize, |product, &axis| product.checked_mul(axis));
    let bytes = elements.and_then(|elements| storage.bytes_of(elements));
    // No object in memory can be larger than this, so that sums of such sizes cannot overflow.
    let bytes = bytes.filter(|&bytes| bytes <= isize::MAX as usize);
    bytes
        .ok_or_else(|| Error::tensor(name, format!("shape {shape:?} in {storage} is larger than any memory")))
}
