//! `real`: two real models, and the vectors of real tokenisers and templates, against recorded truth.
//!
//! The truth and the data lie outside the repository ([`workspace::shared`]); where they are absent the verb says so
//! and succeeds. The models are fetched into the build folder (or `BANTAM_MODELS`) and checked by their hashes.

mod checks;
mod truth;

use std::path::{Path, PathBuf};

use crate::{Arguments, Error, Result, process, workspace};
use checks::{Subject, Tally};
use truth::Truth;

/// How many greedy continuations the default arithmetic has to share with exact arithmetic, of all prompts.
const DEFAULT_GREEDY_SHARE: (usize, usize) = (18, 24);

/// Checks ids, logits and greedy text; with `--full` perplexity too, which takes minutes.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let is_full = arguments.switch("--full");
    let named = arguments.names()?;
    let Some(shared) = workspace::shared() else {
        println!("real: skipped, no reference data (set BANTAM_SHARED)");
        return Ok(());
    };
    let truth = Truth::read(&shared.join("oracle/real.json"))?;
    let data = unpack(&shared)?;
    let models = fetch(&shared, truth.models.keys())?;
    let binary = process::binary()?;
    let chosen = |file: &str| named.is_empty() || named.iter().any(|name| file.starts_with(name.as_str()));
    let mut tally = Tally::default();
    for (file, model) in truth.models.iter().filter(|(file, _)| chosen(file)) {
        let subject = Subject { binary: &binary, path: models.join(file), name: file };
        subject.check_prompts(&model.prompts, &mut tally);
        if is_full {
            let text = data.join(model.perplexity.unpacked_text());
            subject.check_perplexity(&model.perplexity, &text, &mut tally);
        }
    }
    tally.require_default_share(DEFAULT_GREEDY_SHARE);
    tally.record(
        "tokeniser and template vectors",
        vectors(&shared, &data, &models).map_err(|error| error.to_string()),
    );
    tally.conclude()
}

/// The data in files that a test can read, under the build folder.
fn unpack(shared: &Path) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("BANTAM_DATA") {
        return Ok(folder.into());
    }
    require_zstd()?;
    let folder = workspace::target().join("data");
    let script = shared.join("data/unpack.sh");
    process::run(process::command("bash").arg(script).arg(&folder).args([
        "tokenizers",
        "chat-templates",
        "weights",
        "eval",
    ]))?;
    Ok(folder)
}

/// The script knows a model by the first word of its file's name.
fn fetch<'a>(shared: &Path, files: impl Iterator<Item = &'a String>) -> Result<PathBuf> {
    let chosen = std::env::var_os("BANTAM_MODELS");
    let folder = chosen.map_or_else(|| workspace::target().join("models"), PathBuf::from);
    let names = files.filter_map(|file| file.split('-').next());
    let script = shared.join("data/fetch-models.sh");
    process::run(process::command("bash").arg(script).arg(&folder).args(names))?;
    Ok(folder)
}

fn require_zstd() -> Result<()> {
    let found = process::output(process::command("zstd").arg("--version"), None);
    found.map(drop).map_err(|_| Error::Failed("zstd is not installed; the data is packed with it".into()))
}

/// The tests of the text room that read vectors from folders named by the environment.
fn vectors(shared: &Path, data: &Path, models: &Path) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--quiet", "--package", "bantam-text", "--test", "vectors", "--", "--nocapture"]);
    cargo.env("BANTAM_DATA", data).env("BANTAM_MODELS", models);
    process::run(cargo.env("BANTAM_REAL", shared.join("oracle/real.json")))
}
