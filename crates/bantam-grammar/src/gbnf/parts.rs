//! What rules are made of. Parts that are equal are one part, and what they consist of comes before them: whatever is
//! found out about all of them is found out in their order.

use std::collections::HashMap;
use std::fmt::Write;

/// A part, by its place among them.
pub(super) type Id = usize;

/// A rule, by its place among them.
pub(super) type Rule = usize;

/// Ranges of characters, first to last, in order and apart from each other.
pub(super) type Class = Vec<(char, char)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    /// One of some characters.
    Class(Class),
    /// One behind the other; the empty text if there are none.
    Seq(Vec<Id>),
    Either(Vec<Id>),
    /// A part from `min` to `max` times, or as often as one likes.
    Repeat {
        of: Id,
        min: u32,
        max: Option<u32>,
    },
    Rule(Rule),
}

impl Part {
    /// The parts that it consists of.
    pub(super) fn of(&self) -> &[Id] {
        match self {
            Part::Seq(ids) | Part::Either(ids) => ids,
            Part::Repeat { of, .. } => std::slice::from_ref(of),
            Part::Class(_) | Part::Rule(_) => &[],
        }
    }
}

/// What is known of a part without looking into it.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// Characters, ranges and marks by which it is written out.
    size: usize,
    depth: usize,
    /// Whether no rule is in it.
    is_regular: bool,
}

#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: Vec<Part>,
    facts: Vec<Facts>,
    known: HashMap<Part, Id>,
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn part(&self, id: Id) -> &Part {
        &self.parts[id]
    }

    /// Whether it is regular and small enough to be written as one pattern.
    pub(super) fn is_pattern(&self, id: Id) -> bool {
        let Facts { size, depth, is_regular, .. } = self.facts[id];
        is_regular && size <= PATTERN_SIZE_MAX && depth <= PATTERN_DEPTH_MAX
    }

    fn add(&mut self, part: Part) -> Id {
        if let Some(known) = self.known.get(&part) {
            return *known;
        }
        self.facts.push(self.facts_of(&part));
        self.known.insert(part.clone(), self.parts.len());
        self.parts.push(part);
        self.parts.len() - 1
    }

    fn facts_of(&self, part: &Part) -> Facts {
        let of = part.of().iter().map(|id| self.facts[*id]);
        let own = if let Part::Class(class) = part { class.len() } else { 1 + part.of().len() };
        Facts {
            size: of.clone().fold(own, |size, one| size.saturating_add(one.size)),
            depth: 1 + of.clone().map(|one| one.depth).max().unwrap_or(0),
            is_regular: !matches!(part, Part::Rule(_)) && of.clone().all(|one| one.is_regular),
        }
    }

    pub(super) fn class(&mut self, class: Class) -> Id {
        self.add(Part::Class(class))
    }

    pub(super) fn rule(&mut self, rule: Rule) -> Id {
        self.add(Part::Rule(rule))
    }

    pub(super) fn empty(&mut self) -> Id {
        self.add(Part::Seq(Vec::new()))
    }

    /// Parts one behind the other.
    pub(super) fn seq(&mut self, mut ids: Vec<Id>) -> Id {
        ids.retain(|id| self.parts[*id] != Part::Seq(Vec::new()));
        if ids.len() == 1 { ids[0] } else { self.add(Part::Seq(ids)) }
    }

    /// One of some parts, of which there is at least one.
    pub(super) fn either(&mut self, ids: Vec<Id>) -> Id {
        let mut apart: Vec<Id> = Vec::with_capacity(ids.len());
        let mut seen = std::collections::HashSet::new();
        apart.extend(ids.into_iter().filter(|id| seen.insert(*id)));
        if apart.len() == 1 { apart[0] } else { self.add(Part::Either(apart)) }
    }

    pub(super) fn repeat(&mut self, of: Id, min: u32, max: Option<u32>) -> Id {
        match (min, max) {
            _ if self.parts[of] == Part::Seq(Vec::new()) => of,
            (_, Some(0)) => self.empty(),
            (1, Some(1)) => of,
            _ => self.add(Part::Repeat { of, min, max }),
        }
    }

    /// A part that is regular as a pattern in the syntax of Rust's `regex`, in which no `/` and no white space stand.
    pub(super) fn pattern(&self, id: Id) -> String {
        let mut pattern = String::new();
        self.write(id, &mut pattern);
        pattern
    }

    fn write(&self, id: Id, out: &mut String) {
        match &self.parts[id] {
            Part::Class(class) => write_class(class, out),
            Part::Rule(_) => unreachable!("a pattern has no rules"),
            Part::Seq(ids) if ids.is_empty() => out.push_str("(?:)"),
            Part::Seq(ids) => ids.iter().for_each(|id| self.write(*id, out)),
            Part::Either(ids) => {
                for (place, id) in ids.iter().enumerate() {
                    out.push_str(if place == 0 { "(?:" } else { "|" });
                    self.write(*id, out);
                }
                out.push(')');
            }
            Part::Repeat { of, min, max } => {
                out.push_str("(?:");
                self.write(*of, out);
                out.push(')');
                write_count(*min, *max, out);
            }
        }
    }
}

/// How often something comes, behind it, as patterns and Lark both have it.
pub(super) fn write_count(min: u32, max: Option<u32>, out: &mut String) {
    match (min, max) {
        (0, None) => out.push('*'),
        (1, None) => out.push('+'),
        (0, Some(1)) => out.push('?'),
        (min, None) => push(out, format_args!("{{{min},}}")),
        (min, Some(max)) => push(out, format_args!("{{{min},{max}}}")),
    }
}

fn write_class(class: &[(char, char)], out: &mut String) {
    if let [(first, last)] = class
        && first == last
    {
        return write_char(*first, out);
    }
    out.push('[');
    for (first, last) in class {
        write_char(*first, out);
        if first != last {
            out.push('-');
            write_char(*last, out);
        }
    }
    out.push(']');
}

fn write_char(c: char, out: &mut String) {
    if c.is_ascii_alphanumeric() {
        return out.push(c);
    }
    push(out, format_args!("\\x{{{:X}}}", u32::from(c)));
}

/// Writing to a string does not fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// A pattern that is greater takes long to be compiled; that of a whole grammar as well as one of a part.
const PATTERN_SIZE_MAX: usize = 16 << 10;
/// What reads patterns goes as deep as they do, two steps for each part, and no deeper than 250.
const PATTERN_DEPTH_MAX: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_written_without_marks_of_lark() {
        let mut parts = Parts::default();
        let slash = parts.class(vec![('/', '/')]);
        let word = parts.class(vec![('0', '9'), ('a', 'z'), ('é', 'é')]);
        let words = parts.repeat(word, 2, Some(5));
        let empty = parts.empty();
        let either = parts.either(vec![empty, words, slash]);
        let all = parts.seq(vec![slash, either, word]);
        assert_eq!(parts.pattern(all), "\\x{2F}(?:(?:)|(?:[0-9a-z\\x{E9}]){2,5}|\\x{2F})[0-9a-z\\x{E9}]");
        let many = parts.repeat(either, 0, None);
        assert_eq!(parts.seq(vec![many]), many);
    }
}
