//! What became of every line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::example::Origin;
use crate::fault::Fault;
use crate::files::Format;
use crate::form::Form;

/// Bad lines that are listed; all are counted.
const BAD_LISTED_MAX: usize = 50;
/// Duplicates that are listed; all are counted.
const DUPLICATES_LISTED_MAX: usize = 20;

/// What was read and what became of it: a line gives examples, or is counted as bad, as a duplicate that is left
/// out, or as too long.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The files, in the order in which they were read.
    pub files: Vec<SourceFile>,
    /// Files in folders that are of no known kind, and were not read.
    pub skipped_files: Vec<PathBuf>,
    /// Lines, rows, elements or documents that are not blank.
    pub lines: usize,
    /// What the lines are.
    pub forms: BTreeMap<Form, usize>,
    /// Lines that give no example.
    pub bad: usize,
    /// The same by reason.
    pub bad_by_reason: BTreeMap<&'static str, usize>,
    /// The first of them.
    pub bad_lines: Vec<Bad>,
    /// Lines that are equal to an earlier one.
    pub duplicates: usize,
    /// Lines that say nearly the same as an earlier one; see [`Duplicates`](crate::Duplicates) for whether they are left
    /// out.
    pub near_duplicates: usize,
    /// The first of both, with the line that they repeat.
    pub duplicate_lines: Vec<[Origin; 2]>,
    /// Completions that differ from the one that an earlier line has for the same prompt.
    pub contradictions: usize,
    /// What did not fit.
    pub cut: Cut,
    /// Chats of which each answer became an example, since the template writes earlier turns in another way.
    pub turn_by_turn: usize,
    /// Answers that do not continue what the template gives a model that is to answer.
    pub unprompted_answers: usize,
    /// Answers after which nothing tells the model to stop.
    pub unended_answers: usize,
    /// Answers of which the template writes nothing, say tool calls that it does not know. They are not learnt.
    pub empty_answers: usize,
    /// Completions that, without a template, follow their prompt without a space between them.
    pub glued_completions: usize,
    /// Lines whose column to order by holds no number and no name with a weight.
    pub without_rank: usize,
    /// Examples, for training and for validation; a pair counts as two.
    pub examples: usize,
    /// Of these, for validation.
    pub validation_examples: usize,
    /// Ids in all examples.
    pub tokens: usize,
    /// Of these, learnt.
    pub learnt_tokens: usize,
    /// How long examples are.
    pub lengths: Lengths,
}

/// A file that was read.
#[derive(Clone, Debug, Serialize)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub format: Format,
    /// Its lines that are not blank.
    pub lines: usize,
    /// Of these, bad.
    pub bad: usize,
}

/// A line that gives no example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// Its file.
    pub path: PathBuf,
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// What did not fit the longest sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Examples that lost their end.
    pub ends: usize,
    /// Examples that lost their beginning.
    pub beginnings: usize,
    /// Examples that are learnt in pieces; nothing of them is lost.
    pub split: usize,
    /// Examples that were left out: too long, or nothing to learn was left.
    pub dropped: usize,
    /// Ids lost.
    pub tokens: usize,
}

/// How long examples are, in ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// The shortest.
    pub shortest: usize,
    /// As many are shorter as are longer.
    pub median: usize,
    /// The mean.
    pub mean: f64,
    /// 95 of 100 are at most so long.
    pub percentile_95: usize,
    /// The longest.
    pub longest: usize,
    /// How many are how long, without empty ends.
    pub histogram: Vec<Bucket>,
}

/// Examples of about the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// At least so long.
    pub from: usize,
    /// At most so long.
    pub to: usize,
    /// How many there are.
    pub examples: usize,
}

impl Report {
    pub(crate) fn add_bad(&mut self, origin: Origin, fault: &Fault) {
        self.bad += 1;
        *self.bad_by_reason.entry(fault.kind()).or_default() += 1;
        let Some(file) = self.files.get_mut(origin.file) else { return };
        file.bad += 1;
        if self.bad_lines.len() < BAD_LISTED_MAX {
            let reason = shorten(&fault.to_string());
            self.bad_lines.push(Bad { path: file.path.clone(), line: origin.line, reason });
        }
    }

    pub(crate) fn add_repeated(&mut self, line: Origin, earlier: Origin) {
        if self.duplicate_lines.len() < DUPLICATES_LISTED_MAX {
            self.duplicate_lines.push([line, earlier]);
        }
    }
}

/// Reasons may quote what a line holds.
fn shorten(reason: &str) -> String {
    let mut short: String = reason.chars().take(300).collect();
    if short.len() < reason.len() {
        short.push('…');
    }
    short
}

impl Lengths {
    /// Of these lengths, in any order.
    pub(crate) fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let at = |share: f64| {
            let place = (lengths.len() as f64 * share).ceil() as usize;
            lengths.get(place.saturating_sub(1)).copied().unwrap_or(0)
        };
        Self {
            shortest: lengths.first().copied().unwrap_or(0),
            median: at(0.5),
            mean: lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64,
            percentile_95: at(0.95),
            longest: lengths.last().copied().unwrap_or(0),
            histogram: histogram(&lengths),
        }
    }
}

/// Buckets that end at powers of two and at halves between them.
fn histogram(sorted: &[usize]) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let (mut from, mut to) = (1, 8);
    let mut done = 0;
    while done < sorted.len() {
        let end = sorted.partition_point(|length| *length <= to);
        if end > done || !buckets.is_empty() {
            buckets.push(Bucket { from, to, examples: end - done });
        }
        done = end;
        from = to + 1;
        to = if to.is_power_of_two() { to / 2 * 3 } else { to / 3 * 4 };
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_summed_up() {
        let lengths = Lengths::of((1..=100).rev().collect());
        assert_eq!(
            (lengths.shortest, lengths.median, lengths.percentile_95, lengths.longest),
            (1, 50, 95, 100)
        );
        assert!((lengths.mean - 50.5).abs() < 1e-9);
        let counts: Vec<_> = lengths.histogram.iter().map(|b| (b.from, b.to, b.examples)).collect();
        let expected =
            [(1, 8, 8), (9, 12, 4), (13, 16, 4), (17, 24, 8), (25, 32, 8), (33, 48, 16), (49, 64, 16)];
        assert_eq!(counts[..7], expected);
        assert_eq!(counts[7..], [(65, 96, 32), (97, 128, 4)]);
        assert_eq!(Lengths::of(Vec::new()), Lengths::default());
    }
}
