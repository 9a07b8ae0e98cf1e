//! The pre-tokenisers that GGUF files name in `tokenizer.ggml.pre`.
//!
//! The patterns are those of the models' own `tokenizer.json`, applied one after the other, each match a word
//! of its own. The names are llama.cpp's.

use crate::error::Error;
use crate::pretokenize::PreTokenizer;

/// One pre-tokeniser.
pub(crate) struct Kind {
    names: &'static [&'static str],
    patterns: &'static [&'static str],
    /// A word that is a piece is taken whole (`ignore_merges`).
    pub(crate) whole_words: bool,
    /// BOS goes before a text unless the file says otherwise.
    pub(crate) adds_bos: bool,
    /// The separator goes after a text.
    pub(crate) adds_separator: bool,
}

impl Kind {
    pub(crate) fn pre_tokenizers(&self) -> Result<Vec<PreTokenizer>, Error> {
        self.patterns.iter().map(|pattern| PreTokenizer::isolate(pattern)).collect()
    }
}

/// The pre-tokeniser called `name`; files from before the key existed have none and mean GPT-2's.
pub(crate) fn kind(name: Option<&str>) -> Result<&'static Kind, Error> {
    let name = name.unwrap_or("gpt-2");
    KINDS.iter().find(|kind| kind.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().flat_map(|kind| kind.names).copied().collect();
        Error::Unsupported { place: "tokenizer.ggml.pre", name: name.into(), known: known.join(", ") }
    })
}

const DIGIT: &str = r"\p{N}";
const DIGITS_3: &str = r"\p{N}{1,3}";
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM_5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const KANA_AND_HAN: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
const HAN_TO_HANGUL: &str = "[一-龥ࠀ-一가-\u{d7ff}]+";
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_MARKS: &str = "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+";
const FALCON_MARKS: &str = r"[\p{P}$+<=>^~|`]+";
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const TINY_AYA_DIGITS: &str = r"\d{1,3}(?=(?:\d{3})*\b)";

/// The usual case: no whole words, no BOS, no separator.
const fn plain(names: &'static [&'static str], patterns: &'static [&'static str]) -> Kind {
    Kind { names, patterns, whole_words: false, adds_bos: false, adds_separator: false }
}

const fn whole(names: &'static [&'static str], patterns: &'static [&'static str], adds_bos: bool) -> Kind {
    Kind { names, patterns, whole_words: true, adds_bos, adds_separator: false }
}

#[rustfmt::skip]
const KINDS: &[Kind] = &[
    plain(
        &["gpt-2", "default", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat",
          "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "gpt-neox"],
        &[GPT_2],
    ),
    Kind {
        names: &["roberta-bpe", "jina-v1-en", "jina-v2-code"],
        patterns: &[GPT_2],
        whole_words: false,
        adds_bos: true,
        adds_separator: true,
    },
    whole(
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        &[LLAMA_3],
        true,
    ),
    plain(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[LLAMA_3]),
    plain(
        &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
        &[QWEN_2],
    ),
    plain(&["qwen35"], &[QWEN_35]),
    plain(
        &["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[DIGIT, GPT_2],
    ),
    whole(&["tekken"], &[TEKKEN], true),
    plain(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[GPT_4O]),
    plain(&["tiny_aya", "cohere2moe"], &[TINY_AYA_DIGITS, GPT_4O]),
    plain(
        &["deepseek-llm"],
        &["[\r\n]", DEEPSEEK_LETTERS, DEEPSEEK_MARKS, r"\s+$", HAN_TO_HANGUL, r"\p{N}+"],
    ),
    plain(&["deepseek-coder"], &["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_TO_HANGUL, DIGIT]),
    plain(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &[DIGITS_3, KANA_AND_HAN, DEEPSEEK_3]),
    plain(&["falcon"], &[FALCON_MARKS, GPT_2, "[0-9][0-9][0-9]"]),
    plain(&["bloom", "poro-chat", "gpt3-finnish"], &[BLOOM]),
    plain(&["viking"], &[BLOOM, DIGIT]),
    plain(&["bailingmoe", "bailingmoe2", "llada-moe"], &[BAILING]),
    plain(&["seed-coder"], &[SEED_CODER]),
    plain(&["exaone-moe"], &[EXAONE_MOE]),
    plain(&["laguna"], &[r"[^\n]+|[\n]+", QWEN_2]),
    whole(&["minicpm5"], &[DIGITS_3, MINICPM_5], false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_no_name_is_there_twice() {
        let mut names: Vec<&str> = Vec::new();
        for kind in KINDS {
            assert_eq!(kind.pre_tokenizers().unwrap().len(), kind.patterns.len());
            names.extend(kind.names);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_unknown_kind_is_named_in_the_error() {
        let message = kind(Some("klingon")).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains("`klingon`") && message.contains("llama-bpe"), "{message}");
    }
}
