//! The shape of the code in numbers, and the ratchets on lengths.

use std::fmt;

use super::Finding;
use super::source::Source;

/// A length that has a name: lines of a function or a file.
struct Length {
    lines: usize,
    subject: String,
}

/// Sums over all crates; tests count only where said.
#[derive(Default)]
pub(crate) struct Figures {
    functions: Vec<Length>,
    files: Vec<Length>,
    source: usize,
    tests: usize,
    comments: usize,
    docs: usize,
    unsafes: usize,
    proven: usize,
    public: usize,
    bare: usize,
    unwraps: usize,
}

/// (what, percentile, limit). Beauty lives in the tail: medians hardly differ between good and bad code.
const FUNCTION_LIMITS: [(&str, usize, usize); 3] =
    [("function median", 50, 8), ("function p90", 90, 28), ("function p99", 99, 70)];
const FUNCTION_MAX: usize = 100;
const FILE_P90: usize = 500;
const FILE_MAX: usize = 800;

impl Figures {
    pub(crate) fn of(sources: &[Source]) -> Self {
        let mut figures = Self::default();
        for source in sources {
            figures.add(source);
        }
        figures.functions.sort_by_key(|length| length.lines);
        figures.files.sort_by_key(|length| length.lines);
        figures
    }

    fn add(&mut self, source: &Source) {
        let (lines, tests) = source.line_counts();
        self.source += lines;
        self.tests += tests;
        if lines == 0 {
            return;
        }
        self.files.push(Length { lines, subject: source.path.clone() });
        let functions = source.functions().into_iter();
        self.functions.extend(functions.map(|function| Length {
            lines: function.lines,
            subject: format!("{} {}", source.path, function.name),
        }));
        self.add_habits(source);
    }

    fn add_habits(&mut self, source: &Source) {
        let (comments, docs) = source.comment_counts();
        self.comments += comments;
        self.docs += docs;
        let unsafes = source.unsafes();
        let blocks = unsafes.iter().filter(|one| one.needs_proof && !source.is_test(one.line));
        self.unsafes += blocks.clone().count();
        self.proven += blocks.filter(|one| one.has_proof).count();
        let (public, bare) = source.public_counts();
        self.public += public;
        self.bare += bare;
        self.unwraps += source.count(".unwrap()");
    }

    /// Lengths beyond the ratchets.
    pub(crate) fn check(&self) -> Vec<Finding> {
        let whole =
            FUNCTION_LIMITS.iter().map(|&(what, percent, limit)| (what, &self.functions, percent, limit));
        let whole = whole.chain([("file p90", &self.files, 90, FILE_P90)]);
        let beyond = whole.map(|(what, lengths, percent, limit)| (what, percentile(lengths, percent), limit));
        let beyond = beyond.filter(|(_, lines, limit)| lines > limit);
        let mut findings: Vec<_> = beyond
            .map(|(what, lines, limit)| Finding {
                rule: "figure",
                subject: what.into(),
                value: lines,
                message: format!("{lines} lines where the house allows {limit}"),
            })
            .collect();
        findings.extend(too_long("function", &self.functions, FUNCTION_MAX));
        findings.extend(too_long("file", &self.files, FILE_MAX));
        findings
    }
}

fn too_long(rule: &'static str, lengths: &[Length], limit: usize) -> impl Iterator<Item = Finding> {
    lengths.iter().filter(move |length| length.lines > limit).map(move |length| Finding {
        rule,
        subject: length.subject.clone(),
        value: length.lines,
        message: format!("{} lines where the house allows {limit}", length.lines),
    })
}

/// Of lengths in order.
fn percentile(lengths: &[Length], percent: usize) -> usize {
    let at = (lengths.len() * percent / 100).min(lengths.len().saturating_sub(1));
    lengths.get(at).map_or(0, |length| length.lines)
}

fn spread(lengths: &[Length], percents: &[usize]) -> String {
    let values: Vec<_> = percents.iter().map(|&percent| percentile(lengths, percent).to_string()).collect();
    values.join("/")
}

fn per(count: usize, each: usize, whole: usize) -> f64 {
    (count * each) as f64 / whole.max(1) as f64
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row =
            |out: &mut fmt::Formatter<'_>, what: &str, value: String| writeln!(out, "{what:26} {value}");
        row(out, "files", self.files.len().to_string())?;
        row(out, "source lines", self.source.to_string())?;
        row(out, "test : source", format!("{:.2}", per(self.tests, 1, self.source)))?;
        row(out, "function med/p90/p99/max", spread(&self.functions, &[50, 90, 99, 100]))?;
        row(out, "file med/p90/max", spread(&self.files, &[50, 90, 100]))?;
        row(out, "comments /100", format!("{:.1}", per(self.comments, 100, self.source)))?;
        row(out, "docs /100", format!("{:.1}", per(self.docs, 100, self.source)))?;
        row(out, "unsafe blocks and impls", self.unsafes.to_string())?;
        row(out, "with SAFETY", format!("{:.0} %", per(self.proven, 100, self.unsafes)))?;
        row(out, "bare pub", format!("{} of {}", self.bare, self.public))?;
        row(out, "unwrap /1000", format!("{:.1}", per(self.unwraps, 1000, self.source)))?;
        for (what, lengths) in [("function", &self.functions), ("file", &self.files)] {
            for longest in lengths.iter().rev().take(3) {
                row(out, &format!("longest {what}"), format!("{:4} {}", longest.lines, longest.subject))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(texts: &[(&str, String)]) -> Figures {
        let sources = texts.iter().map(|(path, text)| Source::new((*path).into(), text));
        Figures::of(&sources.collect::<Vec<_>>())
    }

    fn function(lines: usize) -> String {
        format!("fn a() {{\n{}}}\n", "    b();\n".repeat(lines - 2))
    }

    #[test]
    fn the_tail_is_bounded() {
        let figures = figures(&[("crates/x/src/a.rs", function(101)), ("crates/x/src/b.rs", function(8))]);
        let found: Vec<_> = figures.check().into_iter().map(|f| (f.rule, f.subject, f.value)).collect();
        let long = ("function", "crates/x/src/a.rs a".to_owned(), 101);
        assert!(
            found.contains(&long) && found.contains(&("figure", "function p99".into(), 101)),
            "{found:?}"
        );
    }

    #[test]
    fn percentiles_of_ordered_lengths() {
        let lengths: Vec<_> = (0..100).map(|lines| Length { lines, subject: String::new() }).collect();
        assert_eq!(spread(&lengths, &[50, 90, 99, 100]), "50/90/99/99");
        assert_eq!(spread(&[], &[50, 100]), "0/0");
    }

    #[test]
    fn habits_are_counted_outside_tests() {
        let text =
            "//! A.\n\n// Why.\npub fn a() { b().unwrap() }\n#[test]\nfn t() {\n    b().unwrap();\n}\n";
        let figures = figures(&[("crates/x/src/a.rs", text.into())]);
        assert_eq!((figures.source, figures.tests, figures.docs, figures.comments), (1, 4, 1, 1));
        assert_eq!((figures.unwraps, figures.public, figures.bare), (1, 1, 1));
    }
}
