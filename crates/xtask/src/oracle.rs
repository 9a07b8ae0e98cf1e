//! `oracle`: fresh tiny checkpoints of every family, with truth from transformers, against the release binary.
//!
//! The reference program is not part of the repository; it lies in the reference data beside it
//! ([`workspace::shared`]). Where that is absent the verb says so and succeeds.

use std::path::Path;
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

/// Checks all forms with `--full`, else one of them, chosen by the seed. Without `--seed` the clock chooses.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let seed = arguments.value("--seed")?.unwrap_or_else(seed_of_the_day);
    let is_full = arguments.switch("--full");
    let named = arguments.names()?;
    let Some(shared) = workspace::shared() else {
        println!("oracle: skipped, no reference data (set BANTAM_SHARED)");
        return Ok(());
    };
    let families = if named.is_empty() { golden::families()? } else { named };
    let program = shared.join("oracle/oracle.py");
    let binary = process::binary()?;
    let one = seed as usize % FORMS.len();
    let forms = if is_full { &FORMS[..] } else { &FORMS[one..=one] };
    let failed: Vec<_> =
        forms.iter().filter(|form| !check(&program, &binary, &families, seed, **form)).collect();
    match failed.len() {
        0 => Ok(()),
        count => Err(Error::Failed(format!("{count} of {} forms failed with seed {seed}", forms.len()))),
    }
}

/// Prints a line per family and file format.
fn check(program: &Path, binary: &Path, families: &[String], seed: u64, form: Form) -> bool {
    println!("oracle: seed {seed}, config {}, dtype {}", form.config, form.dtype);
    let checked = python::interpreter().and_then(|mut python| {
        python.arg(program).arg("check").arg(binary).args(families).args(["--seed", &seed.to_string()]);
        python.args(["--config", form.config, "--dtype", form.dtype, "--gguf", "--grads"]);
        process::run(&mut python)
    });
    if let Err(error) = &checked {
        println!("oracle: {error}");
    }
    checked.is_ok()
}

/// A seed that nobody developed with, short enough to be typed again.
fn seed_of_the_day() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() % 100_000
}
