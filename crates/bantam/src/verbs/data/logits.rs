//! `bantam data logits`: what a model predicts in the place of every token that is learnt, drawn and stored.
//!
//! The file is a line that says what it is, the hash of the vocabulary and its size, and for each example a hash of its
//! ids and its [`Draws`]; all numbers little-endian.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};

use anyhow::Result;
use bantam::Loaded;
use bantam_model::fnv1a;
use bantam_tensor::format::atomic;
use bantam_text::Tokenizer;
use bantam_train::{Draws, Example, draw};

use super::encoder;
use crate::args::LogitsDataArgs;
use crate::interrupt::{Interrupt, Stopped};
use crate::models::Models;
use crate::print::print_pairs;
use crate::progress::bar;
use crate::units;
use crate::verbs::learning::learnt;

const MAGIC: &[u8; 16] = b"bantam logits 1\n";

/// Examples are cut here where nobody says where, as `bantam finetune` cuts them.
const LENGTH_MAX: usize = 1024;

pub(super) fn run(args: &LogitsDataArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    let loaded = Loaded::open(&models.locate(&args.model)?)?;
    let mut loader = args.source.loader(encoder(&loaded)?)?;
    let context = loaded.model.description.context_length;
    loader.length_max = Some(loader.length_max.unwrap_or(context.min(LENGTH_MAX)));
    loader.validation = 0.0;
    let vocabulary = vocabulary(&loader.encoder.tokenizer);
    let examples = learnt(loader.load(&args.source.files)?.train.examples);
    let machine = args.machine.machine();
    let numerics = args.machine.numerics.into();
    let progress = bar(examples.len() as u64);
    let mut drawn: Vec<(u64, Draws)> = Vec::with_capacity(examples.len());
    for example in &examples {
        if interrupt.is_pressed() {
            return Err(Stopped("stopped; nothing was written").into());
        }
        let draws = draw(&machine, &loaded.model, numerics, example, args.draws, args.source.seed)?;
        drawn.push((example.fingerprint(), draws));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let vocab_size = loaded.model.description.vocab_size;
    atomic::write(&args.output, |file| write(file, vocabulary, vocab_size, &drawn))?;
    tell(args, &examples)
}

fn tell(args: &LogitsDataArgs, examples: &[Example]) -> Result<()> {
    let tokens: usize = examples.iter().map(Example::learnt_tokens).sum();
    let bytes = std::fs::metadata(&args.output)?.len();
    print_pairs(&[
        ("examples", units::grouped(examples.len() as u64)),
        ("tokens", format!("{}, {} draws of each", units::grouped(tokens as u64), args.draws)),
        ("written", format!("{}, {}", args.output.display(), units::bytes(bytes))),
        ("learn them", format!("bantam finetune STUDENT FILES --logits {} -o ..", args.output.display())),
    ])
}

/// A hash of all pieces of a vocabulary.
pub(crate) fn vocabulary(tokenizer: &Tokenizer) -> u64 {
    let pieces = (0..tokenizer.vocab_size()).filter_map(|id| tokenizer.piece(u32::try_from(id).ok()?));
    fnv1a(pieces.flat_map(|piece| [piece.bytes, vec![0]].concat()))
}

fn write(
    writer: &mut impl Write,
    vocabulary: u64,
    vocab_size: usize,
    drawn: &[(u64, Draws)],
) -> io::Result<()> {
    writer.write_all(MAGIC)?;
    writer.write_all(&vocabulary.to_le_bytes())?;
    writer.write_all(&(vocab_size as u64).to_le_bytes())?;
    for (key, draws) in drawn {
        writer.write_all(&key.to_le_bytes())?;
        draws.write(writer)?;
    }
    Ok(())
}

/// The draws of a file for a model with this vocabulary, by the hashes of their examples.
pub(crate) fn read(
    reader: &mut impl Read,
    vocabulary: u64,
    vocab_size: usize,
) -> io::Result<BTreeMap<u64, Draws>> {
    let refuse = |reason: &str| Err(io::Error::new(ErrorKind::InvalidData, reason.to_owned()));
    let mut magic = [0; 16];
    reader.read_exact(&mut magic)?;
    if magic != *MAGIC {
        return refuse("wanted a file of `bantam data logits`, found another");
    }
    if number(reader)? != vocabulary {
        return refuse("it is of a model with another vocabulary");
    }
    let drawn_from = number(reader)?;
    if drawn_from > vocab_size as u64 {
        return refuse("it is of a model with a larger vocabulary");
    }
    let mut found = BTreeMap::new();
    let mut key = [0; 8];
    while reader.read(&mut key[..1])? == 1 {
        reader.read_exact(&mut key[1..])?;
        found.insert(u64::from_le_bytes(key), Draws::read(reader, vocab_size)?);
    }
    Ok(found)
}

fn number(reader: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_vocabularies_are_refused() {
        let mut bytes = Vec::new();
        write(&mut bytes, 7, 100, &[(1, Draws::default()), (2, Draws::default())]).unwrap();
        assert_eq!(read(&mut bytes.as_slice(), 7, 100).unwrap().len(), 2);
        assert!(read(&mut bytes.as_slice(), 8, 100).is_err());
        assert!(read(&mut bytes.as_slice(), 7, 99).is_err());
        assert!(read(&mut &bytes[..bytes.len() - 1], 7, 100).is_err());
        assert!(read(&mut &b"PK"[..], 7, 100).is_err());
    }
}
