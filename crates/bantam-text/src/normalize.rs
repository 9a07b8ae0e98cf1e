//! What happens to text before it is cut into words: Unicode forms, case, spaces.
//!
//! Source: the `normalizers` of Hugging Face's tokenizers.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use crate::charsmap::Charsmap;
use crate::error::Error;
use crate::pattern::Pattern;

/// One step.
#[derive(Debug)]
pub(crate) enum Normalizer {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    /// Removes every match.
    Remove(Pattern),
    Replace {
        from: Pattern,
        to: String,
    },
    /// Replaces a single character, the usual ` ` to `▁`.
    ReplaceChar {
        from: char,
        to: char,
    },
    Strip {
        left: bool,
        right: bool,
    },
    Prepend(String),
    Charsmap(Charsmap),
    /// Spaces around every CJK ideograph, as in BERT.
    SpaceIdeographs,
}

impl Normalizer {
    pub(crate) fn apply<'t>(&self, text: Cow<'t, str>) -> Result<Cow<'t, str>, Error> {
        let done = match self {
            Self::Nfc => text.nfc().collect(),
            Self::Nfd => text.nfd().collect(),
            Self::Nfkc => text.nfkc().collect(),
            Self::Nfkd => text.nfkd().collect(),
            Self::Lowercase => text.chars().flat_map(char::to_lowercase).collect(),
            Self::Remove(pattern) => pattern.replace_all(&text, "")?,
            Self::Replace { from, to } => from.replace_all(&text, to)?,
            Self::ReplaceChar { from, to } => text.replace(*from, to.encode_utf8(&mut [0; 4])),
            Self::Strip { left, right } => {
                let rest = if *left { text.trim_start() } else { &text };
                let rest = if *right { rest.trim_end() } else { rest };
                rest.to_owned()
            }
            Self::Prepend(prefix) if text.is_empty() || prefix.is_empty() => return Ok(text),
            Self::Prepend(prefix) => format!("{prefix}{text}"),
            Self::Charsmap(map) => map.normalize(&text),
            Self::SpaceIdeographs => space_ideographs(&text),
        };
        Ok(Cow::Owned(done))
    }

    /// The steps of `BertNormalizer`.
    pub(crate) fn bert(
        clean: bool,
        ideographs: bool,
        lowercase: bool,
        strip_accents: bool,
    ) -> Result<Vec<Self>, Error> {
        let mut steps = Vec::new();
        if clean {
            steps.push(Self::Remove(Pattern::new(r"[\x00\x{FFFD}[\p{Cc}\p{Cf}\p{Co}--[\t\n\r]]]")?));
            steps.push(Self::Replace { from: Pattern::new(r"\s")?, to: " ".into() });
        }
        if ideographs {
            steps.push(Self::SpaceIdeographs);
        }
        if strip_accents {
            steps.push(Self::Nfd);
            steps.push(Self::strip_accents()?);
        }
        if lowercase {
            steps.push(Self::Lowercase);
        }
        Ok(steps)
    }

    pub(crate) fn strip_accents() -> Result<Self, Error> {
        Ok(Self::Remove(Pattern::new(r"\p{Mn}")?))
    }
}

/// Applies all steps in order.
pub(crate) fn normalize<'t>(steps: &[Normalizer], text: &'t str) -> Result<Cow<'t, str>, Error> {
    steps.iter().try_fold(Cow::Borrowed(text), |text, step| step.apply(text))
}

fn space_ideographs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_ideograph(c) {
            out.extend([' ', c, ' ']);
        } else {
            out.push(c);
        }
    }
    out
}

/// The blocks that BERT's reference tokeniser calls Chinese characters.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(steps: &[Normalizer], text: &str) -> String {
        normalize(steps, text).unwrap().into_owned()
    }

    #[test]
    fn bert_cleans_spaces_lowers_and_strips() {
        let steps = Normalizer::bert(true, true, true, true).unwrap();
        assert_eq!(apply(&steps, "Ünï\tC\u{0}Ö\u{200d}DE日本"), "uni code 日  本 ");
    }

    #[test]
    fn a_prefix_is_not_put_before_nothing() {
        let steps = [Normalizer::Prepend("\u{2581}".into())];
        assert_eq!(apply(&steps, ""), "");
        assert_eq!(apply(&steps, "a"), "\u{2581}a");
    }

    #[test]
    fn compatibility_form_opens_ligatures() {
        assert_eq!(apply(&[Normalizer::Nfkc], "\u{fb01}①"), "fi1");
        assert_eq!(apply(&[Normalizer::Nfc], "e\u{301}"), "é");
    }
}
