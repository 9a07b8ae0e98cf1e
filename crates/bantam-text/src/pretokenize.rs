//! Cuts normalised text into the words that the model sees one by one.
//!
//! Source: the `pre_tokenizers` of Hugging Face's tokenizers. Invariant of [`Words`]: the ranges are in
//! order, do not overlap and lie on character boundaries.

use std::borrow::Cow;
use std::ops::Range;

use crate::error::Error;
use crate::pattern::Pattern;
use crate::vocab::Vocab;

/// The word-start character of SentencePiece, `▁`.
pub(crate) const LOWER_BLOCK: char = '\u{2581}';

/// A text and the words in it.
#[derive(Debug)]
pub(crate) struct Words<'t> {
    pub(crate) text: Cow<'t, str>,
    pub(crate) ranges: Vec<Range<usize>>,
}

/// What becomes of the text that a pattern matches (`SplitDelimiterBehavior`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Removed,
    Isolated,
    WithPrevious,
    WithNext,
    Contiguous,
}

/// Where a Metaspace step puts a word-start character that the text has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepend {
    Always,
    First,
    Never,
}

/// One step.
#[derive(Debug)]
pub(crate) enum PreTokenizer {
    Split {
        pattern: Pattern,
        delimiter: Delimiter,
        invert: bool,
    },
    Metaspace {
        replacement: char,
        prepend: Prepend,
        split: bool,
    },
    /// A space before the text, unless there is one.
    PrefixSpace,
    /// Cuts before every `▁`, but for those inside runs of them and those after one of these characters,
    /// sorted.
    ///
    /// Of no effect on the ids if no piece goes over such a cut; then a long text is many short words.
    Blocks(Vec<char>),
}

impl PreTokenizer {
    pub(crate) fn isolate(pattern: &str) -> Result<Self, Error> {
        Ok(Self::Split { pattern: Pattern::new(pattern)?, delimiter: Delimiter::Isolated, invert: false })
    }

    pub(crate) fn remove(pattern: &str) -> Result<Self, Error> {
        Ok(Self::Split { pattern: Pattern::new(pattern)?, delimiter: Delimiter::Removed, invert: false })
    }

    /// The cuts before `▁` that no piece of `vocab` goes over.
    pub(crate) fn blocks(vocab: &Vocab) -> Option<Self> {
        const BLOCK: &[u8] = "\u{2581}".as_bytes();
        let mut joins = Vec::new();
        vocab.find(BLOCK)?;
        for (id, _) in vocab.kinds().filter(|(_, kind)| kind.is_spelled()) {
            let piece = vocab.piece(id);
            let behind = piece.strip_prefix(BLOCK).unwrap_or(piece);
            // Nearly all pieces: no `▁` behind another character.
            if !behind.iter().any(|&byte| byte == BLOCK[0]) {
                continue;
            }
            let piece = std::str::from_utf8(piece).ok()?;
            for (at, _) in piece.match_indices(LOWER_BLOCK) {
                joins.extend(piece[..at].chars().next_back().filter(|&c| c != LOWER_BLOCK));
            }
        }
        joins.sort_unstable();
        joins.dedup();
        Some(Self::Blocks(joins))
    }

    fn apply<'t>(&self, words: Words<'t>, is_first: bool) -> Result<Words<'t>, Error> {
        match self {
            Self::Split { pattern, delimiter, invert } => split(words, pattern, *delimiter, *invert),
            Self::Metaspace { replacement, prepend, split } => {
                Ok(metaspace(words, *replacement, *prepend, *split, is_first))
            }
            Self::Blocks(joins) => Ok(cut_blocks(words, joins)),
            Self::PrefixSpace => {
                Ok(rewrite(
                    words,
                    |_, word| {
                        if word.starts_with(' ') { word.to_owned() } else { format!(" {word}") }
                    },
                ))
            }
        }
    }
}

/// Applies all steps to `text`. `is_first`: nothing precedes it in its document.
pub(crate) fn words<'t>(
    steps: &[PreTokenizer],
    text: Cow<'t, str>,
    is_first: bool,
) -> Result<Words<'t>, Error> {
    let whole = 0..text.len();
    let words = Words { text, ranges: vec![whole] };
    steps.iter().try_fold(words, |words, step| step.apply(words, is_first))
}

fn split<'t>(
    words: Words<'t>,
    pattern: &Pattern,
    delimiter: Delimiter,
    invert: bool,
) -> Result<Words<'t>, Error> {
    let mut ranges = Vec::with_capacity(words.ranges.len());
    for word in &words.ranges {
        let matches = pattern.matches(&words.text[word.clone()])?;
        let parts = parts(&matches, word.len(), invert);
        let from = ranges.len();
        join(parts, delimiter, &mut ranges);
        for range in &mut ranges[from..] {
            *range = range.start + word.start..range.end + word.start;
        }
    }
    Ok(Words { text: words.text, ranges })
}

/// The whole of `0..len` as stretches, each a delimiter or not.
fn parts(matches: &[Range<usize>], len: usize, invert: bool) -> Vec<(Range<usize>, bool)> {
    let mut parts = Vec::with_capacity(matches.len() * 2 + 1);
    let mut done = 0;
    for found in matches {
        if found.start > done {
            parts.push((done..found.start, invert));
        }
        parts.push((found.clone(), !invert));
        done = found.end;
    }
    if done < len {
        parts.push((done..len, invert));
    }
    parts
}

fn join(parts: Vec<(Range<usize>, bool)>, delimiter: Delimiter, ranges: &mut Vec<Range<usize>>) {
    let mut before: Option<bool> = None;
    let first = ranges.len();
    for (range, is_delimiter) in parts {
        let joins = match delimiter {
            Delimiter::Removed if is_delimiter => continue,
            Delimiter::Removed | Delimiter::Isolated => false,
            Delimiter::WithPrevious => is_delimiter && before == Some(false),
            Delimiter::WithNext => !is_delimiter && before == Some(true),
            Delimiter::Contiguous => before == Some(is_delimiter),
        };
        match ranges.last_mut() {
            Some(last) if joins && before.is_some() => last.end = range.end,
            _ => ranges.push(range),
        }
        before = Some(is_delimiter);
    }
    debug_assert!(ranges[first..].windows(2).all(|w| w[0].end <= w[1].start));
}

/// Makes every word anew, which moves the ranges.
fn rewrite<'t>(words: Words<'t>, with: impl Fn(usize, &str) -> String) -> Words<'t> {
    let mut text = String::with_capacity(words.text.len() + words.ranges.len());
    let mut ranges = Vec::with_capacity(words.ranges.len());
    for (i, range) in words.ranges.iter().enumerate() {
        let start = text.len();
        text.push_str(&with(i, &words.text[range.clone()]));
        ranges.push(start..text.len());
    }
    Words { text: Cow::Owned(text), ranges }
}

fn cut_blocks<'t>(words: Words<'t>, joins: &[char]) -> Words<'t> {
    let mut ranges = Vec::with_capacity(words.ranges.len());
    for word in &words.ranges {
        let mut start = word.start;
        for (at, _) in words.text[word.clone()].match_indices(LOWER_BLOCK) {
            let at = word.start + at;
            let before = words.text[start..at].chars().next_back();
            if before.is_some_and(|c| c != LOWER_BLOCK && joins.binary_search(&c).is_err()) {
                ranges.push(start..at);
                start = at;
            }
        }
        ranges.push(start..word.end);
    }
    Words { text: words.text, ranges }
}

fn metaspace(
    words: Words<'_>,
    replacement: char,
    prepend: Prepend,
    split: bool,
    is_first: bool,
) -> Words<'_> {
    let words = rewrite(words, |i, word| {
        let spaced = word.replace(' ', replacement.encode_utf8(&mut [0; 4]));
        let wants = match prepend {
            Prepend::Always => true,
            Prepend::First => is_first && i == 0,
            Prepend::Never => false,
        };
        if wants && !spaced.starts_with(replacement) { format!("{replacement}{spaced}") } else { spaced }
    });
    if !split {
        return words;
    }
    let mut ranges = Vec::with_capacity(words.ranges.len());
    for word in &words.ranges {
        let mut start = word.start;
        for (at, _) in words.text[word.clone()].match_indices(replacement) {
            if word.start + at > start {
                ranges.push(start..word.start + at);
                start = word.start + at;
            }
        }
        if start < word.end {
            ranges.push(start..word.end);
        }
    }
    Words { text: words.text, ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(step: PreTokenizer, text: &str) -> Vec<String> {
        let words = words(&[step], text.into(), true).unwrap();
        words.ranges.iter().map(|r| words.text[r.clone()].to_owned()).collect()
    }

    fn dashes(delimiter: Delimiter) -> Vec<String> {
        let pattern = Pattern::literal("-").unwrap();
        cut(PreTokenizer::Split { pattern, delimiter, invert: false }, "the-final--countdown")
    }

    #[test]
    fn delimiters_behave_as_named() {
        assert_eq!(dashes(Delimiter::Removed), ["the", "final", "countdown"]);
        assert_eq!(dashes(Delimiter::Isolated), ["the", "-", "final", "-", "-", "countdown"]);
        assert_eq!(dashes(Delimiter::WithPrevious), ["the-", "final-", "-", "countdown"]);
        assert_eq!(dashes(Delimiter::WithNext), ["the", "-final", "-", "-countdown"]);
        assert_eq!(dashes(Delimiter::Contiguous), ["the", "-", "final", "--", "countdown"]);
    }

    #[test]
    fn an_inverted_removal_keeps_the_matches() {
        let pattern = Pattern::new("[a-z]+").unwrap();
        let step = PreTokenizer::Split { pattern, delimiter: Delimiter::Removed, invert: true };
        assert_eq!(cut(step, "ab1cd "), ["ab", "cd"]);
    }

    #[test]
    fn blocks_are_cut_where_no_piece_goes_over() {
        assert_eq!(cut(PreTokenizer::Blocks(vec!['>']), "▁a▁▁b>▁c▁"), ["▁a", "▁▁b>▁c", "▁"]);
    }

    #[test]
    fn metaspace_splits_before_each_space() {
        let step =
            PreTokenizer::Metaspace { replacement: LOWER_BLOCK, prepend: Prepend::Always, split: true };
        assert_eq!(cut(step, "Hey  you"), ["▁Hey", "▁", "▁you"]);
        let step =
            PreTokenizer::Metaspace { replacement: LOWER_BLOCK, prepend: Prepend::First, split: false };
        assert_eq!(cut(step, " Hey you"), ["▁Hey▁you"]);
    }
}
