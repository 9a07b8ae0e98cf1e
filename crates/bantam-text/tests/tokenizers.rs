//! Tokenisers of our own, small, that exercise what real ones do; and files that are broken or hostile.

#![allow(clippy::unwrap_used)] // a test from end to end

use bantam_text::{Error, GgufVocab, Kind, Shown, Special, Texts, Tokenizer};
use serde_json::{Value, json};

fn from_json(json: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_tokenizer_json(json.to_string().as_bytes(), None)
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.to_ids(text, Special::Parse).unwrap()
}

/// Byte-level BPE: `h e l o Ġ ! Ċ` and what the merges make of them.
fn byte_level() -> Value {
    json!({
        "added_tokens": [
            {"id": 13, "content": "<|end|>", "special": true},
            {"id": 14, "content": "<think>", "special": false},
            {"id": 15, "content": "<mask>", "special": true, "lstrip": true, "rstrip": true}
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|end|>"}}, {"Sequence": {"id": "A"}}],
            "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [13]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE",
            "vocab": {"h": 0, "e": 1, "l": 2, "o": 3, "Ġ": 4, "!": 5, "Ċ": 6, "he": 7, "ll": 8, "hell": 9,
                      "hello": 10, "Ġhello": 11, "Ã": 16, "©": 12},
            "merges": ["h e", ["l", "l"], "he ll", "hell o", "Ġ hello"]}
    })
}

#[test]
fn byte_level_merges_words_by_rank() {
    let tokenizer = from_json(&byte_level()).unwrap();
    assert_eq!(ids(&tokenizer, "hello hello  hello!"), [10, 11, 4, 11, 5]);
    assert_eq!(ids(&tokenizer, "hel\nlo"), [7, 2, 6, 2, 3]);
    // Composed by NFC, then spelled by its two bytes.
    assert_eq!(ids(&tokenizer, "e\u{301}"), [16, 12]);
    assert_eq!(tokenizer.to_text(&[10, 11, 16, 12], Shown::All), "hello helloé");
}

#[test]
fn added_tokens_are_cut_out_and_framing_is_not_doubled() {
    let tokenizer = from_json(&byte_level()).unwrap();
    assert_eq!(ids(&tokenizer, "hello <mask> hello"), [10, 15, 10]);
    assert_eq!(ids(&tokenizer, "<think>"), [14]);
    let as_text = tokenizer.to_ids("<think>he", Special::AsText).unwrap();
    assert!(!as_text.contains(&14));
    assert_eq!(tokenizer.frame(vec![10]), [13, 10]);
    assert_eq!(tokenizer.frame(vec![13, 10]), [13, 10]);
    assert_eq!(tokenizer.stops(), [13]);
    assert_eq!(tokenizer.to_text(&[10, 13], Shown::Text), "hello");
    assert_eq!(tokenizer.to_text(&[10, 13], Shown::All), "hello<|end|>");
    assert_eq!(tokenizer.piece(14).unwrap().kind, Kind::Marker);
    assert!(tokenizer.piece(17).is_none());
}

#[test]
fn a_configuration_names_roles_and_framing() {
    let config = json!({"bos_token": {"content": "<|end|>"}, "eos_token": "<mask>", "add_bos_token": false});
    let json = byte_level().to_string();
    let tokenizer = Tokenizer::from_tokenizer_json(json.as_bytes(), Some(&config)).unwrap();
    assert_eq!(tokenizer.roles().eos, Some(15));
    assert_eq!(tokenizer.stops(), [13, 15]);
    assert!(tokenizer.prefix().is_empty());
    assert_eq!(tokenizer.role_text(tokenizer.roles().bos), "<|end|>");
}

#[test]
fn words_that_are_pieces_may_be_taken_whole() {
    let mut json = byte_level();
    json["model"]["merges"] = json!([]);
    assert_eq!(ids(&from_json(&json).unwrap(), "hello"), [0, 1, 2, 2, 3]);
    json["model"]["ignore_merges"] = json!(true);
    assert_eq!(ids(&from_json(&json).unwrap(), "hello"), [10]);
}

/// SentencePiece BPE with byte fallback, as GGUF metadata.
struct Spm {
    tokens: Vec<String>,
    types: Vec<i32>,
    scores: Vec<f32>,
}

impl Spm {
    fn new() -> Self {
        let mut spm = Self { tokens: vec![], types: vec![], scores: vec![] };
        for (token, kind) in [("<unk>", 2), ("<s>", 3), ("</s>", 3)] {
            spm.push(token, kind, 0.0);
        }
        (0..=255).for_each(|byte: u8| spm.push(&format!("<0x{byte:02X}>"), 6, 0.0));
        let pieces = ["ab", "▁ab", "abc", "▁a", "▁", "a", "b", "c", "bc"];
        for (i, piece) in pieces.iter().enumerate() {
            spm.push(piece, 1, -(i as f32));
        }
        spm.push("\t", 4, 0.0);
        spm
    }

    fn push(&mut self, token: &str, kind: i32, score: f32) {
        self.tokens.push(token.into());
        self.types.push(kind);
        self.scores.push(score);
    }

    /// The tokens with others at some ids.
    fn tokens_but<'a>(&'a self, changes: &[(usize, &'a [u8])]) -> Texts<'a> {
        let mut tokens: Vec<&[u8]> = self.tokens.iter().map(|token| token.as_bytes()).collect();
        changes.iter().for_each(|&(id, token)| tokens[id] = token);
        tokens.into()
    }

    fn vocab(&self) -> GgufVocab<'_> {
        GgufVocab {
            model: "llama",
            tokens: self.tokens.iter().map(|t| t.as_bytes()).collect(),
            scores: self.scores.clone(),
            token_types: self.types.clone(),
            bos: Some(1),
            eos: Some(2),
            unknown: Some(0),
            ..GgufVocab::default()
        }
    }
}

#[test]
fn sentencepiece_merges_by_score_and_falls_back_to_bytes() {
    let spm = Spm::new();
    let tokenizer = Tokenizer::from_gguf(&spm.vocab()).unwrap();
    let first = 259;
    // "ab" has the best score, so "▁ab" and then "c"; "bc" loses.
    assert_eq!(ids(&tokenizer, "abc"), [first + 1, first + 7]);
    assert_eq!(ids(&tokenizer, "é"), [first + 4, 3 + 0xC3, 3 + 0xA9]);
    // The tab is cut out, and the text after it begins like a document.
    assert_eq!(ids(&tokenizer, "\tb"), [first + 9, first + 4, first + 6]);
    assert_eq!(tokenizer.frame(vec![5]), [1, 5]);
    assert_eq!(tokenizer.to_text(&[1, first + 1, 3 + 0xC3, 3 + 0xA9, first + 1], Shown::Text), "abé ab");
    let mut going_on = tokenizer.stream(Shown::Text).continuing();
    assert_eq!(going_on.push(first + 1), " ab");
}

#[test]
fn runs_of_spaces_are_merged_in_the_order_of_the_list() {
    let mut spm = Spm::new();
    (2..=5).for_each(|n| spm.push(&" ".repeat(n), 4, -1000.0));
    let vocab = GgufVocab { add_space_prefix: Some(false), ..spm.vocab() };
    let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
    let run = |n: u32| 259 + 10 + n - 2;
    assert_eq!(ids(&tokenizer, "     "), [run(5)]);
    // Pairs first, then pairs of pairs: 4 and 3, not the longest run first.
    assert_eq!(ids(&tokenizer, "       "), [run(4), run(3)]);
    assert_eq!(tokenizer.to_text(&[run(4), run(3)], Shown::All), "       ");
}

#[test]
fn control_tokens_are_never_spelled_from_text() {
    let mut spm = Spm::new();
    for (piece, score) in [("<", -20.0), ("s", -21.0), (">", -22.0), ("<s", 9.0), ("s>", 8.0)] {
        spm.push(piece, 1, score);
    }
    let tokenizer = Tokenizer::from_gguf(&spm.vocab()).unwrap();
    assert!(!tokenizer.to_ids("<s>", Special::AsText).unwrap().contains(&1));
    assert!(ids(&tokenizer, "<s>").contains(&1));
}

/// A varint-framed field of a protocol buffer.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, bytes.len() as u8];
    out.extend(bytes);
    out
}

fn sentencepiece_file(model_type: u8) -> Vec<u8> {
    let pieces: [(&str, f32, u8); 8] = [
        ("<unk>", 0.0, 2),
        ("<s>", 0.0, 3),
        ("</s>", 0.0, 3),
        ("▁", -3.0, 1),
        ("a", -3.0, 1),
        ("b", -3.0, 1),
        ("ab", -1.5, 1),
        ("▁ab", -2.0, 1),
    ];
    let mut file = Vec::new();
    for (text, score, kind) in pieces {
        let mut piece = field(1, text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(score.to_le_bytes());
        piece.extend([3 << 3, kind]);
        file.extend(field(1, &piece));
    }
    file.extend(field(2, &[3 << 3, model_type]));
    file.extend(field(3, &[4 << 3, 1]));
    file
}

#[test]
fn a_sentencepiece_file_is_read_as_either_model() {
    for model_type in [1, 2] {
        let tokenizer = Tokenizer::from_sentencepiece(&sentencepiece_file(model_type), None).unwrap();
        assert_eq!(ids(&tokenizer, "ab  b"), [7, 3, 5], "model type {model_type}");
        // Runs of characters that are not there are one unknown.
        assert_eq!(ids(&tokenizer, "axxa"), [3, 4, 0, 4], "model type {model_type}");
        assert_eq!(tokenizer.to_text(&[7, 3, 5], Shown::All), "ab b");
    }
    let message = Tokenizer::from_sentencepiece(&sentencepiece_file(3), None).unwrap_err().to_string();
    assert!(message.contains("model_type"), "{message}");
}

#[test]
fn unigram_takes_the_most_probable_segmentation() {
    let json = json!({
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [
            ["<unk>", 0.0], ["▁", -2.0], ["a", -3.0], ["b", -3.0], ["aa", -3.5], ["▁a", -2.5], ["aab", -9.0]]}
    });
    let tokenizer = from_json(&json).unwrap();
    assert_eq!(ids(&tokenizer, "aaa"), [5, 4]);
    assert_eq!(ids(&tokenizer, "aab"), [1, 4, 3]);
    assert_eq!(ids(&tokenizer, "zz a"), [1, 0, 5]);
    assert_eq!(tokenizer.to_text(&[5, 4, 5], Shown::Text), "aaa a");
}

#[test]
fn wordpiece_is_greedy_and_all_or_nothing() {
    let json = json!({
        "added_tokens": [{"id": 1, "content": "[CLS]", "special": true}, {"id": 2, "content": "[SEP]", "special": true}],
        "normalizer": {"type": "BertNormalizer"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {
            "[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "un": 3, "##aff": 4, "##able": 5, "aff": 6, ",": 7, "日": 8}}
    });
    let tokenizer = from_json(&json).unwrap();
    assert_eq!(ids(&tokenizer, "Únaffable, AFF 日aff x"), [3, 4, 5, 7, 6, 8, 6, 0]);
    assert_eq!(tokenizer.frame(vec![3]), [1, 3, 2]);
    assert_eq!(tokenizer.to_text(&[1, 3, 4, 5, 7, 6, 2], Shown::Text), "unaffable, aff");
    assert_eq!(ids(&tokenizer, &"u".repeat(1_000)), [0]);
}

#[test]
fn a_bert_vocabulary_of_a_gguf_file_is_the_same() {
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁un", "able", "▁,"];
    let vocab = GgufVocab {
        model: "bert",
        tokens: tokens.iter().map(|t| t.as_bytes()).collect(),
        token_types: vec![3, 3, 3, 3, 1, 1, 1],
        ..GgufVocab::default()
    };
    let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
    assert_eq!(tokenizer.frame(ids(&tokenizer, "UNable,")), [2, 4, 5, 6, 3]);
}

#[test]
fn any_split_of_a_stream_gives_the_same_text() {
    let spm = Spm::new();
    let vocabularies = [Tokenizer::from_gguf(&spm.vocab()).unwrap(), from_json(&byte_level()).unwrap()];
    let mut state = 7u64;
    for tokenizer in &vocabularies {
        for _ in 0..2_000 {
            let ids: Vec<u32> = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u32 % tokenizer.vocab_size() as u32
                })
                .collect();
            let mut stream = tokenizer.stream(Shown::All);
            let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
            text.push_str(&stream.finish());
            assert_eq!(text, tokenizer.to_text(&ids, Shown::All));
        }
    }
    // Three bytes of one character: nothing, nothing, all of it.
    let euro: Vec<String> = {
        let mut stream = vocabularies[0].stream(Shown::All).continuing();
        "€".bytes().map(|byte| stream.push(3 + u32::from(byte))).collect()
    };
    assert_eq!(euro, ["", "", "€"]);
}

#[test]
fn a_stream_that_stops_inside_a_character_says_so() {
    let spm = Spm::new();
    let tokenizer = Tokenizer::from_gguf(&spm.vocab()).unwrap();
    let mut stream = tokenizer.stream(Shown::All);
    assert_eq!(stream.push(3 + 0xE2), "");
    assert_eq!(stream.finish(), "\u{fffd}");
    assert_eq!(tokenizer.to_text(&[3 + 0xE2, 264], Shown::All), "\u{fffd}a");
}

#[test]
fn broken_files_are_told_apart() {
    let cases: [(&str, Value, &str); 10] = [
        ("/model/merges", json!(["h zz"]), "zz"),
        ("/model/merges", json!(["he"]), "two pieces"),
        ("/model/vocab/l", json!(3), "twice"),
        ("/model/vocab/l", json!(4_000_000_000u32), "below"),
        ("/model/type", json!("Magic"), "Magic"),
        ("/pre_tokenizer", json!({"type": "Magic"}), "Magic"),
        (
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}),
            "pattern",
        ),
        (
            "/normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
            "precompiled_charsmap",
        ),
        ("/decoder", json!({"type": "Magic"}), "Magic"),
        ("/post_processor/special_tokens/<|end|>/ids", json!([99]), "post_processor"),
    ];
    for (place, value, told) in cases {
        let mut json = byte_level();
        *json.pointer_mut(place).unwrap() = value;
        let message = from_json(&json).unwrap_err().to_string();
        assert!(message.contains(told), "{place}: {message}");
    }
    let mut long = byte_level();
    long["model"]["vocab"]["x".repeat(5_000)] = json!(17);
    assert!(from_json(&long).unwrap_err().to_string().contains("2048"));
}

#[test]
fn no_cut_or_changed_file_panics() {
    let json = byte_level().to_string().into_bytes();
    let model = sentencepiece_file(1);
    for cut in 0..json.len() {
        assert!(Tokenizer::from_tokenizer_json(&json[..cut], None).is_err());
        let mut changed = json.clone();
        changed[cut] ^= 0x15;
        if let Ok(tokenizer) = Tokenizer::from_tokenizer_json(&changed, None) {
            let _ = tokenizer.to_ids("hello <mask>\0é", Special::Parse);
        }
    }
    for cut in 0..model.len() {
        let _ = Tokenizer::from_sentencepiece(&model[..cut], None);
        for flip in [1, 0x80, 0xFF] {
            let mut changed = model.clone();
            changed[cut] ^= flip;
            if let Ok(tokenizer) = Tokenizer::from_sentencepiece(&changed, None) {
                let ids = tokenizer.to_ids("ab\0xé", Special::Parse).unwrap();
                tokenizer.to_text(&ids, Shown::All);
            }
        }
    }
}

#[test]
fn hostile_gguf_tables_are_refused() {
    let spm = Spm::new();
    let check = |change: &dyn Fn(&mut GgufVocab<'_>), told: &str| {
        let mut vocab = spm.vocab();
        change(&mut vocab);
        let message = Tokenizer::from_gguf(&vocab).unwrap_err().to_string();
        assert!(message.contains(told), "{message}");
    };
    check(&|v| v.model = "magic", "`magic`");
    check(&|v| (v.model, v.pre) = ("gpt2", Some("magic")), "`magic`");
    check(&|v| v.tokens = Texts::default(), "at least one token");
    check(&|v| v.scores.truncate(3), "scores");
    check(&|v| v.scores.clear(), "scores");
    check(&|v| v.token_types.truncate(3), "token_type");
    check(&|v| (v.model, v.merges) = ("gemma4", vec![&b"ab zz"[..]].into()), "zz");
    check(&|v| (v.model, v.merges) = ("gemma4", vec![&b"\xFF"[..]].into()), "merge 0");
    check(&|v| (v.model, v.scores[0]) = ("t5", f32::NAN), "NaN");
    for (token, told) in [(&[b'x'; 5_000][..], "2048"), (b"ab", "distinct")] {
        let mut vocab = spm.vocab();
        vocab.tokens = spm.tokens_but(&[(260, token)]);
        assert!(Tokenizer::from_gguf(&vocab).unwrap_err().to_string().contains(told));
    }
    // Bytes that are no text, NULs and ids outside the vocabulary do no harm.
    let mut vocab = spm.vocab();
    vocab.tokens = spm.tokens_but(&[(261, b"\xFF\xFE"), (262, b"\0")]);
    (vocab.bos, vocab.eos, vocab.padding) = (Some(u32::MAX), Some(9_999), None);
    let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
    assert_eq!(tokenizer.roles().bos, None);
    assert_eq!(tokenizer.to_text(&[261, u32::MAX], Shown::All), "\u{fffd}\u{fffd}");
}

#[test]
fn merges_may_make_tokens_in_any_order() {
    let letters = ["a", "b", "c", "\u{120}", "\u{e9}"];
    let joined = ["ab", "\u{120}c", "abc", "\u{120}cab", "\u{e9}a"];
    let merges = ["a b", "\u{120} c", "ab c", "\u{120}c ab", "\u{e9} a"].map(str::as_bytes);
    let text = "abc cab ab c\u{e9}ab a";
    let pieces = |order: &[usize]| -> Vec<Vec<u8>> {
        let tokens = order.iter().map(|&place| joined[place]).chain(letters);
        let vocab = GgufVocab {
            model: "gpt2",
            tokens: tokens.map(str::as_bytes).collect(),
            merges: merges.into_iter().collect(),
            ..GgufVocab::default()
        };
        let tokenizer = Tokenizer::from_gguf(&vocab).unwrap();
        ids(&tokenizer, text).iter().map(|&id| tokenizer.piece(id).unwrap().bytes).collect()
    };
    let in_order = pieces(&[0, 1, 2, 3, 4]);
    assert_eq!(in_order[..3], [&b"abc"[..], b" cab", b" "]);
    for order in [[4, 3, 2, 1, 0], [1, 0, 2, 4, 3], [2, 3, 0, 1, 4]] {
        assert_eq!(pieces(&order), in_order, "{order:?}");
    }
}

#[test]
fn a_huge_prompt_without_spaces_is_read_to_the_end() {
    let spm = Spm::new();
    let text = "ab".repeat(500_000);
    let tokenizer = Tokenizer::from_gguf(&spm.vocab()).unwrap();
    assert_eq!(ids(&tokenizer, &text).len(), 500_000);
    let tokenizer = from_json(&byte_level()).unwrap();
    assert_eq!(ids(&tokenizer, &"hello".repeat(200_000)).len(), 200_000);
}
