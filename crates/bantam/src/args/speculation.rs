//! Whether and how the next tokens are guessed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bantam::text::Tokenizer;
use bantam::{LoadError, Loaded};
use bantam_engine::{Settings, Speculation};
use clap::{Args, ValueEnum};

use crate::models::Models;

/// Whether and how the next tokens are guessed.
#[derive(Args, Debug, Clone)]
pub(crate) struct SpeculationArgs {
    /// Guess the next tokens, and keep guesses that are right: the answer is the same, and comes faster where guesses
    /// are good; where they are not, guessing stops by itself
    #[arg(long, value_enum, default_value_t)]
    pub(crate) speculate: SpeculateArg,
    /// A smaller model with the same tokeniser that guesses the next tokens
    #[arg(long, value_name = "MODEL", conflicts_with = "speculate")]
    pub(crate) draft: Option<String>,
}

/// Where guesses come from.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SpeculateArg {
    /// From what followed the same words before
    #[default]
    Lookup,
    /// There are none
    Off,
}

impl SpeculationArgs {
    /// Settings with these guesses.
    pub(crate) fn over(&self, settings: Settings, models: &Models, loaded: &Loaded) -> Result<Settings> {
        let speculation = match (&self.draft, self.speculate) {
            (Some(draft), _) => draft_of(draft, models, loaded)?,
            (None, SpeculateArg::Lookup) => Speculation::Lookup,
            (None, SpeculateArg::Off) => Speculation::Off,
        };
        Ok(Settings { speculation, clock, ..settings })
    }
}

fn draft_of(draft: &str, models: &Models, loaded: &Loaded) -> Result<Speculation> {
    let found = Loaded::open(&models.locate(draft)?).with_context(|| format!("the draft model {draft}"))?;
    match (found.tokenizer(), loaded.tokenizer()) {
        (Ok(found), Ok(wanted)) => check_tokens(draft, &found, &wanted)?,
        // Without tokenisers there are only ids to go by, which the engine counts.
        (Err(LoadError::NoTokenizer), Err(LoadError::NoTokenizer)) => {}
        (found, wanted) => {
            found?;
            wanted?;
        }
    }
    Ok(Speculation::Draft(found.model))
}

/// Guesses are ids: they must mean the same to both models.
fn check_tokens(draft: &str, found: &Tokenizer, wanted: &Tokenizer) -> Result<()> {
    let count = found.vocab_size().max(wanted.vocab_size());
    let other = (0..count as u32).find(|id| found.piece(*id) != wanted.piece(*id));
    let Some(id) = other else { return Ok(()) };
    let text = |tokenizer: &Tokenizer| tokenizer.piece(id).map_or("nothing".into(), |piece| piece.text());
    bail!(
        "the draft model {draft} has other tokens: {id} is {:?} there and {:?} in the model; \
         choose a draft with the same tokeniser",
        text(found),
        text(wanted)
    )
}

/// Time since the first call.
fn clock() -> Duration {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}
