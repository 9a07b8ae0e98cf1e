//! Learning from pairs of answers, one better than the other.

use std::ops::Range;

use bantam_model::Machine;

use crate::example::{self, Example};
use crate::packed::Packed;
use crate::trainer::show_losses;
use crate::{Error, StepReport, Trainer, Wanted};

/// Two answers to one prompt. Prompts carry no loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The better one.
    pub chosen: Example,
    /// The other one.
    pub rejected: Example,
    /// What [`Trainer::log_probs`] gave of the two before anything was learnt; only [`Preference::Dpo`] asks.
    pub reference: [f64; 2],
}

/// What is wanted of the log-probabilities of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Preference {
    /// `-ln s(beta ((chosen - its reference) - (rejected - its reference)))`, where `s` is the logistic function
    /// (Rafailov et al., 2023).
    Dpo {
        /// How far the model may go from the reference; less is further.
        beta: f64,
    },
    /// The mean loss of the chosen tokens, and `-lambda ln s(difference of the log odds)` of the mean log-probabilities
    /// (Hong et al., 2024). Needs no reference.
    Orpo {
        /// What the second part is multiplied with.
        lambda: f64,
    },
}

/// How well pairs are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairEvaluation {
    /// The mean over the pairs.
    pub loss: f64,
    /// How many of the pairs have the better answer in front, from 0 to 1.
    pub won: f64,
}

/// The log-probability of one answer.
#[derive(Clone, Copy, Debug)]
struct Answer {
    log_prob: f64,
    tokens: f64,
    reference: f64,
}

impl Answer {
    fn gain(self) -> f64 {
        self.log_prob - self.reference
    }

    fn mean(self) -> f64 {
        self.log_prob / self.tokens
    }
}

impl Preference {
    /// How far the chosen answer is in front.
    fn margin(self, [chosen, rejected]: [Answer; 2]) -> f64 {
        match self {
            Preference::Dpo { beta } => beta * (chosen.gain() - rejected.gain()),
            Preference::Orpo { .. } => log_odds(chosen.mean()) - log_odds(rejected.mean()),
        }
    }

    /// The loss of a pair, and its derivatives by the two log-probabilities.
    fn loss(self, answers: [Answer; 2]) -> (f64, [f64; 2]) {
        let ([chosen, rejected], margin) = (answers, self.margin(answers));
        match self {
            Preference::Dpo { beta } => {
                let slope = -beta * logistic(-margin);
                (softplus(-margin), [slope, -slope])
            }
            Preference::Orpo { lambda } => {
                let [mean_chosen, mean_rejected] = answers.map(Answer::mean);
                let slope = -lambda * logistic(-margin);
                let by_means =
                    [slope / one_minus_exp(mean_chosen) - 1.0, -slope / one_minus_exp(mean_rejected)];
                let loss = lambda * softplus(-margin) - mean_chosen;
                (loss, [by_means[0] / chosen.tokens, by_means[1] / rejected.tokens])
            }
        }
    }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)`
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 - e^x` of a mean log-probability; never zero.
fn one_minus_exp(x: f64) -> f64 {
    (-x.exp_m1()).max(1e-12)
}

/// `ln(p / (1 - p))`
fn log_odds(log_prob: f64) -> f64 {
    log_prob - one_minus_exp(log_prob).ln()
}

impl Trainer {
    /// The log-probability of what is to be learnt of each example. With [`Wanted::Adapter`] it is the model without
    /// its adapter that is asked.
    ///
    /// # Errors
    ///
    /// As [`Trainer::evaluate`].
    pub fn log_probs(&mut self, machine: &Machine, examples: &[&Example]) -> Result<Vec<f64>, Error> {
        example::check(examples)?;
        let adapter = match self.settings.wanted {
            Wanted::Adapter => None,
            _ => self.adapter.clone(),
        };
        let mut all = Vec::with_capacity(examples.len());
        for micro in example::micro_batches(examples, self.settings.micro_tokens) {
            let packed = Packed::shared(&self.model, micro, adapter.as_ref());
            let losses = self.losses(machine, &packed)?;
            all.extend(sums(&losses, &packed.counts).map(|loss| -loss));
        }
        Ok(all)
    }

    /// The loss of pairs, without learning.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step_pairs`].
    pub fn evaluate_pairs(
        &mut self,
        machine: &Machine,
        preference: Preference,
        pairs: &[&Pair],
    ) -> Result<PairEvaluation, Error> {
        check_pairs(pairs)?;
        let (loss, won) = self.asked(|trainer| {
            let (mut loss, mut won) = (0.0, 0);
            for micro in trainer.micro_pairs(pairs) {
                let packed = Packed::shared(&trainer.model, &answers_of(micro), trainer.adapter.as_ref());
                let losses = trainer.losses(machine, &packed)?;
                for answers in scored(micro, &losses, &packed.counts) {
                    loss += preference.loss(answers).0;
                    won += usize::from(preference.margin(answers) > 0.0);
                }
            }
            Ok((loss, won))
        })?;
        let count = pairs.len() as f64;
        Ok(PairEvaluation { loss: loss / count, won: won as f64 / count })
    }

    /// Learns from all pairs at once: the gradient of their mean loss.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`], and answers without a token to learn.
    pub fn step_pairs(
        &mut self,
        machine: &Machine,
        preference: Preference,
        pairs: &[&Pair],
    ) -> Result<StepReport, Error> {
        let learnt_tokens = check_pairs(pairs)?;
        let share = 1.0 / pairs.len() as f64;
        self.clear_gradients();
        let (mut loss, mut tokens) = (0.0, 0);
        for micro in self.micro_pairs(pairs) {
            let packed = Packed::shared(&self.model, &answers_of(micro), self.adapter.as_ref());
            self.accumulate(machine, &packed, |pass, losses| {
                show_losses(machine, pass, &packed, losses)?;
                let mut weights = Vec::with_capacity(losses.len());
                let counts = packed.counts.chunks(2);
                for (answers, counts) in scored(micro, losses, &packed.counts).into_iter().zip(counts) {
                    let (of_pair, slopes) = preference.loss(answers);
                    loss += of_pair * share;
                    for (slope, count) in slopes.iter().zip(counts) {
                        // A token's loss is minus its log-probability.
                        weights.extend(std::iter::repeat_n((-slope * share) as f32, *count));
                    }
                }
                Ok(weights)
            })?;
            tokens += packed.tokens;
        }
        let (grad_norm, rate) = self.descend(machine)?;
        self.examples += pairs.len() as u64;
        Ok(StepReport { loss, grad_norm, rate, tokens, learnt_tokens })
    }

    /// As [`Trainer::fullest`], of pairs.
    pub fn fullest_pairs(&self, pairs: &[&Pair]) -> (usize, Range<usize>) {
        let micro = if pairs.is_empty() { Vec::new() } else { self.micro_pairs(pairs) };
        self.fullest_of(micro.into_iter().map(|micro| (micro.len(), answers_of(micro))))
    }

    /// Pairs whose answers fit into a micro-batch together, or one pair.
    fn micro_pairs<'a, 'p>(&self, pairs: &'a [&'p Pair]) -> Vec<&'a [&'p Pair]> {
        let (mut groups, mut begin, mut tokens) = (Vec::new(), 0, 0);
        for (place, pair) in pairs.iter().enumerate() {
            let more = pair.chosen.read().len() + pair.rejected.read().len();
            if place > begin && tokens + more > self.settings.micro_tokens {
                groups.push(&pairs[begin..place]);
                (begin, tokens) = (place, 0);
            }
            tokens += more;
        }
        groups.push(&pairs[begin..]);
        groups
    }
}

/// The chosen and the rejected answer of each pair in turn.
fn answers_of<'p>(pairs: &[&'p Pair]) -> Vec<&'p Example> {
    pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).collect()
}

/// Refuses pairs that nothing can be learnt from; gives the number of tokens that carry loss.
fn check_pairs(pairs: &[&Pair]) -> Result<usize, Error> {
    let answers = answers_of(pairs);
    let learnt_tokens = example::check(&answers)?;
    match answers.iter().any(|answer| answer.learnt_tokens() == 0) {
        true => Err(Error::NothingToLearn { examples: answers.len() }),
        false => Ok(learnt_tokens),
    }
}

/// The answers of pairs with the log-probabilities that the losses of their tokens add up to.
fn scored(pairs: &[&Pair], losses: &[f64], counts: &[usize]) -> Vec<[Answer; 2]> {
    let sums: Vec<f64> = sums(losses, counts).collect();
    let of_pairs = pairs.iter().zip(sums.chunks_exact(2).zip(counts.chunks_exact(2)));
    let scored = of_pairs.map(|(pair, (sums, counts))| {
        [0, 1].map(|side| Answer {
            log_prob: -sums[side],
            tokens: counts[side] as f64,
            reference: pair.reference[side],
        })
    });
    scored.collect()
}

/// The sum for each example.
fn sums(losses: &[f64], counts: &[usize]) -> impl Iterator<Item = f64> {
    let mut begin = 0;
    counts.iter().map(move |count| {
        begin += count;
        losses[begin - count..begin].iter().sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_agree_with_differences() {
        const STEP: f64 = 1e-5;
        for preference in [Preference::Dpo { beta: 0.3 }, Preference::Orpo { lambda: 0.7 }] {
            for (chosen, rejected) in [(-3.0, -5.0), (-9.0, -2.0), (-0.2, -0.1)] {
                let loss = |chosen: f64, rejected: f64| {
                    preference.loss([
                        Answer { log_prob: chosen, tokens: 3.0, reference: -4.0 },
                        Answer { log_prob: rejected, tokens: 2.0, reference: -3.5 },
                    ])
                };
                let (_, [by_chosen, by_rejected]) = loss(chosen, rejected);
                let difference = |more: f64, less: f64| (more - less) / (2.0 * STEP);
                let expected = [
                    difference(loss(chosen + STEP, rejected).0, loss(chosen - STEP, rejected).0),
                    difference(loss(chosen, rejected + STEP).0, loss(chosen, rejected - STEP).0),
                ];
                assert!((by_chosen - expected[0]).abs() < 1e-6, "{preference:?}");
                assert!((by_rejected - expected[1]).abs() < 1e-6, "{preference:?}");
            }
        }
    }

    #[test]
    fn an_unmoved_model_has_the_loss_of_a_coin() {
        let answer = |x| Answer { log_prob: x, tokens: 2.0, reference: x };
        let (loss, slopes) = Preference::Dpo { beta: 0.1 }.loss([answer(-1.0), answer(-7.0)]);
        assert!((loss - 2.0_f64.ln()).abs() < 1e-12);
        assert!((slopes[0] + 0.05).abs() < 1e-12 && (slopes[1] - 0.05).abs() < 1e-12);
    }
}
