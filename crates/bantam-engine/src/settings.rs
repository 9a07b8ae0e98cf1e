//! How an engine computes, and the memory that this takes.

use std::sync::Arc;
use std::time::Duration;

use bantam_model::description::{Description, Positions};
use bantam_model::{Isa, KvStorage, Model, Numerics, PAGE, State};

use crate::Error;

/// How an engine computes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The instruction set.
    pub isa: Isa,
    /// Threads; 0 takes one for each processor that this process may use.
    pub threads: usize,
    /// How products are rounded.
    pub numerics: Numerics,
    /// How keys and values are kept.
    pub kv: KvStorage,
    /// Tokens that a sequence may have. Rotary scalings that depend on a sequence's length (LongRoPE, dynamic NTK)
    /// go by this length for all sequences, so that their states can stand for each other.
    pub context_length: usize,
    /// Rows of one step, at most; longer prompts take several.
    pub step_rows_max: usize,
    /// Sequences that run together, at most as many as a step has rows; more wait.
    pub sequences_max: usize,
    /// Steps with prompts in them have only so many rows that they take about so long, measured by `clock`: the streams
    /// of others wait for a step.
    pub step_time_max: Duration,
    /// Bytes of ended sequences' states that are kept for requests that begin alike.
    pub kept_bytes_max: usize,
    /// Bytes of the states of running and ended sequences together. Where running ones come to need more, the latest
    /// wait, and are computed again later. At least what one sequence takes that fills the context, and a page. States
    /// of a smaller model that guesses come on top.
    pub state_bytes_max: usize,
    /// Where guesses of the next tokens come from. They change no token, only the time it takes.
    pub speculation: Speculation,
    /// Time since some moment. With one that stands still, guesses are made by what steps are supposed to cost.
    pub clock: fn() -> Duration,
}

/// Where guesses come from.
#[derive(Clone, Debug)]
pub enum Speculation {
    /// There are none.
    Off,
    /// What followed the last few tokens where they stood before (prompt lookup, Saxena, 2023): for answers that
    /// repeat their prompt.
    Lookup,
    /// A smaller model with the same tokens.
    Draft(Arc<Model>),
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            isa: Isa::best(),
            threads: 0,
            numerics: Numerics::Default,
            kv: KvStorage::F16,
            context_length: 4096,
            step_rows_max: 192,
            sequences_max: 16,
            step_time_max: Duration::from_millis(100),
            kept_bytes_max: 1 << 30,
            state_bytes_max: usize::MAX,
            speculation: Speculation::Off,
            clock: || Duration::ZERO,
        }
    }
}

/// Bytes that states of sequences take beside the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of one sequence that fills the context.
    pub sequence_bytes: usize,
    /// Of those that run together.
    pub running_bytes_max: usize,
    /// Of ended sequences.
    pub kept_bytes_max: usize,
}

impl Settings {
    /// What states of a model take at most with these settings; pages are taken as sequences grow.
    pub fn memory(&self, description: &Description) -> Memory {
        let sequence_bytes = State::bytes_at(description, self.kv, self.context_length);
        Memory {
            sequence_bytes,
            running_bytes_max: sequence_bytes.saturating_mul(self.running_max()).min(self.state_bytes_max),
            kept_bytes_max: self.kept_bytes_max.min(self.state_bytes_max),
        }
    }

    /// Sequences that run together: each must be sure of a row in every step.
    pub(crate) fn running_max(&self) -> usize {
        self.sequences_max.min(self.step_rows_max)
    }

    pub(crate) fn check(&self, description: &Description) -> Result<(), Error> {
        let counts = [
            ("context_length", self.context_length),
            ("step_rows_max", self.step_rows_max),
            ("sequences_max", self.sequences_max),
        ];
        if let Some((setting, found)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(Error::Setting { setting, found: found.to_string(), wanted: "a number from 1 up" });
        }
        // A page more, since one that is written is copied while others have it.
        let least = State::bytes_at(description, self.kv, self.context_length.saturating_add(PAGE));
        if self.state_bytes_max < least {
            let (found, context) = (self.state_bytes_max, self.context_length);
            return Err(Error::StateMemory { found, least, context });
        }
        if let Speculation::Draft(draft) = &self.speculation {
            let (found, wanted) = (draft.description.vocab_size, description.vocab_size);
            if found != wanted {
                return Err(Error::OtherVocabulary { found, wanted });
            }
            self.check_positions(&draft.description)?;
        }
        self.check_positions(description)
    }

    fn check_positions(&self, description: &Description) -> Result<(), Error> {
        match description.embed.positions {
            Positions::Learned(positions) if positions < self.context_length => {
                Err(Error::ContextTooLong { context: self.context_length, positions })
            }
            _ => Ok(()),
        }
    }
}
