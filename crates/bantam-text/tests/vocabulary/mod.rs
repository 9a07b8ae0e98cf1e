//! A vocabulary of our own for tests of templates.

use bantam_text::{GgufVocab, Tokenizer};

/// A byte-level vocabulary of single bytes and a few special tokens.
pub(crate) fn tokenizer() -> Tokenizer {
    let alphabet: Vec<String> = (0..=255u8).map(spelled).collect();
    let special = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<think>", "</think>"];
    let mut tokens: Vec<&[u8]> = special.iter().map(|s| s.as_bytes()).collect();
    tokens.extend(alphabet.iter().map(|s| s.as_bytes()));
    let mut token_types = vec![3, 3, 3, 3, 4, 4];
    token_types.resize(tokens.len(), 1);
    let vocab = GgufVocab {
        model: "gpt2",
        pre: Some("qwen2"),
        tokens: tokens.into(),
        token_types,
        bos: Some(0),
        eos: Some(2),
        add_bos: Some(true),
        ..GgufVocab::default()
    };
    Tokenizer::from_gguf(&vocab).unwrap()
}

/// How GPT-2 spells a byte.
fn spelled(byte: u8) -> String {
    let is_itself = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let c = match is_itself(&byte) {
        true => u32::from(byte),
        false => 0x100 + (0..byte).filter(|b| !is_itself(b)).count() as u32,
    };
    char::from_u32(c).unwrap().to_string()
}
