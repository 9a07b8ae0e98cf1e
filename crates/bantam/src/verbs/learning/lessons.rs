//! What is learnt, and how a step learns it.

use anyhow::Result;
use bantam_model::{Machine, Model};
use bantam_train::{Distillation, Draws, Example, Pair, Preference, StepReport, Trainer};

use super::Private;

/// Examples or pairs that an evaluation looks at, at most.
pub(super) const EVALUATED_MAX: usize = 256;

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

    /// How many of those that nothing is learnt from fill so many tokens.
    pub(crate) fn validation_filling(&self, tokens: usize) -> usize {
        let lengths: Vec<usize> = match self {
            Lessons::Pairs(sides, _) => {
                let length = |pair: &Pair| pair.chosen.ids.len() + pair.rejected.ids.len();
                sides.validation.iter().map(length).collect()
            }
            _ => self.validation().iter().map(|example| example.ids.len()).collect(),
        };
        let mut sum = 0;
        let before = lengths.iter().take_while(|length| {
            sum += **length;
            sum <= tokens
        });
        (before.count() + 1).min(EVALUATED_MAX)
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

    /// The loss of what is not learnt, of so many at most; of a teacher's pupil that of the next token. None where all is
    /// learnt.
    pub(crate) fn evaluate(
        &self,
        trainer: &mut Trainer,
        machine: &Machine,
        most: usize,
    ) -> Result<Option<f64>> {
        if let Lessons::Pairs(sides, preference) = self {
            let pairs: Vec<&Pair> = sides.validation.iter().take(most).collect();
            return match pairs.is_empty() {
                true => Ok(None),
                false => Ok(Some(trainer.evaluate_pairs(machine, *preference, &pairs)?.loss)),
            };
        }
        let examples: Vec<&Example> = self.validation().iter().take(most).collect();
        match examples.is_empty() {
            true => Ok(None),
            false => Ok(Some(trainer.evaluate(machine, &examples)?.loss)),
        }
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
