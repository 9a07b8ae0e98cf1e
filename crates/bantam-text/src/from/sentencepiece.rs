//! Tokenisers from SentencePiece's `tokenizer.model`, a protocol buffer.
//!
//! Source: `sentencepiece_model.proto`. Only the fields that decide ids are read; the rest is skipped.

use serde_json::Value;

use super::config::Config;
use super::gguf::{GgufVocab, sentencepiece, unigram};
use crate::error::Error;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// A tokeniser from a SentencePiece model, BPE or Unigram. `config` is `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// The file is cut short or not a SentencePiece model, or it is of another model type, which is named.
    pub fn from_sentencepiece(model: &[u8], config: Option<&Value>) -> Result<Self, Error> {
        let file = File::read(model)?;
        let config = Config::read(config);
        let mut vocab = file.vocab();
        config.apply_to_file(&mut vocab);
        let mut parts = match file.model_type {
            2 => sentencepiece(&vocab, true),
            1 => unigram(&vocab),
            other => Err(Error::Unsupported {
                place: "trainer_spec.model_type",
                name: other.to_string(),
                known: "1 (Unigram), 2 (BPE)".into(),
            }),
        }?;
        config.apply(&mut parts)?;
        Ok(Self::new(parts))
    }
}

/// What is read of the file.
#[derive(Debug)]
struct File<'a> {
    tokens: Vec<&'a [u8]>,
    scores: Vec<f32>,
    types: Vec<i32>,
    model_type: u64,
    /// unk, bos, eos, pad.
    ids: [i32; 4],
    charsmap: &'a [u8],
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut file = Self {
            tokens: Vec::new(),
            scores: Vec::new(),
            types: Vec::new(),
            model_type: 1,
            ids: [0, 1, 2, -1],
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
        };
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(piece)) => file.read_piece(piece)?,
                (2, Field::Bytes(trainer)) => file.read_trainer(trainer)?,
                (3, Field::Bytes(normalizer)) => file.read_normalizer(normalizer)?,
                _ => {}
            }
        }
        Ok(file)
    }

    fn read_piece(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        let (mut text, mut score, mut kind) = (&[][..], 0.0, 1);
        for field in Fields(bytes) {
            match field? {
                (1, Field::Bytes(piece)) => text = piece,
                (2, Field::Fixed32(bits)) => score = f32::from_bits(bits),
                (3, Field::Varint(value)) => kind = i32::try_from(value).unwrap_or(0),
                _ => {}
            }
        }
        self.tokens.push(text);
        self.scores.push(score);
        self.types.push(kind);
        Ok(())
    }

    fn read_trainer(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        for field in Fields(bytes) {
            match field? {
                (3, Field::Varint(value)) => self.model_type = value,
                // Negative numbers are written as 64 bits of two's complement.
                (number @ 40..=43, Field::Varint(value)) => self.ids[number as usize - 40] = value as i32,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        for field in Fields(bytes) {
            match field? {
                (2, Field::Bytes(map)) => self.charsmap = map,
                (3, Field::Varint(value)) => self.add_dummy_prefix = value != 0,
                (4, Field::Varint(value)) => self.remove_extra_whitespaces = value != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn vocab(&self) -> GgufVocab<'a> {
        let [unknown, bos, eos, padding] = self.ids.map(|id| u32::try_from(id).ok());
        GgufVocab {
            tokens: self.tokens.iter().copied().collect(),
            scores: self.scores.clone(),
            token_types: self.types.clone(),
            unknown,
            bos,
            eos,
            padding,
            add_bos: Some(self.model_type == 2),
            add_space_prefix: Some(self.add_dummy_prefix),
            remove_extra_whitespaces: Some(self.remove_extra_whitespaces),
            precompiled_charsmap: Some(self.charsmap),
            ..GgufVocab::default()
        }
    }
}

/// A field's value, by its wire type.
enum Field<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of one message, with their numbers.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed64)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((key >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let left = self.0.len();
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| {
            let found = format!("a broken field {left} bytes before the end of a message");
            Error::wanted("tokenizer.model", "a SentencePiece model", found)
        }))
    }
}
