//! What an answer is worth.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use regex_automata::meta::Regex;
use serde_json::{Value, json};

use crate::args::{RewardArg, RewardArgs};

/// An answer with what it is an answer to.
pub(super) struct Answered<'a> {
    pub(super) prompt: &'a str,
    pub(super) answer: &'a str,
    pub(super) wanted: &'a str,
}

/// Judges answers.
pub(super) enum Judge {
    Exact,
    Regex(Box<Regex>),
    Json,
    Command(Judging),
}

/// A program that judges, running.
pub(super) struct Judging {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Judge {
    pub(super) fn new(args: &RewardArgs) -> Result<Self> {
        Ok(match args.check()? {
            RewardArg::Exact => Judge::Exact,
            RewardArg::Json => Judge::Json,
            RewardArg::Regex => {
                let pattern = args.reward_pattern.as_deref().unwrap_or_default();
                Judge::Regex(Box::new(Regex::new(pattern).context("--reward-pattern cannot be used")?))
            }
            RewardArg::Command => {
                Judge::Command(Judging::start(args.reward_command.as_deref().unwrap_or_default())?)
            }
        })
    }

    /// What an answer is worth.
    pub(super) fn reward(&mut self, of: &Answered<'_>) -> Result<f64> {
        Ok(match self {
            Judge::Exact => f64::from(of.answer.trim() == of.wanted.trim()),
            Judge::Regex(regex) => f64::from(regex.is_match(of.answer)),
            Judge::Json => by_fields(of.answer, of.wanted),
            Judge::Command(judging) => judging.ask(of)?,
        })
    }
}

/// What an object in JSON is worth without the right fields.
const WELL_FORMED: f64 = 0.2;

/// Whether an answer is an object in JSON, and how many of all fields are as wanted.
fn by_fields(answer: &str, wanted: &str) -> f64 {
    let object = |text: &str| serde_json::from_str::<Value>(text.trim()).ok()?.as_object().cloned();
    let Some(found) = object(answer) else { return 0.0 };
    let Some(wanted) = object(wanted) else { return 1.0 };
    let right = wanted.iter().filter(|(key, value)| found.get(*key) == Some(value)).count();
    let all = wanted.len() + found.keys().filter(|key| !wanted.contains_key(*key)).count();
    WELL_FORMED + (1.0 - WELL_FORMED) * right as f64 / all.max(1) as f64
}

impl Judging {
    fn start(command: &str) -> Result<Self> {
        let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut child = Command::new(shell)
            .args([flag, command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command}"))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Judging { child, input, output: BufReader::new(output) }),
            _ => bail!("{command} has no standard input or output"),
        }
    }

    fn ask(&mut self, of: &Answered<'_>) -> Result<f64> {
        let line = json!({ "prompt": of.prompt, "answer": of.answer, "wanted": of.wanted });
        let ended = "--reward-command ended before it had judged all answers";
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).context(ended)?;
        let mut said = String::new();
        if self.output.read_line(&mut said).context("--reward-command cannot be read")? == 0 {
            bail!(ended);
        }
        match said.trim().parse() {
            Ok(reward) if f64::is_finite(reward) => Ok(reward),
            _ => bail!("--reward-command said {:?}; wanted a number for each line", said.trim()),
        }
    }
}

impl Drop for Judging {
    fn drop(&mut self) {
        // It may have ended of itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_worth_their_fields() {
        let wanted = r#"{"city": "Oslo", "days": 3}"#;
        assert_eq!(by_fields("Oslo", wanted), 0.0);
        assert_eq!(by_fields("[1]", wanted), 0.0);
        assert_eq!(by_fields("{}", wanted), 0.2);
        assert!((by_fields(r#" {"days": 3, "city": "Rome"} "#, wanted) - 0.6).abs() < 1e-12);
        assert_eq!(by_fields(wanted, wanted), 1.0);
        // What nobody asked for counts as wrong.
        assert!(by_fields(r#"{"city": "Oslo", "days": 3, "x": 1, "y": 2}"#, wanted) < 0.7);
        assert_eq!(by_fields("{}", "any"), 1.0);
    }

    #[cfg(unix)]
    #[test]
    fn a_command_judges_line_by_line() {
        let args = RewardArgs {
            reward: Some(RewardArg::Command),
            reward_pattern: None,
            reward_command: Some(
                r#"while read line; do case "$line" in *yes*) echo 1;; *) echo 0.25;; esac; done"#.into(),
            ),
            group: 2,
            answer_tokens: 1,
            kl: 0.0,
        };
        let mut judge = Judge::new(&args).unwrap();
        let mut ask = |answer| judge.reward(&Answered { prompt: "p", answer, wanted: "w" }).unwrap();
        assert_eq!([ask("yes"), ask("no"), ask("yes\nor no")], [1.0, 0.25, 1.0]);
        let gone = RewardArgs { reward_command: Some("exit 0".into()), ..args };
        let refused = Judge::new(&gone).unwrap().reward(&Answered { prompt: "", answer: "", wanted: "" });
        assert!(refused.unwrap_err().to_string().contains("ended"));
    }
}
