//! What is learnt, and how a step learns it.

use std::ops::Range;

use anyhow::Result;
use bantam_model::{Machine, Model};
use bantam_train::{Distillation, Draws, Example, Pair, Preference, StepReport, Trainer};

use super::Private;

/// Examples or pairs that an evaluation looks at, at most.
const EVALUATED_MAX: usize = 256;

/// What is learnt, and what is only measured with.
#[derive(Debug)]
pub(crate) struct Sides<T, V = T> {
    pub(crate) train: Vec<T>,
    pub(crate) validation: Vec<V>,
}

/// A model whose predictions are learnt.
pub(crate) struct Teacher {
    pub(crate) model: Model,
    pub(crate) how: Distillation,
}

/// What is learnt, and how.
pub(crate) enum Lessons {
    /// The next token.
    Tokens(Sides<Example>),
    /// The same, with little of any one example; which are in a step is chance's affair.
    Private(Sides<Example>, Private),
    /// The better answer of each pair.
    Pairs(Sides<Pair>, Preference),
    /// What a teacher predicts.
    Taught(Sides<Example>, Box<Teacher>),
    /// What a teacher predicted, as it was stored; and the share of the loss that is the plain one.
    Drawn(Sides<(Example, Draws), Example>, f32),
}

impl Lessons {
    /// Examples or pairs to learn.
    pub(crate) fn count(&self) -> usize {
        match self {
            Lessons::Tokens(sides) | Lessons::Private(sides, _) | Lessons::Taught(sides, _) => {
                sides.train.len()
            }
            Lessons::Pairs(sides, _) => sides.train.len(),
            Lessons::Drawn(sides, _) => sides.train.len(),
        }
    }

    /// Tokens of one of them.
    pub(crate) fn tokens(&self, place: usize) -> usize {
        match self {
            Lessons::Tokens(sides) | Lessons::Private(sides, _) | Lessons::Taught(sides, _) => {
                sides.train[place].ids.len()
            }
            Lessons::Pairs(sides, _) => {
                let Pair { chosen, rejected, .. } = &sides.train[place];
                chosen.ids.len() + rejected.ids.len()
            }
            Lessons::Drawn(sides, _) => sides.train[place].0.ids.len(),
        }
    }

    /// Examples that nothing is learnt from, but for pairs.
    pub(crate) fn validation(&self) -> &[Example] {
        match self {
            Lessons::Tokens(sides) | Lessons::Private(sides, _) | Lessons::Taught(sides, _) => {
                &sides.validation
            }
            Lessons::Drawn(sides, _) => &sides.validation,
            Lessons::Pairs(..) => &[],
        }
    }

    /// Those of which an evaluation finds the loss.
    pub(crate) fn evaluated(&self) -> Range<usize> {
        let count = match self {
            Lessons::Pairs(sides, _) => sides.validation.len(),
            _ => self.validation().len(),
        };
        0..count.min(EVALUATED_MAX)
    }

    /// Of the micro-batches of an evaluation the one with the most rows.
    pub(crate) fn fullest_evaluated(&self, trainer: &Trainer) -> Range<usize> {
        let which = self.evaluated();
        match self {
            Lessons::Pairs(sides, _) => {
                trainer.fullest_pairs(&sides.validation[which].iter().collect::<Vec<_>>())
            }
            _ => trainer.fullest(&self.validation()[which].iter().collect::<Vec<_>>()),
        }
        .1
    }

    /// Of the micro-batches of a step with those at these places the one with the most rows: how many, and its places.
    pub(crate) fn fullest(&self, trainer: &Trainer, places: &[usize]) -> (usize, Vec<usize>) {
        let (rows, range) = match self {
            Lessons::Tokens(sides) | Lessons::Taught(sides, _) => {
                trainer.fullest(&pick(&sides.train, places))
            }
            Lessons::Private(sides, _) => trainer.fullest_apart(&pick(&sides.train, places)),
            Lessons::Pairs(sides, _) => trainer.fullest_pairs(&pick(&sides.train, places)),
            Lessons::Drawn(sides, _) => {
                let examples: Vec<&Example> = places.iter().map(|place| &sides.train[*place].0).collect();
                trainer.fullest(&examples)
            }
        };
        (rows, places[range].to_vec())
    }

    /// A step with those at these places.
    pub(crate) fn step(
        &self,
        trainer: &mut Trainer,
        machine: &Machine,
        places: &[usize],
    ) -> Result<StepReport> {
        let report = match self {
            Lessons::Tokens(sides) => trainer.step(machine, &pick(&sides.train, places)),
            Lessons::Private(sides, private) => return private.step(trainer, machine, &sides.train),
            Lessons::Pairs(sides, preference) => {
                trainer.step_pairs(machine, *preference, &pick(&sides.train, places))
            }
            Lessons::Taught(sides, teacher) => {
                let examples = pick(&sides.train, places);
                trainer.step_distill(machine, &teacher.model, teacher.how, &examples)
            }
            Lessons::Drawn(sides, hard_share) => {
                let drawn = pick(&sides.train, places);
                let drawn: Vec<_> = drawn.into_iter().map(|(example, draws)| (example, draws)).collect();
                trainer.step_drawn(machine, *hard_share, &drawn)
            }
        };
        Ok(report?)
    }

    /// A step with those at these places, whatever chance would choose, to be thrown away.
    pub(crate) fn try_step(
        &self,
        trainer: &mut Trainer,
        machine: &Machine,
        places: &[usize],
    ) -> Result<StepReport> {
        match self {
            Lessons::Private(sides, private) => {
                private.try_step(trainer, machine, &pick(&sides.train, places))
            }
            _ => self.step(trainer, machine, places),
        }
    }

    /// The loss of some of what is not learnt, as steps make it small; where a teacher's predictions are stored that of the next
    /// token, since there are none of these examples. None of nothing.
    pub(crate) fn evaluate(
        &self,
        trainer: &mut Trainer,
        machine: &Machine,
        which: Range<usize>,
    ) -> Result<Option<f64>> {
        if which.is_empty() {
            return Ok(None);
        }
        if let Lessons::Pairs(sides, preference) = self {
            let pairs: Vec<&Pair> = sides.validation[which].iter().collect();
            return Ok(Some(trainer.evaluate_pairs(machine, *preference, &pairs)?.loss));
        }
        let examples: Vec<&Example> = self.validation()[which].iter().collect();
        let evaluation = match self {
            Lessons::Taught(_, teacher) => {
                trainer.evaluate_distill(machine, &teacher.model, teacher.how, &examples)
            }
            _ => trainer.evaluate(machine, &examples),
        };
        Ok(Some(evaluation?.loss))
    }

    /// Whether what is kept must not depend on examples.
    pub(crate) fn is_private(&self) -> bool {
        matches!(self, Lessons::Private(..))
    }

    /// Bytes of a teacher's weights.
    pub(crate) fn teacher_bytes(&self) -> u64 {
        match self {
            Lessons::Taught(_, teacher) => teacher.model.weights_bytes(),
            _ => 0,
        }
    }
}

fn pick<'a, T>(all: &'a [T], places: &[usize]) -> Vec<&'a T> {
    places.iter().map(|place| &all[*place]).collect()
}
