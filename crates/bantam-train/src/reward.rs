//! Learning from rewards: answers that the model gave, better ones made likelier than worse ones of the same group.
//!
//! Group relative policy optimisation (Shao et al., 2024): the advantage of an answer is how far its reward is above the
//! mean of its group, by their deviation. The ratio of each token's probability to what it was when the answer was given
//! counts only as far as it is near 1 (Schulman et al., 2017). The distance from a reference, the model without its
//! adapter, is estimated token by token as `r - ln r - 1` with `r = reference / model`. All tokens of a step weigh alike
//! (Yu et al., 2025), so that long answers do not count less.

use bantam_model::Machine;

use crate::example::{self, Example};
use crate::packed::Packed;
use crate::trainer::show_losses;
use crate::{Error, StepReport, Trainer, Wanted};

/// An answer that the model gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The prompt and the answer, of which the answer is learnt.
    pub example: Example,
    /// The log-probability of each learnt token when the answer was given; none where the model is the same still.
    pub log_probs: Vec<f64>,
    /// That of the reference, where [`Grpo::beta`] is not 0.
    pub reference: Vec<f64>,
    /// How much better it is than others of its group, by [`advantages`].
    pub advantage: f64,
}

/// How far a step may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grpo {
    /// A token's ratio counts from `1 - clip` to `1 + clip`.
    pub clip: f64,
    /// What the distance from the reference is multiplied with; 0: there is none.
    pub beta: f64,
}

impl Default for Grpo {
    /// Without a reference.
    fn default() -> Self {
        Grpo { clip: 0.2, beta: 0.0 }
    }
}

/// The advantages of a group's answers from their rewards: none where all are alike.
pub fn advantages(rewards: &[f64]) -> Vec<f64> {
    let count = rewards.len().max(1) as f64;
    let mean = rewards.iter().sum::<f64>() / count;
    let variance = rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    rewards.iter().map(|reward| (reward - mean) / (variance.sqrt() + 1e-4)).collect()
}

impl Grpo {
    /// The loss of a token, and its derivative by the token's log-probability.
    fn token(self, log_prob: f64, before: f64, reference: Option<f64>, advantage: f64) -> (f64, f64) {
        let ratio = (log_prob - before).exp();
        let clipped = ratio.clamp(1.0 - self.clip, 1.0 + self.clip);
        let (loss, slope) = match ratio * advantage <= clipped * advantage {
            true => (-ratio * advantage, -ratio * advantage),
            false => (-clipped * advantage, 0.0),
        };
        let Some(reference) = reference.filter(|_| self.beta != 0.0) else { return (loss, slope) };
        let away = (reference - log_prob).exp();
        let distance = away - (reference - log_prob) - 1.0;
        (loss + self.beta * distance, slope + self.beta * (1.0 - away))
    }

    /// The losses of all tokens of an answer, and what their cross entropies weigh in the gradient.
    fn answer(self, rollout: &Rollout, losses: &[f64], share: f64) -> (f64, Vec<f32>) {
        let mut total = 0.0;
        let weights = losses.iter().enumerate().map(|(place, loss)| {
            let reference = rollout.reference.get(place).copied();
            // A token's cross entropy is minus its log-probability.
            let before = rollout.log_probs.get(place).copied().unwrap_or(-loss);
            let (loss, slope) = self.token(-loss, before, reference, rollout.advantage);
            total += loss;
            (-slope * share) as f32
        });
        let weights = weights.collect();
        (total, weights)
    }
}

impl Trainer {
    /// The log-probability of each token that is to be learnt of each example. With [`Wanted::Adapter`] and `reference`
    /// it is the model without its adapter that is asked.
    ///
    /// # Errors
    ///
    /// As [`Trainer::evaluate`].
    pub fn token_log_probs(
        &mut self,
        machine: &Machine,
        examples: &[&Example],
        reference: bool,
    ) -> Result<Vec<Vec<f64>>, Error> {
        example::check(examples)?;
        let is_plain = reference && self.settings.wanted == Wanted::Adapter;
        let adapter = self.adapter.clone().filter(|_| !is_plain);
        let mut all = Vec::with_capacity(examples.len());
        for micro in example::micro_batches(examples, self.settings.micro_tokens) {
            let packed = Packed::shared(&self.model, micro, adapter.as_ref());
            let losses = self.losses(machine, &packed)?;
            let mut losses = losses.iter().map(|loss| -loss);
            all.extend(packed.counts.iter().map(|count| losses.by_ref().take(*count).collect()));
        }
        Ok(all)
    }

    /// Learns from all answers at once: the gradient of the mean loss over their tokens.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`], and answers whose log-probabilities are not one for each learnt token.
    pub fn step_rewarded(
        &mut self,
        machine: &Machine,
        how: Grpo,
        rollouts: &[&Rollout],
    ) -> Result<StepReport, Error> {
        for (place, rollout) in rollouts.iter().enumerate() {
            check(how, rollout, place)?;
        }
        let examples: Vec<&Example> = rollouts.iter().map(|rollout| &rollout.example).collect();
        let mut rest = rollouts;
        self.step_by(machine, &examples, |trainer, packed, micro, share| {
            let (these, others) = rest.split_at(micro.len());
            rest = others;
            let mut total = 0.0;
            trainer.accumulate(machine, packed, |pass, losses| {
                show_losses(machine, pass, packed, losses)?;
                let (mut weights, mut begin) = (Vec::with_capacity(losses.len()), 0);
                for (rollout, count) in these.iter().zip(&packed.counts) {
                    let (loss, of_answer) = how.answer(rollout, &losses[begin..begin + count], share);
                    total += loss;
                    weights.extend(of_answer);
                    begin += count;
                }
                Ok(weights)
            })?;
            Ok(total)
        })
    }
}

fn check(how: Grpo, rollout: &Rollout, place: usize) -> Result<(), Error> {
    let wanted = rollout.example.learnt_tokens();
    let found = [&rollout.log_probs, &rollout.reference].map(|of| of.len());
    let refuse = |found: usize| {
        let reason = format!("of rollout {place} are {found}; wanted one for each of {wanted} learnt tokens");
        Err(Error::Setting { name: "log-probabilities", reason })
    };
    match found {
        [log_probs, _] if log_probs != wanted && log_probs != 0 => refuse(log_probs),
        [_, reference] if how.beta != 0.0 && reference != wanted => refuse(reference),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_agree_with_differences() {
        const STEP: f64 = 1e-6;
        for how in [Grpo::default(), Grpo { clip: 0.1, beta: 0.3 }] {
            for advantage in [1.5, -0.7] {
                for log_prob in [-2.0, -2.05, -1.5, -3.0] {
                    let loss = |log_prob| how.token(log_prob, -2.0, Some(-2.3), advantage).0;
                    let expected = (loss(log_prob + STEP) - loss(log_prob - STEP)) / (2.0 * STEP);
                    let (_, slope) = how.token(log_prob, -2.0, Some(-2.3), advantage);
                    assert!(
                        (slope - expected).abs() < 1e-5,
                        "{how:?} {advantage} {log_prob}: {slope}, {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_went_far_enough_counts_no_more() {
        let how = Grpo::default();
        // A good token that is likelier by more than the clip, and a bad one that is less likely.
        assert_eq!(how.token(-1.0, -2.0, None, 1.0).1, 0.0);
        assert_eq!(how.token(-3.0, -2.0, None, -1.0).1, 0.0);
        // The other way round they do.
        assert!(how.token(-3.0, -2.0, None, 1.0).1 < 0.0 && how.token(-1.0, -2.0, None, -1.0).1 > 0.0);
    }

    #[test]
    fn advantages_are_deviations_within_the_group() {
        let found = advantages(&[1.0, 0.0, 0.0, 1.0]);
        let wanted = 0.5 / ((1.0_f64 / 3.0).sqrt() + 1e-4);
        assert_eq!(found, [wanted, -wanted, -wanted, wanted]);
        assert_eq!(advantages(&[0.5; 3]), [0.0; 3]);
        assert_eq!(advantages(&[2.0]), [0.0]);
    }
}
