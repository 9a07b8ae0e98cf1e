//! The tree as bytes, which may be kept in a file and read by another run.
//!
//! A head says what the pages are good for. Behind it comes a record for each node, parents before their children and the
//! last used first: its length, its content and a checksum. Numbers have their lowest byte first.

use std::io::{self, Read, Write};

use bantam_model::{Chunk, Model, PAGE, State};

use super::{Key, NodeId, Tree};
use crate::Error;
use crate::settings::Settings;

const MAGIC: &[u8] = b"bantam states 1\n";

/// What must be the same where states are read: the model's weights, and how they were used.
pub(crate) fn fingerprint(model: &Model, settings: &Settings) -> String {
    let length = if model.description.depends_on_length() { settings.context_length } else { 0 };
    let mut hash = fnv(FNV_START, format!("{:?}", model.description).as_bytes());
    for (name, tensor) in model.tensors() {
        let bytes = tensor.bytes();
        hash = fnv(hash, format!("{name} {} {}", tensor.storage(), bytes.len()).as_bytes());
        // All of a large file would take as long to read as its states to compute.
        let stride = (bytes.len() / SAMPLES).max(SAMPLE_BYTES);
        hash = bytes.chunks(stride).fold(hash, |hash, part| fnv(hash, &part[..part.len().min(SAMPLE_BYTES)]));
    }
    format!("{} {hash:016x} {} {:?} {length}", model.fingerprint(), settings.kv, settings.numerics)
}

/// Places of a tensor that are looked at, and how much of each.
const SAMPLES: usize = 16;
const SAMPLE_BYTES: usize = 64;

impl Tree {
    /// Writes what requests without an adapter may go on from; how many tokens that is.
    pub(crate) fn save(&self, fingerprint: &str, out: &mut dyn Write) -> Result<usize, Error> {
        write_head(fingerprint, out)?;
        let (mut numbers, mut written, mut tokens) = (vec![None; self.nodes.len()], 0u32, 0);
        for (_, place) in self.by_age.iter().rev() {
            let node = self.node(*place);
            let Some(mut record) = self.link(node.parent, &numbers) else { continue };
            record.extend((node.tokens.len() as u32).to_le_bytes());
            node.tokens.iter().for_each(|token| record.extend(token.to_le_bytes()));
            node.chunk.write_to(&mut record);
            write_record(&record, out)?;
            numbers[*place] = Some(written);
            (written, tokens) = (written + 1, tokens + node.tokens.len());
        }
        out.flush().map_err(told)?;
        Ok(tokens)
    }

    /// The beginning of a record: what a node lies behind. `None` for a root, and for what is an adapter's.
    fn link(&self, parent: Option<usize>, numbers: &[Option<u32>]) -> Option<Vec<u8>> {
        let parent = parent?;
        if let Some(number) = numbers[parent] {
            return Some(number.to_le_bytes().to_vec());
        }
        let (key, _) = self.roots.iter().find(|(_, place)| *place == parent)?;
        let link = [&ROOT.to_le_bytes()[..], &key.salt.to_le_bytes()].concat();
        key.adapter.is_none().then_some(link)
    }

    /// Takes in what [`Tree::save`] wrote, up to so many bytes more than there are; how many tokens that is.
    pub(crate) fn load(
        &mut self,
        fingerprint: &str,
        settings: &Settings,
        bytes_max: usize,
        input: &mut dyn Read,
    ) -> Result<usize, Error> {
        read_head(fingerprint, input)?;
        let mut known: Vec<(Key, NodeId)> = Vec::new();
        let mut count = 0;
        let page_bytes = State::bytes_at(&self.model.description, settings.kv, PAGE);
        let record_max = page_bytes + RECORD_BYTES_MORE;
        let end = self.bytes.saturating_add(bytes_max);
        while self.bytes + page_bytes <= end
            && let Some(record) = read_record(record_max, input)?
        {
            let Parsed { key, behind, tokens, chunk } = self.parse(settings, &known, &record)?;
            if behind.is_some_and(|behind| self.node(behind.place).tokens.len() < PAGE) {
                return Err(damaged("something lies behind a page that is not full"));
            }
            let inserted = self.insert(&key, behind, &tokens, &chunk);
            known.push((key, inserted.ok_or_else(|| damaged("a part of it has gone"))?));
            count += tokens.len();
        }
        // The last used came first.
        known.iter().rev().for_each(|(_, id)| self.touch(id.place));
        Ok(count)
    }

    fn parse(&self, settings: &Settings, known: &[(Key, NodeId)], record: &[u8]) -> Result<Parsed, Error> {
        let rest = &mut &record[..];
        let (key, behind) = match u32::from_le_bytes(take(rest)?) {
            ROOT => (Key { adapter: None, salt: u64::from_le_bytes(take(rest)?) }, None),
            number => {
                let parent = known.get(number as usize).ok_or_else(|| damaged("a part of it is missing"))?;
                (parent.0.clone(), Some(parent.1))
            }
        };
        let count = u32::from_le_bytes(take(rest)?) as usize;
        let vocab_size = self.model.description.vocab_size;
        let tokens = (0..count.min(PAGE + 1)).map(|_| take(rest).map(u32::from_le_bytes));
        let tokens: Vec<u32> = tokens.collect::<Result<_, _>>()?;
        if !(1..=PAGE).contains(&count) || tokens.iter().any(|token| *token as usize >= vocab_size) {
            return Err(damaged("tokens that the model does not have"));
        }
        let chunk = Chunk::read_from(&self.model.description, settings.kv, rest);
        let chunk = chunk.map_err(|error| Error::Saved { reason: error.to_string() })?;
        if !rest.is_empty() {
            return Err(damaged("a part of it is too long"));
        }
        Ok(Parsed { key, behind, tokens, chunk })
    }
}

/// A record.
struct Parsed {
    key: Key,
    behind: Option<NodeId>,
    tokens: Vec<u32>,
    chunk: Chunk,
}

/// Stands where the number of a parent would.
const ROOT: u32 = u32::MAX;
/// What a record has beside pages is less than this.
const RECORD_BYTES_MORE: usize = 1 << 16;
const HEAD_BYTES_MAX: usize = 1 << 12;

fn write_head(fingerprint: &str, out: &mut dyn Write) -> Result<(), Error> {
    out.write_all(MAGIC).map_err(told)?;
    write_record(fingerprint.as_bytes(), out)
}

fn read_head(fingerprint: &str, input: &mut dyn Read) -> Result<(), Error> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic).map_err(told)?;
    if magic != MAGIC {
        return Err(damaged("it does not begin as saved states do"));
    }
    let found = read_record(HEAD_BYTES_MAX, input)?.unwrap_or_default();
    if found != fingerprint.as_bytes() {
        let found = String::from_utf8_lossy(&found);
        let reason =
            format!("they are of another model or other settings: wanted {fingerprint}, found {found}");
        return Err(Error::Saved { reason });
    }
    Ok(())
}

fn write_record(record: &[u8], out: &mut dyn Write) -> Result<(), Error> {
    let length = (record.len() as u64).to_le_bytes();
    let hash = fnv(FNV_START, record).to_le_bytes();
    [&length[..], record, &hash].iter().try_for_each(|part| out.write_all(part)).map_err(told)
}

/// The next record; `None` at the end.
fn read_record(bytes_max: usize, input: &mut dyn Read) -> Result<Option<Vec<u8>>, Error> {
    let mut length = [0; 8];
    let mut filled = 0;
    while filled < length.len() {
        match input.read(&mut length[filled..]).map_err(told)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(damaged("it ends too early")),
            read => filled += read,
        }
    }
    let length = u64::from_le_bytes(length);
    if length > bytes_max as u64 {
        return Err(damaged("a part of it is too long"));
    }
    let (mut record, mut hash) = (vec![0; length as usize], [0; 8]);
    input.read_exact(&mut record).and_then(|()| input.read_exact(&mut hash)).map_err(told)?;
    if u64::from_le_bytes(hash) != fnv(FNV_START, &record) {
        return Err(damaged("a checksum does not fit"));
    }
    Ok(Some(record))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, rest) = bytes.split_first_chunk().ok_or_else(|| damaged("a part of it is too short"))?;
    *bytes = rest;
    Ok(*taken)
}

fn told(error: io::Error) -> Error {
    Error::Saved { reason: error.to_string() }
}

fn damaged(reason: &str) -> Error {
    Error::Saved { reason: format!("they are damaged: {reason}") }
}

/// FNV-1a (Fowler, Noll, Vo) over words of 8 bytes: against mistakes, not against forgery.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let hash = words.iter().fold(start, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
}

fn mix(hash: u64, word: u64) -> u64 {
    // The product carries upwards only; the turn brings it back down.
    (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
