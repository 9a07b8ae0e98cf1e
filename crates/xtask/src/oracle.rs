//! `oracle`: fresh tiny checkpoints of every family, with truth from transformers, against the release binary.
//!
//! The reference program is not part of the repository; it lies in the reference data beside it
//! ([`workspace::shared`]). Where that is absent the verb says so and succeeds.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Arguments, Error, Result, golden, process, python, workspace};

/// One way to write the same checkpoint.
#[derive(Clone, Copy)]
struct Form {
    /// `hub`: keys as published; `v5`: keys as transformers 5 saves them.
    config: &'static str,
    dtype: &'static str,
}

const FORMS: [Form; 4] = [
    Form { config: "hub", dtype: "f32" },
    Form { config: "v5", dtype: "bf16" },
    Form { config: "hub", dtype: "bf16" },
    Form { config: "v5", dtype: "f32" },
];

/// Checks one form, chosen by the seed, or all with `--full`. Without `--seed` the clock chooses one.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let seed = arguments.value("--seed")?.unwrap_or_else(seed_of_the_day);
    let is_full = arguments.switch("--full");
    // The names that follow are families with and without the word.
    arguments.switch("--families");
    let named = arguments.names()?;
    let Some(shared) = workspace::shared() else {
        println!("oracle: skipped, no reference data (set BANTAM_SHARED)");
        return Ok(());
    };
    let oracle = Oracle {
        program: shared.join("oracle/oracle.py"),
        binary: process::binary()?,
        families: if named.is_empty() { golden::families()? } else { named },
        seed,
    };
    let one = seed as usize % FORMS.len();
    let forms = if is_full { &FORMS[..] } else { &FORMS[one..=one] };
    let failed = forms.iter().filter(|form| !oracle.check(**form)).count();
    println!("oracle: {} of {} forms passed with seed {seed}", forms.len() - failed, forms.len());
    if failed == 0 { Ok(()) } else { Err(Error::Failed(format!("{failed} forms failed with seed {seed}"))) }
}

/// What does not change from form to form.
struct Oracle {
    program: PathBuf,
    binary: PathBuf,
    families: Vec<String>,
    seed: u64,
}

impl Oracle {
    /// Prints a line per family and file format.
    fn check(&self, form: Form) -> bool {
        println!("oracle: seed {}, config {}, dtype {}", self.seed, form.config, form.dtype);
        // The reference computes its gradients after longer calls of the same model, and its dynamic rope still
        // stands at the length of those: its loss is not that of the batch. Logits come first and are right.
        let (stateful, others): (Vec<_>, Vec<_>) =
            self.families.iter().map(String::as_str).partition(|family| golden::has_dynamic_rope(family));
        let checked = [self.ask(form, &others, true), self.ask(form, &stateful, false)];
        for error in checked.iter().filter_map(|checked| checked.as_ref().err()) {
            println!("oracle: {error}");
        }
        checked.iter().all(Result::is_ok)
    }

    /// Logits of folders and GGUF files, and with `grads` the loss and the norms of its gradients.
    fn ask(&self, form: Form, families: &[&str], grads: bool) -> Result<()> {
        // The reference takes no family for all families.
        if families.is_empty() {
            return Ok(());
        }
        let mut python = python::interpreter()?;
        python.arg(&self.program).arg("check").arg(&self.binary).args(families);
        python.args([
            "--seed",
            &self.seed.to_string(),
            "--config",
            form.config,
            "--dtype",
            form.dtype,
            "--gguf",
        ]);
        process::run(python.args(grads.then_some("--grads")))
    }
}

/// A seed that nobody developed with, short enough to be typed again.
fn seed_of_the_day() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() % 100_000
}
