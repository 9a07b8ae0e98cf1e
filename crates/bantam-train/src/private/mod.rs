//! Learning that says little of any one example: differentially private gradient descent (Abadi et al., 2016).
//!
//! Each step takes every example with the same small chance (Poisson sampling), cuts the gradient of each to one length,
//! adds Gaussian noise to their sum, and divides by the number of examples that is expected, not by the one that came.
//! [`Accountant`] says what all steps together give away of an example that is there or not. What is promised holds for
//! the adapter; losses that are told on the way are not covered.

mod accountant;
mod noise;

use std::collections::BTreeMap;
use std::ops::Range;

use bantam_model::{Adapter, Machine, Role};

use crate::example::{self, Example};
use crate::packed::Packed;
use crate::tape::TensorGradients;
use crate::{Error, StepReport, Trainer, Wanted};

pub use accountant::Accountant;
pub use noise::Noise;

/// How much one example may show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Privacy {
    /// The length to which the gradient of each example is cut.
    pub clip: f64,
    /// The noise's deviation, in multiples of `clip`.
    pub noise_multiplier: f64,
    /// The chance of each example to be in a step.
    pub sampling_rate: f64,
    /// How many examples there are.
    pub examples: usize,
}

impl Privacy {
    /// Examples that a step is expected to have.
    fn expected(&self) -> f64 {
        self.sampling_rate * self.examples as f64
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |name, reason: String| Err(Error::Setting { name, reason });
        if !(self.clip > 0.0 && self.clip.is_finite()) {
            return refuse("clip", format!("is {}; wanted a number above 0", self.clip));
        }
        if !(self.noise_multiplier >= 0.0 && self.noise_multiplier.is_finite()) {
            return refuse("noise", format!("is {}; wanted a number from 0 on", self.noise_multiplier));
        }
        if !(self.sampling_rate > 0.0 && self.sampling_rate <= 1.0) || self.examples == 0 {
            let reason = format!("is {} of {} examples; wanted some", self.sampling_rate, self.examples);
            return refuse("sampling rate", reason);
        }
        Ok(())
    }
}

/// Examples that go through the model together at most: their gradients exist apart from each other.
const TOGETHER_MAX: usize = 16;

impl Trainer {
    /// A step that says little of any one example. `examples` are those that [`Noise::chosen`] gave for this step;
    /// there may be none, and the step is noise alone then. The loss of an example is the mean over its learnt tokens.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`]; weights that learn beside an adapter.
    pub fn step_private(
        &mut self,
        machine: &Machine,
        examples: &[&Example],
        privacy: Privacy,
        noise: &Noise,
    ) -> Result<StepReport, Error> {
        privacy.check()?;
        if self.settings.wanted != Wanted::Adapter {
            let reason = "names weights; wanted the adapter, whose gradients alone are taken apart".into();
            return Err(Error::Setting { name: "wanted", reason });
        }
        let has_head =
            |adapter: &std::sync::Arc<Adapter>| adapter.sites.keys().any(|site| site.role == Role::Head);
        if self.adapter.as_ref().is_some_and(has_head) {
            let reason = "name the head, whose gradients cannot be taken apart; leave it out".into();
            return Err(Error::Setting { name: "targets", reason });
        }
        let learnt_tokens = if examples.is_empty() { 0 } else { example::check(examples)? };
        self.clear_gradients();
        let mut sum = TensorGradients::new();
        let (mut loss, mut tokens) = (0.0, 0);
        for micro in example::micro_batches(examples, self.settings.micro_tokens) {
            for micro in micro.chunks(TOGETHER_MAX) {
                let packed = Packed::apart(micro, self.adapter.as_ref());
                loss += self.accumulate_clipped(machine, &packed, privacy.clip, &mut sum)?;
                tokens += packed.tokens;
            }
        }
        self.gradients = self.noised(sum, privacy, noise);
        let (grad_norm, rate) = self.descend(machine)?;
        self.examples += examples.len() as u64;
        let loss = loss / examples.len().max(1) as f64;
        Ok(StepReport { loss, grad_norm, rate, tokens, learnt_tokens })
    }

    /// As [`Trainer::fullest`], of a private step, whose examples share nothing.
    pub fn fullest_apart(&self, examples: &[&Example]) -> (usize, Range<usize>) {
        let mut end = 0;
        let micro = example::micro_batches(examples, self.settings.micro_tokens);
        let with_rows = micro.flat_map(|micro| micro.chunks(TOGETHER_MAX)).map(|together| {
            end += together.len();
            let rows: usize = together.iter().map(|example| example.read().len()).sum();
            (rows, end - together.len()..end)
        });
        with_rows.max_by_key(|(rows, _)| *rows).unwrap_or_default()
    }

    /// Adds the gradient of each example, cut to one length; gives the sum of the examples' mean losses.
    fn accumulate_clipped(
        &mut self,
        machine: &Machine,
        packed: &Packed,
        clip: f64,
        sum: &mut TensorGradients,
    ) -> Result<f64, Error> {
        let shares = packed.counts.iter().map(|count| (*count, 1.0 / (*count).max(1) as f64));
        let weights: Vec<f32> =
            shares.clone().flat_map(|(count, share)| std::iter::repeat_n(share as f32, count)).collect();
        self.gradients = TensorGradients::new();
        self.apart_most = self.apart_most.max(packed.counts.len());
        self.apart = true;
        let losses = self.accumulate(machine, packed, |_, _| Ok(weights));
        self.apart = false;
        let (losses, found) = (losses?, std::mem::take(&mut self.gradients));
        add_clipped(found, clip, sum);
        let mut begin = 0;
        let means = shares.map(|(count, share)| {
            begin += count;
            losses[begin - count..begin].iter().sum::<f64>() * share
        });
        Ok(means.sum())
    }

    /// The mean gradient: noise added to every number that learns, and the sum divided by what was expected.
    fn noised(&self, mut sum: TensorGradients, privacy: Privacy, noise: &Noise) -> TensorGradients {
        let deviation = privacy.noise_multiplier * privacy.clip;
        let mut stream = noise.gaussian(self.steps());
        for parameter in self.parameters() {
            let gradient = sum.entry(parameter.name).or_default();
            gradient.resize(parameter.shape.iter().product(), 0.0);
            for number in gradient {
                let noised = f64::from(*number) + deviation * stream.draw();
                *number = (noised / privacy.expected()) as f32;
            }
        }
        sum
    }
}

/// What the gradient of a tensor is called: while those of examples are apart, each has a name of its own.
pub(crate) fn name_for(span: Option<usize>, name: &str) -> String {
    match span {
        Some(span) => format!("{span}#{name}"),
        None => name.to_owned(),
    }
}

/// Adds gradients that are apart to their sum, those of each example cut to one length.
fn add_clipped(found: TensorGradients, clip: f64, sum: &mut TensorGradients) {
    let mut by_example: BTreeMap<String, Vec<(String, Vec<f32>)>> = BTreeMap::new();
    for (name, gradient) in found {
        if let Some((span, name)) = name.split_once('#') {
            by_example.entry(span.to_owned()).or_default().push((name.to_owned(), gradient));
        }
    }
    for gradients in by_example.into_values() {
        let square = |(_, of): &(String, Vec<f32>)| of.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let norm = gradients.iter().map(square).sum::<f64>().sqrt();
        // What is no number stays none, and is refused with the step.
        let factor = if norm > clip { (clip / norm) as f32 } else { 1.0 };
        for (name, gradient) in gradients {
            let sum = sum.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
            sum.iter_mut().zip(&gradient).for_each(|(sum, x)| *sum += factor * x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_is_cut_on_its_own() {
        let found = [("0#a", vec![3.0, 0.0]), ("0#b", vec![4.0]), ("1#a", vec![0.0, 0.5])];
        let found = found.map(|(name, of)| (name.to_owned(), of)).into_iter().collect();
        let mut sum = TensorGradients::new();
        add_clipped(found, 1.0, &mut sum);
        assert_eq!(sum["a"], [0.6, 0.5]);
        assert_eq!(sum["b"], [0.8]);
    }
}
