//! Where things end in a text that is still coming: each reader goes on where it stopped, so all of it is linear.

use super::forms::Tags;

/// Whether a text is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It ends here.
    At(usize),
    /// It may still come.
    Open,
    /// It is not there, whatever comes.
    Never,
}

/// Whether `wanted` stands at `at`, white space aside: what stands before it is skipped, what it has at its own edges
/// is not asked for.
pub(super) fn expect(text: &str, at: usize, wanted: &str) -> Found {
    let rest = text[at..].trim_start();
    let wanted = wanted.trim();
    if rest.starts_with(wanted) {
        Found::At(text.len() - rest.len() + wanted.len())
    } else if wanted.starts_with(rest) {
        Found::Open
    } else {
        Found::Never
    }
}

/// Length of the longest end of `text` that is a beginning of `marker`, but not all of it.
pub(super) fn overlap(text: &str, marker: &str) -> usize {
    let ends = marker.char_indices().map(|(at, _)| at).rev();
    ends.into_iter().find(|&end| text.ends_with(&marker[..end])).unwrap_or(0)
}

/// What begins and ends a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// `"`, with `\` before a quote that is part of the string.
    Json,
    /// `"` or `'`, likewise.
    Python,
    /// This, and nothing else; it cannot be part of a string.
    Marker(&'static str),
}

impl Quotes {
    /// The quote that `rest` begins with.
    fn at(self, rest: &str) -> Option<&'static str> {
        let known: &[&'static str] = match self {
            Quotes::Json => &["\""],
            Quotes::Python => &["\"", "'"],
            Quotes::Marker(marker) => return rest.starts_with(marker).then_some(marker),
        };
        known.iter().find(|quote| rest.starts_with(**quote)).copied()
    }

    /// Whether `rest` may become the marker.
    fn may_come(self, rest: &str) -> bool {
        matches!(self, Quotes::Marker(marker) if rest.len() < marker.len() && marker.starts_with(rest))
    }
}

/// Finds where the bracket closes that a text begins with.
#[derive(Clone, Debug)]
pub(super) struct Brackets {
    quotes: Quotes,
    at: usize,
    depth: usize,
    /// The quote that ends the string it is in.
    inside: Option<&'static str>,
}

impl Brackets {
    pub(super) fn new(quotes: Quotes, at: usize) -> Self {
        Brackets { quotes, at, depth: 0, inside: None }
    }

    /// How far it has read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Reads on.
    pub(super) fn read(&mut self, text: &str) -> Found {
        while let Some(c) = text[self.at..].chars().next() {
            let rest = &text[self.at..];
            if self.quotes.may_come(rest) {
                return Found::Open;
            }
            if let Some(quote) = self.inside {
                let step = match c {
                    _ if rest.starts_with(quote) => {
                        self.inside = None;
                        quote.len()
                    }
                    '\\' if !matches!(self.quotes, Quotes::Marker(_)) => {
                        // With what is escaped, which may have to come first.
                        let Some(escaped) = rest[1..].chars().next() else { return Found::Open };
                        1 + escaped.len_utf8()
                    }
                    c => c.len_utf8(),
                };
                self.at += step;
                continue;
            }
            if let Some(quote) = self.quotes.at(rest) {
                self.inside = Some(quote);
                self.at += quote.len();
                continue;
            }
            self.at += c.len_utf8();
            match c {
                '{' | '[' | '(' => self.depth += 1,
                '}' | ']' | ')' if self.depth <= 1 => return Found::At(self.at),
                '}' | ']' | ')' => self.depth -= 1,
                _ => {}
            }
        }
        Found::Open
    }
}

/// Finds where the last argument between tags ends. A value may hold tags: it ends where behind its tag another
/// argument begins, or the end stands.
#[derive(Clone, Debug)]
pub(super) struct Tagged {
    tags: &'static Tags,
    /// What stands behind the call, where the tags have no end of their own.
    behind: &'static str,
    at: usize,
    in_value: bool,
}

impl Tagged {
    pub(super) fn new(tags: &'static Tags, behind: &'static str, at: usize) -> Self {
        Tagged { tags, behind, at, in_value: false }
    }

    /// Reads on. What is found is the place before the end.
    pub(super) fn read(&mut self, text: &str) -> Found {
        loop {
            if self.in_value {
                let close = self.tags.value.1.trim();
                let rest = &text[self.at..];
                let Some(end) = rest.find(close) else {
                    self.at = text.len() - overlap(rest, close);
                    return Found::Open;
                };
                let behind = self.at + end + close.len();
                match self.next(text, behind) {
                    Found::Open => {
                        self.at += end;
                        return Found::Open;
                    }
                    Found::Never => self.at = behind,
                    Found::At(_) => (self.at, self.in_value) = (behind, false),
                }
            } else {
                if let Found::At(_) = expect(text, self.at, self.end()) {
                    return Found::At(self.at);
                }
                match expect(text, self.at, self.tags.key.0) {
                    Found::At(at) => (self.at, self.in_value) = (at, true),
                    other => {
                        return if self.next(text, self.at) == Found::Open { Found::Open } else { other };
                    }
                }
            }
        }
    }

    fn end(&self) -> &'static str {
        if self.tags.end.is_empty() { self.behind } else { self.tags.end }
    }

    /// Whether another argument or the end stands at `at`.
    fn next(&self, text: &str, at: usize) -> Found {
        match (expect(text, at, self.tags.key.0), expect(text, at, self.end())) {
            (Found::At(at), _) | (_, Found::At(at)) => Found::At(at),
            (Found::Open, _) | (_, Found::Open) => Found::Open,
            _ => Found::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, pieces};

    fn end_of(quotes: Quotes, parts: &[String]) -> Found {
        let (mut brackets, mut text) = (Brackets::new(quotes, 0), String::new());
        for part in parts {
            text.push_str(part);
            let found = brackets.read(&text);
            if found != Found::Open {
                return found;
            }
        }
        Found::Open
    }

    #[test]
    fn brackets_in_strings_are_text() {
        let cases = [
            (Quotes::Json, r#"{"a": "}\"}", "b": [1]} x"#, Found::At(23)),
            (Quotes::Python, r#"('it\'s )', "(")"#, Found::At(16)),
            (Quotes::Marker("<|\"|>"), "{a:<|\"|>}\\<|\"|>} ", Found::At(16)),
            (Quotes::Json, r#"{"a": "\"#, Found::Open),
        ];
        let mut random = Random::new(3);
        for (quotes, text, found) in cases {
            for _ in 0..50 {
                assert_eq!(end_of(quotes, &pieces(&mut random, text)), found, "{text}");
            }
        }
    }

    #[test]
    fn markers_are_found_with_space_around() {
        assert_eq!(expect("ab \n</x>", 2, "\n</x>\n"), Found::At(8));
        assert_eq!(expect("ab \n</", 2, "</x>"), Found::Open);
        assert_eq!(expect("ab \n", 2, "</x>"), Found::Open);
        assert_eq!(expect("ab", 1, "</x>"), Found::Never);
    }
}
