//! Guesses of a smaller model.

use bantam_model::{Batch, Error, Executor, Machine, Model, Scratch, State, Want};

use super::gain::Costs;
use crate::sampling::Sampler;
use crate::settings::Settings;

/// The smaller model at work on one sequence.
pub(super) struct Drafter<'a> {
    pub(super) machine: &'a Machine,
    pub(super) settings: &'a Settings,
    pub(super) model: &'a Model,
    pub(super) costs: &'a mut Costs,
    pub(super) scratch: &'a mut Scratch,
    pub(super) state: &'a mut State,
}

impl Drafter<'_> {
    /// Up to `count` guesses of what follows `tokens`, chosen as the sequence's sampler would from the smaller model's
    /// logits, and with the same random numbers: what both models find likely then comes from both.
    pub(super) fn guess(
        &mut self,
        tokens: &[u32],
        mut sampler: Sampler,
        count: usize,
    ) -> Result<Vec<u32>, Error> {
        let mut history = tokens.to_vec();
        while history.len() < tokens.len() + count {
            let logits = self.read(&history)?;
            match sampler.choose(&logits, &history) {
                Ok(id) => history.push(id),
                Err(_) => break,
            }
        }
        Ok(history.split_off(tokens.len()))
    }

    /// Reads the tokens that it has not read; the logits behind the last.
    fn read(&mut self, tokens: &[u32]) -> Result<Vec<f32>, Error> {
        loop {
            let begin = self.state.length();
            let end = tokens.len().min(begin + self.settings.step_rows_max);
            let want = if end == tokens.len() { Want::Last } else { Want::Nothing };
            let logits = self.step(&tokens[begin..end], want)?;
            if end == tokens.len() {
                return Ok(logits);
            }
        }
    }

    fn step(&mut self, tokens: &[u32], want: Want) -> Result<Vec<f32>, Error> {
        let Settings { clock, numerics, .. } = *self.settings;
        let mut batch = Batch::default();
        batch.push(tokens, self.state.length(), self.state.length_max(), want);
        let begin = clock();
        let states = &mut [&mut *self.state];
        let logits = Executor::run(self.machine, self.model, numerics, &batch, states, self.scratch)?;
        self.costs.note(tokens.len(), clock() - begin);
        Ok(logits)
    }
}
