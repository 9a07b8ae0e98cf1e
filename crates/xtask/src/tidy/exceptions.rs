//! The list of exceptions: what breaks a rule of the house, and why it may.
//!
//! One line each, `rule | subject | value | reason`. The list may only shrink: an exception that nothing needs any
//! more, or whose value is well above what is found, is an error itself.

use std::path::Path;

use super::Finding;
use crate::{Error, Result, workspace};

/// How far a value may stand above what it excuses before it has to be lowered.
const SLACK: usize = 10;

/// One line of the list.
pub(crate) struct Exception {
    rule: String,
    /// Exactly as in the finding, or a folder ending in `/`.
    subject: String,
    /// The highest value excused; 0 where the rule has no number.
    value: usize,
}

/// Reads the list.
pub(crate) fn read(path: &Path) -> Result<Vec<Exception>> {
    let text = workspace::read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(parse).collect()
}

fn parse(line: &str) -> Result<Exception> {
    let parts: Vec<_> = line.splitn(4, '|').map(str::trim).collect();
    let wrong = || Error::form("an exception is `rule | subject | value | reason`", line);
    let [rule, subject, value, reason] = parts[..] else { return Err(wrong()) };
    let value = if value == "-" { Ok(0) } else { value.parse() };
    match value {
        Ok(value) if !reason.is_empty() => {
            Ok(Exception { rule: rule.into(), subject: subject.into(), value })
        }
        _ => Err(wrong()),
    }
}

/// The findings that nothing excuses, and a finding for each exception that is too wide or not needed.
pub(crate) fn apply(exceptions: &[Exception], findings: Vec<Finding>) -> Vec<Finding> {
    let stale: Vec<_> = exceptions.iter().filter_map(|exception| exception.stale(&findings)).collect();
    let is_excused = |finding: &Finding| exceptions.iter().any(|exception| exception.excuses(finding));
    findings.into_iter().filter(|finding| !is_excused(finding)).chain(stale).collect()
}

impl Exception {
    fn is_about(&self, finding: &Finding) -> bool {
        let in_folder = self.subject.ends_with('/') && finding.subject.starts_with(&self.subject);
        self.rule == finding.rule && (in_folder || self.subject == finding.subject)
    }

    fn excuses(&self, finding: &Finding) -> bool {
        self.is_about(finding) && finding.value <= self.value
    }

    fn stale(&self, findings: &[Finding]) -> Option<Finding> {
        let found =
            findings.iter().filter(|finding| self.is_about(finding)).map(|finding| finding.value).max();
        let message = match found {
            None => "the exception is no longer needed; take its line out".to_owned(),
            Some(value) if self.value > value + SLACK => {
                format!("the exception allows {} and {value} is found; lower it", self.value)
            }
            Some(_) => return None,
        };
        Some(Finding {
            rule: "exception",
            subject: format!("{} {}", self.rule, self.subject),
            value: 0,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &'static str, subject: &str, value: usize) -> Finding {
        Finding { rule, subject: subject.into(), value, message: String::new() }
    }

    fn left(line: &str, findings: Vec<Finding>) -> Vec<String> {
        let left = apply(&[parse(line).unwrap()], findings);
        left.into_iter().map(|finding| format!("{} {}", finding.rule, finding.subject)).collect()
    }

    #[test]
    fn an_exception_excuses_up_to_its_value() {
        assert!(left("fn | a b | 90 | why", vec![finding("fn", "a b", 90)]).is_empty());
        assert_eq!(left("fn | a b | 90 | why", vec![finding("fn", "a b", 91)]), ["fn a b"]);
        assert!(left("word | docs/ | - | why", vec![finding("word", "docs/a.md", 0)]).is_empty());
    }

    #[test]
    fn the_list_may_only_shrink() {
        assert_eq!(left("fn | a b | 90 | why", vec![]), ["exception fn a b"]);
        assert_eq!(left("fn | a b | 90 | why", vec![finding("fn", "a b", 75)]), ["exception fn a b"]);
    }

    #[test]
    fn an_exception_needs_a_reason() {
        assert!(
            parse("fn | a | 3 |").is_err() && parse("fn | a | x | why").is_err() && parse("fn | a").is_err()
        );
    }
}
