//! What is asked of the program, and how its answers are judged.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::truth::{Perplexity, Prompt};
use crate::{Error, Result, process};

/// Largest difference of a logit from the recorded one, in exact arithmetic.
const LOGIT_TOLERANCE: f64 = 2e-3;

/// The modes of arithmetic, and how far the perplexity of each may lie from the exact one, relative to it.
const MODES: [(&str, f64); 2] = [("exact", 2e-4), ("default", 1e-3)];

/// A judgement: what to print when it is good, or what is wrong.
type Verdict = std::result::Result<(), String>;

/// Counts verdicts and prints the bad ones.
#[derive(Default)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    /// Greedy continuations in the default mode: equal to the exact ones, and all.
    default_greedy: (usize, usize),
}

/// A model file under test.
pub(crate) struct Subject<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) path: PathBuf,
    pub(crate) name: &'a str,
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Logits {
    logits: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Measured {
    perplexity: f64,
}

impl Subject<'_> {
    pub(crate) fn check_prompts(&self, prompts: &[Prompt], tally: &mut Tally) {
        println!("real: {}, {} prompts", self.name, prompts.len());
        for prompt in prompts {
            tally.record(&self.about("ids", prompt), self.check_ids(prompt));
            tally.record(&self.about("top 5", prompt), self.check_top5(prompt));
            tally.record(&self.about("greedy, exact", prompt), self.check_greedy(prompt, "exact"));
            tally.count_default_greedy(self.check_greedy(prompt, "default"), prompt);
        }
    }

    pub(crate) fn check_perplexity(&self, truth: &Perplexity, text: &Path, tally: &mut Tally) {
        for (mode, tolerance) in MODES {
            let verdict = self.perplexity(truth, text, mode).and_then(|measured| {
                let off = (measured / truth.exact - 1.0).abs();
                println!(
                    "real: {}, {mode}: perplexity {measured:.4}, exact is {:.4}",
                    self.name, truth.exact
                );
                require(off <= tolerance, || {
                    format!("{measured} is {:.3} % off {}", 100.0 * off, truth.exact)
                })
            });
            tally.record(&format!("{} perplexity, {mode}", self.name), verdict);
        }
    }

    fn about(&self, what: &str, prompt: &Prompt) -> String {
        format!("{} {what} {:?}", self.name, prompt.text.chars().take(40).collect::<String>())
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = process::command(self.binary);
        command.arg(verb).arg(&self.path).arg("--json");
        command
    }

    fn check_ids(&self, prompt: &Prompt) -> Verdict {
        let mut command = self.verb("tokenize");
        command.arg("-").args(prompt.is_chat().then_some("--special"));
        let found: Ids = ask(&mut command, Some(&prompt.text))?;
        require(found.ids == prompt.tokens, || format!("{:?}, wanted {:?}", found.ids, prompt.tokens))
    }

    fn check_top5(&self, prompt: &Prompt) -> Verdict {
        let mut command = self.verb("logits");
        command.args(["--tokens", &join(&prompt.tokens), "--numerics", "exact"]);
        let found: Logits = ask(&mut command, None)?;
        let last = found.logits.last().ok_or("no logits")?;
        for &(id, wanted) in &prompt.top5 {
            let logit = last.get(id).copied().unwrap_or(f64::NAN);
            require((logit - wanted).abs() <= LOGIT_TOLERANCE, || {
                format!("token {id}: {logit}, wanted {wanted}")
            })?;
        }
        let lowest = prompt.top5.iter().map(|&(_, logit)| logit).fold(f64::INFINITY, f64::min);
        let above = last.iter().filter(|logit| **logit > lowest + LOGIT_TOLERANCE).count();
        require(above < prompt.top5.len(), || format!("{above} logits above the fifth, {lowest}"))
    }

    fn check_greedy(&self, prompt: &Prompt, mode: &str) -> Verdict {
        let mut command = self.verb("generate");
        command.args(["--tokens", &join(&prompt.tokens), "--max-tokens", &prompt.greedy.len().to_string()]);
        command.args(["--greedy", "--ignore-eos", "--numerics", mode]);
        let found: Ids = ask(&mut command, None)?;
        let same = found.ids.iter().zip(&prompt.greedy).take_while(|(found, wanted)| found == wanted).count();
        require(found.ids == prompt.greedy, || {
            format!("{same} of {} tokens, then others", prompt.greedy.len())
        })
    }

    fn perplexity(&self, truth: &Perplexity, text: &Path, mode: &str) -> std::result::Result<f64, String> {
        let mut command = self.verb("perplexity");
        command.arg(text).args(["--windows", &truth.windows.to_string(), "--numerics", mode]);
        ask(&mut command, None).map(|found: Measured| found.perplexity)
    }
}

impl Tally {
    pub(crate) fn record(&mut self, what: &str, verdict: Verdict) {
        match verdict {
            Ok(()) => self.passed += 1,
            Err(why) => {
                self.failed += 1;
                println!("FAIL  {what}: {why}");
            }
        }
    }

    fn count_default_greedy(&mut self, verdict: Verdict, prompt: &Prompt) {
        self.default_greedy.0 += usize::from(verdict.is_ok());
        self.default_greedy.1 += 1;
        if let Err(why) = verdict {
            println!("note  greedy, default {:?}: {why}", prompt.text.chars().take(40).collect::<String>());
        }
    }

    /// A share of the prompts, in proportion where not all models were checked.
    pub(crate) fn require_default_share(&mut self, (wanted, of): (usize, usize)) {
        let (same, all) = self.default_greedy;
        println!("real: greedy text of the default mode equals the exact one in {same} of {all}");
        let verdict = require(same * of >= wanted * all, || format!("at least {wanted} of {of} are wanted"));
        self.record("greedy, default", verdict);
    }

    pub(crate) fn conclude(self) -> Result<()> {
        println!("real: {} passed, {} failed", self.passed, self.failed);
        match self.failed {
            0 => Ok(()),
            failed => Err(Error::Failed(format!("{failed} checks failed"))),
        }
    }
}

fn ask<T: DeserializeOwned>(command: &mut Command, stdin: Option<&str>) -> std::result::Result<T, String> {
    let text = process::output(command, stdin).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("not the JSON that was expected: {error}"))
}

fn require(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

fn join(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_mode_is_judged_in_proportion() {
        let share = |same, all| {
            let mut tally = Tally { default_greedy: (same, all), ..Tally::default() };
            tally.require_default_share((18, 24));
            tally.failed == 0
        };
        assert!(share(18, 24) && share(9, 12) && !share(17, 24) && !share(8, 12));
    }
}
