//! Just enough of a GGUF reader to get at the vocabulary of a file that is known to be well-formed.

#![allow(clippy::unwrap_used)] // the file is known to be well-formed

use std::collections::HashMap;

use bantam_text::GgufVocab;

/// A metadata value, as far as tokenisers need it.
enum Value {
    Integer(i64),
    Float(f32),
    Text(Vec<u8>),
    Array(Vec<Value>),
}

/// The metadata of a file.
pub(crate) struct Metadata(HashMap<String, Value>);

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk::<N>().unwrap();
        self.0 = rest;
        *head
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    fn text(&mut self) -> Vec<u8> {
        let len = self.u64() as usize;
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head.to_vec()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            0 | 7 => Value::Integer(i64::from(self.bytes::<1>()[0])),
            1 => Value::Integer(i64::from(self.bytes::<1>()[0] as i8)),
            2 => Value::Integer(i64::from(u16::from_le_bytes(self.bytes()))),
            3 => Value::Integer(i64::from(i16::from_le_bytes(self.bytes()))),
            4 => Value::Integer(i64::from(self.u32())),
            5 => Value::Integer(i64::from(i32::from_le_bytes(self.bytes()))),
            6 => Value::Float(f32::from_le_bytes(self.bytes())),
            8 => Value::Text(self.text()),
            9 => {
                let (kind, count) = (self.u32(), self.u64());
                Value::Array((0..count).map(|_| self.value(kind)).collect())
            }
            10 | 11 => Value::Integer(self.u64() as i64),
            12 => Value::Float(f64::from_le_bytes(self.bytes()) as f32),
            _ => panic!("value type {kind}"),
        }
    }
}

impl Metadata {
    pub(crate) fn read(file: &[u8]) -> Self {
        let mut reader = Reader(file);
        assert_eq!(&reader.bytes(), b"GGUF");
        let _version = reader.u32();
        let _tensors = reader.u64();
        let count = reader.u64();
        let mut values = HashMap::new();
        for _ in 0..count {
            let key = String::from_utf8(reader.text()).unwrap();
            let kind = reader.u32();
            values.insert(key, reader.value(kind));
        }
        Self(values)
    }

    fn key(&self, key: &str) -> Option<&Value> {
        self.0.get(&format!("tokenizer.ggml.{key}"))
    }

    fn text(&self, key: &str) -> Option<&str> {
        let Some(Value::Text(text)) = self.key(key) else { return None };
        std::str::from_utf8(text).ok()
    }

    fn integer(&self, key: &str) -> Option<i64> {
        let Some(Value::Integer(value)) = self.key(key) else { return None };
        Some(*value)
    }

    fn array<'a, T>(&'a self, key: &str, of: impl Fn(&'a Value) -> T) -> Vec<T> {
        let Some(Value::Array(values)) = self.key(key) else { return Vec::new() };
        values.iter().map(of).collect()
    }

    /// What the tokeniser is built from. `charsmap` keeps the bytes of the character map alive.
    pub(crate) fn vocab<'a>(&'a self, charsmap: &'a mut Vec<u8>) -> GgufVocab<'a> {
        let bytes = |value: &'a Value| if let Value::Text(text) = value { text.as_slice() } else { panic!() };
        let number = |value: &Value| if let Value::Float(number) = value { *number } else { panic!() };
        let integer = |value: &Value| if let Value::Integer(integer) = value { *integer } else { panic!() };
        let id = |key| self.integer(key).and_then(|id| u32::try_from(id).ok());
        let flag = |key| self.integer(key).map(|flag| flag != 0);
        *charsmap = self.array("precompiled_charsmap", |v| integer(v) as u8);
        GgufVocab {
            model: self.text("model").unwrap(),
            pre: self.text("pre"),
            tokens: self.array("tokens", bytes).into(),
            scores: self.array("scores", number),
            token_types: self.array("token_type", |v| integer(v) as i32),
            merges: self.array("merges", bytes).into(),
            bos: id("bos_token_id"),
            eos: id("eos_token_id"),
            eot: id("eot_token_id"),
            eom: id("eom_token_id"),
            unknown: id("unknown_token_id"),
            separator: id("seperator_token_id"),
            padding: id("padding_token_id"),
            cls: id("cls_token_id"),
            mask: id("mask_token_id"),
            add_bos: flag("add_bos_token"),
            add_eos: flag("add_eos_token"),
            add_separator: flag("add_sep_token"),
            add_space_prefix: flag("add_space_prefix"),
            remove_extra_whitespaces: flag("remove_extra_whitespaces"),
            precompiled_charsmap: Some(charsmap.as_slice()),
            lowercase: flag("normalizer.lowercase"),
        }
    }
}
