//! Several tokens in one step: cheap guesses of the next tokens are computed together with the newest one, and those
//! that turn out right are kept (Leviathan et al., 2023).
//!
//! A row has the same logits alone and among others, and the sequence's own sampler chooses at each row with its own
//! random numbers. So the tokens are those that would have come without guesses, whatever the temperature: a wrong
//! guess costs time and nothing else. What it costs is measured, and a sequence guesses as far as it pays.

mod draft;
mod gain;
mod lookup;

use std::time::Duration;

use bantam_model::{Error, Machine, Scratch, State};

use crate::sampling::Sampler;
use crate::settings::{Settings, Speculation};
use draft::Drafter;
use gain::{Acceptance, Costs};
use lookup::look_up;

/// Guesses of one step, at most.
const GUESSES_MAX: usize = 15;

/// What a sequence knows of its guesses.
pub(crate) struct Guessing {
    acceptance: Acceptance,
    /// The smaller model's state, once it has guessed.
    draft: Option<State>,
}

impl Guessing {
    pub(crate) fn new() -> Self {
        Guessing { acceptance: Acceptance::new(), draft: None }
    }

    /// Takes in that the first `right` of `guessed` tokens were right, and forgets those behind the sequence's first
    /// `length` tokens.
    pub(crate) fn note(&mut self, guessed: usize, right: usize, length: usize) {
        self.acceptance.note(guessed, right);
        self.truncate(length);
    }

    /// Forgets what was read behind the first `length` tokens.
    pub(crate) fn truncate(&mut self, length: usize) {
        if let Some(state) = &mut self.draft {
            state.truncate(length);
        }
    }
}

/// Makes the guesses of all sequences.
pub(crate) struct Speculator {
    costs: Costs,
    /// Of the smaller model's steps.
    draft_costs: Costs,
    scratch: Scratch,
}

impl Speculator {
    pub(crate) fn new() -> Self {
        Speculator { costs: Costs::new(), draft_costs: Costs::new(), scratch: Scratch::default() }
    }

    /// Takes in that a step of so many rows took so long.
    pub(crate) fn note(&mut self, rows: usize, took: Duration) {
        self.costs.note(rows, took);
    }

    /// What may follow `tokens`, as far as it pays in a step that has `rows` rows already, and up to `most` of them.
    ///
    /// # Errors
    ///
    /// Those of the smaller model.
    pub(crate) fn guess(
        &mut self,
        machine: &Machine,
        settings: &Settings,
        of: &mut Guessing,
        (tokens, sampler): (&[u32], &Sampler),
        (rows, most): (usize, usize),
    ) -> Result<Vec<u32>, Error> {
        let most = most.min(GUESSES_MAX);
        match &settings.speculation {
            Speculation::Off => Ok(Vec::new()),
            Speculation::Lookup => {
                let found = look_up(tokens, most);
                let count = of.acceptance.worth(&self.costs, rows, found.len(), 0.0);
                Ok(found[..count].to_vec())
            }
            Speculation::Draft(model) => {
                // What was never measured is tried.
                let each = if self.draft_costs.is_known() { self.draft_costs.of(1) } else { 0.0 };
                let count = of.acceptance.worth(&self.costs, rows, most, each);
                if count == 0 {
                    return Ok(Vec::new());
                }
                let state = of.draft.get_or_insert_with(|| {
                    State::new(&model.description, settings.kv, settings.context_length)
                });
                let costs = &mut self.draft_costs;
                Drafter { machine, settings, model, costs, scratch: &mut self.scratch, state }.guess(
                    tokens,
                    sampler.clone(),
                    count,
                )
            }
        }
    }
}
