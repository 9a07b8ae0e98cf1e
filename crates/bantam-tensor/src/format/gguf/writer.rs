//! Writes GGUF version 3.

use std::io::{self, Read as _, Write};
use std::path::Path;

use crate::Tensor;
use crate::error::Error;
use crate::format::atomic;
use crate::format::gguf::{MAGIC, Metadata, Value, alignment};
use crate::format::tensors::Tensors;
use crate::format::types;

/// A GGUF file in the making: pairs and tensors in the order in which they are given.
#[derive(Debug, Default)]
pub struct Writer {
    metadata: Metadata,
    tensors: Tensors,
}

impl Writer {
    /// A file of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file with these pairs.
    pub fn with_metadata(metadata: Metadata) -> Self {
        Self { metadata, tensors: Tensors::default() }
    }

    /// Sets a key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.metadata.set(key, value);
    }

    /// Adds a tensor; its bytes are shared until they are written.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] if the name is there already or too long.
    pub fn push(&mut self, tensor: Tensor) -> Result<(), Error> {
        self.tensors.push(tensor)
    }

    /// Writes the file, all or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], or [`Error::Malformed`] if `general.alignment` was set to what no file may have.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let alignment = alignment(&self.metadata)?;
        atomic::write(path, |out| self.write_to(out, alignment))
    }

    /// The bytes of the file in memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let written = self.write_to(&mut out, alignment(&self.metadata)?);
        written.map_err(Error::io("write", Path::new("(memory)")))?;
        Ok(out)
    }

    fn write_to(&self, out: &mut impl Write, alignment: u64) -> io::Result<()> {
        let header = self.header(alignment);
        out.write_all(&header)?;
        pad(out, header.len() as u64, alignment)?;
        for tensor in self.tensors.iter() {
            out.write_all(tensor.bytes())?;
            pad(out, tensor.bytes().len() as u64, alignment)?;
        }
        Ok(())
    }

    fn header(&self, alignment: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.iter().len() as u64).to_le_bytes());
        for (key, value) in self.metadata.iter() {
            push_string(&mut out, key.as_bytes());
            out.extend((value.kind() as u32).to_le_bytes());
            push_value(&mut out, value);
        }
        let mut offset = 0_u64;
        for tensor in self.tensors.iter() {
            push_info(&mut out, tensor, offset);
            offset += (tensor.bytes().len() as u64).next_multiple_of(alignment);
        }
        out
    }
}

fn push_info(out: &mut Vec<u8>, tensor: &Tensor, offset: u64) {
    push_string(out, tensor.name().as_bytes());
    out.extend((tensor.shape().len() as u32).to_le_bytes());
    for &axis in tensor.shape().iter().rev() {
        out.extend((axis as u64).to_le_bytes());
    }
    out.extend(types::gguf_id(tensor.storage()).to_le_bytes());
    out.extend(offset.to_le_bytes());
}

fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(x) => out.push(*x),
        Value::I8(x) => out.extend(x.to_le_bytes()),
        Value::U16(x) => out.extend(x.to_le_bytes()),
        Value::I16(x) => out.extend(x.to_le_bytes()),
        Value::U32(x) => out.extend(x.to_le_bytes()),
        Value::I32(x) => out.extend(x.to_le_bytes()),
        Value::U64(x) => out.extend(x.to_le_bytes()),
        Value::I64(x) => out.extend(x.to_le_bytes()),
        Value::F32(x) => out.extend(x.to_le_bytes()),
        Value::F64(x) => out.extend(x.to_le_bytes()),
        Value::Bool(x) => out.push((*x).into()),
        Value::String(bytes) => push_string(out, bytes),
        Value::Array(array) => {
            out.extend((array.kind() as u32).to_le_bytes());
            out.extend((array.len() as u64).to_le_bytes());
            out.extend(array.bytes());
        }
    }
}

fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// Zeros from `len` to the next multiple of the alignment.
fn pad(out: &mut impl Write, len: u64, alignment: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(len.next_multiple_of(alignment) - len), out).map(|_| ())
}
