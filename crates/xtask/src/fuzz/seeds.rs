//! Small valid files, all our own.
//!
//! Binary ones are written byte by byte and not by bantam's writers, so that a fault that reader and writer share
//! does not hide.

use serde_json::{Value, json};

use super::targets::{ENTRY, FIELD};
use crate::safetensors::file as safetensors_file;

pub(super) fn safetensors() -> Vec<Vec<u8>> {
    let two = [("a.weight".into(), vec![2, 3], vec![1.0; 6]), ("b".into(), vec![4], vec![0.5; 4])];
    vec![safetensors_file([]), safetensors_file(two)]
}

pub(super) fn gguf() -> Vec<Vec<u8>> {
    let scores = [0.0, -1.0, -2.0_f32].map(|score| score.to_le_bytes().to_vec());
    let pairs = [
        pair("general.architecture", 8, &text("tiny")),
        pair("general.alignment", 4, &32_u32.to_le_bytes()),
        pair("tiny.rope.freq_base", 6, &10_000_f32.to_le_bytes()),
        pair("tokenizer.ggml.add_bos_token", 7, &[1]),
        pair("tokenizer.ggml.tokens", 9, &array(8, &[text("<s>"), text("a"), text("\u{2581}b")])),
        pair("tokenizer.ggml.scores", 9, &array(6, &scores)),
    ];
    // Storage 0 is F32; 8 is Q8_0 and 12 is Q4_K, whose blocks hold 32 and 256 weights in 34 and 144 bytes.
    let tensors = [("a", 0, [2, 4], 32), ("b", 8, [32, 2], 68), ("c", 12, [256, 1], 144)];
    vec![gguf_file(&[], &[]), gguf_file(&pairs, &[]), gguf_file(&pairs, &tensors)]
}

/// (name, storage, axes with the innermost first, bytes).
type TensorInfo<'a> = (&'a str, u32, [u64; 2], usize);

fn gguf_file(pairs: &[Vec<u8>], tensors: &[TensorInfo<'_>]) -> Vec<u8> {
    let mut file = [b"GGUF".as_slice(), &3_u32.to_le_bytes()].concat();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((pairs.len() as u64).to_le_bytes());
    file.extend(pairs.concat());
    let mut data: Vec<u8> = Vec::new();
    for (name, storage, axes, bytes) in tensors {
        file.extend(text(name));
        file.extend(2_u32.to_le_bytes());
        file.extend(axes.iter().flat_map(|axis| axis.to_le_bytes()));
        file.extend(storage.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        data.resize((data.len() + bytes).next_multiple_of(32), 0x3c);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    file
}

fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), kind.to_le_bytes().as_slice(), value].concat()
}

fn text(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

fn array(kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    [kind.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes(), &values.concat()].concat()
}

pub(super) fn tokenizer_json() -> Vec<Vec<u8>> {
    let added = json!([{"id": 0, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false}]);
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let bpe = json!({"added_tokens": added, "normalizer": {"type": "NFC"}, "pre_tokenizer": byte_level,
        "decoder": byte_level, "model": {"type": "BPE", "vocab": bytes_and(&["<s>"], &["he", "ll", "hell"]),
        "merges": ["h e", "l l", "he ll"]}});
    let pieces = [("<unk>", 0.0), ("\u{2581}", -1.0), ("a", -2.0), ("\u{2581}a", -1.5), ("ab", -3.0)];
    let unigram = json!({"normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "decoder": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": pieces}});
    let words = json!({"[UNK]": 0, "def": 1, "##f": 2, "don": 3, "'": 4, "t": 5, "##n": 6});
    let wordpiece = json!({"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": null, "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true}, "model": {"type": "WordPiece",
        "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": words}});
    [bpe, unigram, wordpiece].map(|file| file.to_string().into_bytes()).to_vec()
}

/// A vocabulary: what comes first, the 256 bytes as GPT-2 spells them, what comes last.
fn bytes_and(first: &[&str], last: &[&str]) -> Value {
    let bytes = (0..=255).map(spelled);
    let all = first
        .iter()
        .map(|token| (*token).to_owned())
        .chain(bytes)
        .chain(last.iter().map(|t| (*t).to_owned()));
    Value::Object(all.enumerate().map(|(id, token)| (token, json!(id))).collect())
}

/// How GPT-2 spells a byte: itself where it can be seen, else a letter from beyond Latin-1.
fn spelled(byte: u8) -> String {
    let is_itself = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let beyond = 0x100 + (0..byte).filter(|other| !is_itself(other)).count() as u32;
    let code = if is_itself(&byte) { u32::from(byte) } else { beyond };
    char::from_u32(code).into_iter().collect()
}

/// A SentencePiece model in its protobuf: pieces (field 1) of text (1), score (2) and kind (3), then the kind of
/// model (field 3 of field 2), 1 for Unigram and 2 for BPE.
pub(super) fn tokenizer_model() -> Vec<Vec<u8>> {
    let bytes: Vec<_> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    let kinds = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].into_iter();
    let pieces = kinds.chain(bytes.iter().map(|byte| (byte.as_str(), 6)));
    let pieces = pieces.chain([("\u{2581}", 1), ("a", 1), ("\u{2581}a", 1), ("ab", 1)]);
    let pieces: Vec<u8> = pieces.flat_map(|(text, kind)| field(1, &piece(text, kind))).collect();
    let model = |kind: u8| [pieces.clone(), field(2, &[3 << 3, kind])].concat();
    vec![model(1), model(2)]
}

fn piece(text: &str, kind: u8) -> Vec<u8> {
    let score = [[2 << 3 | 5].as_slice(), &(-1_f32).to_le_bytes()].concat();
    [field(1, text.as_bytes()), score, vec![3 << 3, kind]].concat()
}

/// A field of bytes; none here has more than 127 of them, so that its length is one byte.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

pub(super) fn tokenizer_gguf() -> Vec<Vec<u8>> {
    let spelled: Vec<_> = (0..=255).map(spelled).collect();
    let hex: Vec<_> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    let with = |first: &[&str], bytes: &[String], last: &[&str]| {
        let bytes = bytes.iter().map(String::as_str);
        first.iter().copied().chain(bytes).chain(last.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let merges = ["h e", "l l", "he ll"].map(str::to_owned);
    vec![
        vocabulary("gpt2", "default", &with(&["<s>"], &spelled, &["he", "ll", "hell"]), &merges),
        vocabulary("llama", "", &with(&["<unk>", "<s>"], &hex, &["\u{2581}", "a", "\u{2581}a"]), &[]),
        vocabulary("t5", "", &with(&["<unk>", "</s>"], &[], &["\u{2581}", "a", "\u{2581}a"]), &[]),
        vocabulary("bert", "", &with(&["[UNK]"], &[], &["\u{2581}def", "f", "\u{2581}don"]), &[]),
    ]
}

fn vocabulary(model: &str, pre: &str, tokens: &[String], merges: &[String]) -> Vec<u8> {
    let kind = |token: &String| match token.as_str() {
        "<unk>" | "[UNK]" => "2",
        "<s>" | "</s>" => "3",
        token if token.starts_with("<0x") => "6",
        _ => "1",
    };
    let joined = |entries: Vec<&str>| entries.join(&ENTRY.to_string());
    let all = |entries: &[String]| entries.join(&ENTRY.to_string());
    let types = joined(tokens.iter().map(kind).collect());
    let scores = joined(tokens.iter().map(|_| "-1.5").collect());
    [model, pre, &all(tokens), &types, &scores, &all(merges)].join(&FIELD.to_string()).into_bytes()
}

pub(super) fn template() -> Vec<Vec<u8>> {
    let plain = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]\n{{ m.content | trim }}{{ eos_token }}\n\
        {% endfor %}{% if add_generation_prompt %}[assistant]\n{% endif %}";
    let features = "{%- macro show(m) -%}{{ m['role'].upper() ~ ': ' ~ m.content.split('\\n')[0] }}{%- endmacro -%}\
        {%- set ns = namespace(n=0) -%}{%- for m in messages[::-1] if m.content is string -%}\
        {%- set ns.n = ns.n + loop.index0 * 2 -%}{{ show(m) }}{{ m | tojson(indent=2) }}{%- endfor -%}\
        {%- if tools is defined and tools -%}{{ raise_exception('no tools') }}{%- endif -%}{{ ns.n }}";
    [plain, features].map(|source| source.as_bytes().to_vec()).to_vec()
}
