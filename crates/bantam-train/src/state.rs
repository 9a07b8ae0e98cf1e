//! The state of a trainer as bytes, from which it goes on as if it had never stopped.
//!
//! Little-endian: a magic line, the fingerprint of what learns and how, steps, examples; then for each tensor in order
//! its numbers and what the optimiser remembers of it. The base of an adapter is not part of it.

use std::io::{self, Read, Write};

use bantam_model::{Isa, Machine, fnv1a};

use crate::optimizer::{self, Memory};
use crate::parameters::{self, Parameter};
use crate::{Error, Trainer};

const MAGIC: &[u8; 16] = b"bantam trainer 1";

impl Trainer {
    /// Writes the state. Nothing in it depends on chance, on threads or on the clock.
    ///
    /// # Errors
    ///
    /// What the writer says.
    pub fn write_state(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(MAGIC)?;
        for number in [self.fingerprint(), self.steps(), self.examples] {
            writer.write_all(&number.to_le_bytes())?;
        }
        let mut written = Ok(());
        let adapter = self.adapter.as_deref();
        parameters::show(&self.model, adapter, &self.settings.wanted, |parameter, values| {
            if written.is_ok() {
                written = self.write_tensor(&parameter, &values.to_f32(), writer);
            }
        });
        written
    }

    fn write_tensor(&self, parameter: &Parameter, values: &[f32], writer: &mut impl Write) -> io::Result<()> {
        write_numbers(writer, values)?;
        let beginning;
        let memory = match self.optimizer.memory.get(&parameter.name) {
            Some(memory) => memory,
            None => {
                beginning = optimizer::beginning(&self.settings.rule, parameter);
                &beginning
            }
        };
        match memory {
            Memory::Moments(both) => both.iter().try_for_each(|moment| write_numbers(writer, moment)),
            Memory::Momentum(momentum) => write_numbers(writer, momentum),
            Memory::Coded(both) => both.iter().try_for_each(|codes| {
                write_numbers(writer, &codes.scales)?;
                writer.write_all(&codes.codes)
            }),
        }
    }

    /// Goes back, or forward, to a state that a trainer with the same settings wrote for the same model.
    ///
    /// # Errors
    ///
    /// [`Error::State`] where the bytes are those of another run or are damaged; this trainer should not be used then.
    pub fn read_state(&mut self, reader: &mut impl Read) -> Result<(), Error> {
        let refuse = |reason: String| Error::State { reason };
        let mut magic = [0; 16];
        read(reader, &mut magic)?;
        if magic != *MAGIC {
            return Err(refuse("it does not begin as the state of a trainer does".into()));
        }
        let [fingerprint, steps, examples] =
            [read_number(reader)?, read_number(reader)?, read_number(reader)?];
        let wanted = self.fingerprint();
        if fingerprint != wanted {
            let reason =
                format!("fingerprint {fingerprint:016x}, wanted {wanted:016x}; settings or model differ");
            return Err(refuse(reason));
        }
        let (optimizer, rule) = (&mut self.optimizer, self.settings.rule);
        let adapter = self.adapter.as_mut().map(std::sync::Arc::make_mut);
        parameters::update(&mut self.model, adapter, &self.settings.wanted, |parameter, values| {
            read_numbers(reader, values)?;
            let mut memory = optimizer::beginning(&rule, parameter);
            read_memory(reader, &mut memory)?;
            optimizer.memory.insert(parameter.name.clone(), memory);
            Ok(())
        })?;
        if reader.read(&mut [0]).map_err(unreadable)? != 0 {
            return Err(refuse("there is more behind its end".into()));
        }
        (self.optimizer.steps, self.examples) = (steps, examples);
        self.settle(&Machine::new(Isa::best(), 1));
        Ok(())
    }

    /// A hash of everything that a step depends on beside weights and data.
    pub fn fingerprint(&self) -> u64 {
        let settings = &self.settings;
        let scales = self.adapter.iter().flat_map(|adapter| adapter.sites.values()).map(|site| site.scale);
        let mut text = format!("{:?}{:?}{:?}", settings.rule, settings.schedule, settings.clip);
        text += &format!("{}{:?}", settings.micro_tokens, settings.numerics);
        text += &format!("{:?}{:?}", self.parameters(), scales.collect::<Vec<f32>>());
        fnv1a(text.bytes())
    }
}

fn read_memory(reader: &mut impl Read, memory: &mut Memory) -> Result<(), Error> {
    match memory {
        Memory::Moments(both) => both.iter_mut().try_for_each(|moment| read_numbers(reader, moment)),
        Memory::Momentum(momentum) => read_numbers(reader, momentum),
        Memory::Coded(both) => both.iter_mut().try_for_each(|codes| {
            read_numbers(reader, &mut codes.scales)?;
            read(reader, &mut codes.codes)
        }),
    }
}

/// Numbers that are turned into bytes at a time.
const PART: usize = 1024;

fn write_numbers(writer: &mut impl Write, numbers: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * PART);
    for part in numbers.chunks(PART) {
        bytes.clear();
        part.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        writer.write_all(&bytes)?;
    }
    Ok(())
}

fn read_numbers(reader: &mut impl Read, numbers: &mut [f32]) -> Result<(), Error> {
    let mut bytes = [0; 4 * PART];
    for part in numbers.chunks_mut(PART) {
        let bytes = &mut bytes[..4 * part.len()];
        read(reader, bytes)?;
        for (number, bytes) in part.iter_mut().zip(bytes.as_chunks().0) {
            *number = f32::from_le_bytes(*bytes);
        }
    }
    Ok(())
}

fn read_number(reader: &mut impl Read) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    read(reader, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), Error> {
    reader.read_exact(bytes).map_err(unreadable)
}

fn unreadable(error: io::Error) -> Error {
    Error::State { reason: format!("it cannot be read to its end: {error}") }
}
