//! GBNF as it is written: its rules as parts, with what is wrong and in which line.

use std::collections::HashMap;

use crate::error::Error;
use crate::limits::check_size;

use super::parts::{Class, Id, Parts, Rule};

/// A grammar whose rules are all there.
#[derive(Debug)]
pub(super) struct Grammar {
    pub(super) parts: Parts,
    pub(super) rules: Vec<Named>,
    pub(super) root: Rule,
}

#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    /// Where it first stands, as a rule or in one.
    pub(super) line: usize,
    pub(super) body: Id,
}

/// Parentheses within parentheses.
const NESTED_MAX: usize = 300;
/// So often may something come that is counted.
const TIMES_MAX: u32 = 10_000;
/// Parts that a grammar consists of, equal ones counted once.
const PARTS_MAX: usize = 100_000;

/// Reads a grammar.
///
/// # Errors
///
/// What is wrong, and in which line.
pub(super) fn parse(source: &str) -> Result<Grammar, Error> {
    let mut parser =
        Parser { rest: source, line: 1, parts: Parts::default(), rules: Vec::new(), names: HashMap::new() };
    parser.skip_space(Newlines::Skipped);
    while !parser.rest.is_empty() {
        parser.rule()?;
    }
    parser.grammar()
}

/// That something is wrong in a line.
pub(super) fn wrong<T>(line: usize, what: impl std::fmt::Display) -> Result<T, Error> {
    Err(Error::Refused { kind: "grammar", reason: format!("line {line}: {what}") })
}

/// Whether a rule goes on in the next line.
#[derive(Clone, Copy, PartialEq)]
enum Newlines {
    Skipped,
    End,
}

/// What stands between parentheses, as far as it is read: the alternatives before this one, and this one.
#[derive(Default)]
struct Group {
    line: usize,
    before: Vec<Id>,
    seq: Vec<Id>,
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
    parts: Parts,
    /// With what they are, once that was read.
    rules: Vec<(String, usize, Option<Id>)>,
    names: HashMap<&'a str, Rule>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let is_there = self.rest.starts_with(text);
        if is_there {
            self.rest = &self.rest[text.len()..];
        }
        is_there
    }

    /// Goes past white space and comments.
    fn skip_space(&mut self, newlines: Newlines) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => {}
                '\r' | '\n' if newlines == Newlines::Skipped => {}
                '#' => {
                    let end = self.rest.find(['\r', '\n']).unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                    continue;
                }
                _ => return,
            }
            self.next();
        }
    }

    /// The name that comes next, if one does. The underscore is no llama.cpp's, but others' who write the same.
    fn name(&mut self) -> Option<&'a str> {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let end = self.rest.find(|c| !is_of_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn rule_called(&mut self, name: &'a str) -> Rule {
        let (line, rules) = (self.line, &mut self.rules);
        *self.names.entry(name).or_insert_with(|| {
            rules.push((name.to_owned(), line, None));
            rules.len() - 1
        })
    }

    fn rule(&mut self) -> Result<(), Error> {
        let line = self.line;
        let Some(name) = self.name() else {
            return wrong(line, format_args!("wanted the name of a rule, found {}", self.found()));
        };
        self.skip_space(Newlines::End);
        if !self.take("::=") {
            return wrong(
                line,
                format_args!("wanted `::=` behind `{}`, found {}", short(name), self.found()),
            );
        }
        self.skip_space(Newlines::Skipped);
        let rule = self.rule_called(name);
        let body = self.body()?;
        if !matches!(self.peek(), None | Some('\r' | '\n')) {
            return wrong(
                self.line,
                format_args!("found {} where the rule `{}` could end", self.found(), short(name)),
            );
        }
        if self.rules[rule].2.replace(body).is_some() {
            return wrong(line, format_args!("the rule `{}` is there twice", short(name)));
        }
        self.skip_space(Newlines::Skipped);
        Ok(())
    }

    /// What a rule is, up to where nothing of it can come.
    fn body(&mut self) -> Result<Id, Error> {
        let (mut outer, mut group) = (Vec::new(), Group::default());
        loop {
            check_size("the grammar has parts:", self.parts.len(), PARTS_MAX)?;
            self.skip_space(if outer.is_empty() { Newlines::End } else { Newlines::Skipped });
            match self.peek() {
                Some('(') => {
                    check_size("the grammar is nested deep:", outer.len() + 1, NESTED_MAX)?;
                    let inner = Group { line: self.line, ..Group::default() };
                    outer.push(std::mem::replace(&mut group, inner));
                    self.next();
                }
                Some(')') if !outer.is_empty() => {
                    let inner = self.close(group);
                    group = outer.pop().unwrap_or_default();
                    group.seq.push(inner);
                    self.next();
                }
                Some('|') => {
                    self.next();
                    let one = self.parts.seq(std::mem::take(&mut group.seq));
                    group.before.push(one);
                    self.skip_space(Newlines::Skipped);
                }
                _ if self.part(&mut group.seq)? => {}
                _ if outer.is_empty() => return Ok(self.close(group)),
                None => return wrong(group.line, "the parenthesis has no end"),
                Some(_) => {
                    return wrong(
                        self.line,
                        format_args!(
                            "wanted `)` for the parenthesis of line {}, found {}",
                            group.line,
                            self.found()
                        ),
                    );
                }
            }
        }
    }

    fn close(&mut self, group: Group) -> Id {
        let last = self.parts.seq(group.seq);
        self.parts.either(group.before.into_iter().chain([last]).collect())
    }

    /// Reads what is no parenthesis, if it comes next.
    fn part(&mut self, seq: &mut Vec<Id>) -> Result<bool, Error> {
        let part = match self.peek() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('.') => {
                self.next();
                self.parts.class(vec![('\0', char::MAX)])
            }
            Some('<' | '!') => {
                return wrong(
                    self.line,
                    format_args!(
                        "{} is a token: the answer is held to as text; write what the token spells in quotes",
                        self.found()
                    ),
                );
            }
            Some('*' | '+' | '?' | '{') => {
                let Some(last) = seq.pop() else {
                    return wrong(self.line, format_args!("nothing stands before {}", self.found()));
                };
                let (min, max) = self.times()?;
                self.parts.repeat(last, min, max)
            }
            _ => {
                let Some(name) = self.name() else { return Ok(false) };
                let rule = self.rule_called(name);
                self.parts.rule(rule)
            }
        };
        seq.push(part);
        Ok(true)
    }

    fn literal(&mut self) -> Result<Id, Error> {
        let line = self.line;
        self.next();
        let mut chars = Vec::new();
        loop {
            match self.peek() {
                None => return wrong(line, "the text in quotes has no end"),
                Some('"') => break,
                Some(_) => {
                    let code = self.char()?;
                    let Some(c) = char::from_u32(code) else {
                        return wrong(self.line, format_args!("U+{code:04X} is no character"));
                    };
                    chars.push(self.parts.class(vec![(c, c)]));
                }
            }
        }
        self.next();
        Ok(self.parts.seq(chars))
    }

    fn class(&mut self) -> Result<Id, Error> {
        let line = self.line;
        self.next();
        let is_negated = self.take("^");
        let mut ranges = Vec::new();
        loop {
            match self.peek() {
                None => return wrong(line, "the class of characters has no end"),
                Some(']') => break,
                Some(_) => ranges.push(self.range()?),
            }
        }
        self.next();
        let class = characters(ranges, is_negated);
        if class.is_empty() {
            return wrong(line, "the class has no characters");
        }
        Ok(self.parts.class(class))
    }

    fn range(&mut self) -> Result<(u32, u32), Error> {
        let first = self.char()?;
        if !self.rest.starts_with('-') || self.rest.starts_with("-]") {
            return Ok((first, first));
        }
        self.next();
        let last = self.char()?;
        if last < first {
            return wrong(
                self.line,
                format_args!("the range from U+{first:04X} to U+{last:04X} runs backwards"),
            );
        }
        Ok((first, last))
    }

    /// The code of a character or an escape.
    fn char(&mut self) -> Result<u32, Error> {
        let line = self.line;
        match self.next() {
            None => wrong(line, "the grammar ends where a character was wanted"),
            Some('\\') => match self.next() {
                Some('n') => Ok(0x0A),
                Some('t') => Ok(0x09),
                Some('r') => Ok(0x0D),
                Some('x') => self.hex(2),
                Some('u') => self.hex(4),
                Some('U') => self.hex(8),
                Some(c @ ('\\' | '"' | '[' | ']' | '-')) => Ok(c.into()),
                Some(c) => wrong(line, format_args!("the escape `\\{}` is not known", c.escape_default())),
                None => wrong(line, "the grammar ends within an escape"),
            },
            Some(c) => Ok(c.into()),
        }
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Error> {
        let number = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(number) = number.and_then(|text| u32::from_str_radix(text, 16).ok()) else {
            return wrong(self.line, format_args!("the escape wants {digits} digits from 0 to F"));
        };
        self.rest = &self.rest[digits..];
        if number > char::MAX.into() {
            return wrong(self.line, format_args!("U+{number:X} is no character"));
        }
        Ok(number)
    }

    /// How often what stands before is to come.
    fn times(&mut self) -> Result<(u32, Option<u32>), Error> {
        match self.next() {
            Some('*') => return Ok((0, None)),
            Some('+') => return Ok((1, None)),
            Some('?') => return Ok((0, Some(1))),
            _ => {}
        }
        let Some(min) = self.number()? else {
            return wrong(self.line, format_args!("wanted a number behind `{{`, found {}", self.found()));
        };
        let max = match self.take(",") {
            true => self.number()?,
            false => Some(min),
        };
        if !self.take("}") {
            return wrong(self.line, format_args!("wanted `}}` behind a count, found {}", self.found()));
        }
        match max {
            Some(max) if max < min => {
                wrong(self.line, format_args!("{{{min},{max}}} counts from more to fewer"))
            }
            _ => Ok((min, max)),
        }
    }

    /// A number with the space around it, if one comes next.
    fn number(&mut self) -> Result<Option<u32>, Error> {
        self.skip_space(Newlines::End);
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_space(Newlines::End);
        if digits.is_empty() {
            return Ok(None);
        }
        match digits.parse().ok().filter(|number| *number <= TIMES_MAX) {
            Some(number) => Ok(Some(number)),
            None => wrong(
                self.line,
                format_args!("{} times is too often: wanted at most {TIMES_MAX}", short(digits)),
            ),
        }
    }

    /// What comes next, for messages.
    fn found(&self) -> String {
        match self.rest.lines().next().map(str::trim_end) {
            None => "the end".into(),
            Some("") => "the end of the line".into(),
            Some(line) => format!("`{}`", short(line)),
        }
    }

    /// All rules, if all that are named are there.
    fn grammar(self) -> Result<Grammar, Error> {
        let mut rules = Vec::with_capacity(self.rules.len());
        for (name, line, body) in self.rules {
            match body {
                Some(body) => rules.push(Named { name, line, body }),
                None => return wrong(line, format_args!("there is no rule `{}`", short(&name))),
            }
        }
        match self.names.get("root") {
            Some(root) => Ok(Grammar { parts: self.parts, rules, root: *root }),
            None => {
                let reason = "there is no rule `root`, which says what the whole answer is".into();
                Err(Error::Refused { kind: "grammar", reason })
            }
        }
    }
}

/// The characters of some ranges of codes, or all others. Codes between them that are no characters are left out.
fn characters(mut ranges: Vec<(u32, u32)>, is_negated: bool) -> Class {
    ranges.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    if is_negated {
        let firsts = std::iter::once(0).chain(joined.iter().map(|(_, last)| last + 1));
        let lasts = joined.iter().map(|(first, _)| first.checked_sub(1)).chain([Some(char::MAX.into())]);
        let gaps = firsts.zip(lasts).filter_map(|(first, last)| Some((first, last?)));
        joined = gaps.filter(|(first, last)| first <= last).collect();
    }
    joined.into_iter().flat_map(apart_from_surrogates).collect()
}

/// Surrogates are codes and no characters.
fn apart_from_surrogates((first, last): (u32, u32)) -> impl Iterator<Item = (char, char)> {
    let below = (first, last.min(0xD7FF));
    let above = (first.max(0xE000), last);
    let of = |(first, last): (u32, u32)| {
        char::from_u32(first).zip(char::from_u32(last)).filter(|(first, last)| first <= last)
    };
    of(below).into_iter().chain(of(above))
}

/// The beginning of what somebody wrote.
fn short(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut chars = text.chars();
    let begin: String = chars.by_ref().take(CHARS_MAX).collect();
    if chars.next().is_some() { begin + ".." } else { begin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ranges_in_order() {
        let class = |ranges: &[(u32, u32)], is_negated| characters(ranges.to_vec(), is_negated);
        assert_eq!(class(&[(0x62, 0x64), (0x61, 0x61), (0x63, 0x66)], false), [('a', 'f')]);
        assert_eq!(class(&[(0x61, 0x7A)], true), [('\0', '`'), ('{', '\u{D7FF}'), ('\u{E000}', char::MAX)]);
        assert_eq!(class(&[(0, 0x10FFFE)], true), [(char::MAX, char::MAX)]);
        assert_eq!(class(&[(0, 0x10FFFF)], true), []);
        assert_eq!(class(&[(0xD800, 0xDFFF)], false), []);
        assert_eq!(class(&[(0xD7FF, 0xE000)], false), [('\u{D7FF}', '\u{D7FF}'), ('\u{E000}', '\u{E000}')]);
    }
}
