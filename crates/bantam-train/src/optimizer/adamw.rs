//! Adam with decoupled weight decay (Loshchilov and Hutter, 2019), as `torch.optim.AdamW` computes it.

use super::eight_bit::{BLOCK, Codes, signed_table, unsigned_table};
use crate::parameters::{Kind, Parameter};

/// Tensors of fewer numbers keep their moments in f32 in any case, as bitsandbytes does.
pub(super) const CODED_FROM: usize = 4096;

/// Settings of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// How much of the mean gradient stays from step to step.
    pub beta1: f32,
    /// How much of the mean squared gradient stays.
    pub beta2: f32,
    /// Added to the root of the mean squared gradient.
    pub eps: f32,
    /// What matrices and tables shrink by at each step, times the rate. Vectors do not shrink.
    pub weight_decay: f32,
    /// How the two means are kept.
    pub precision: Precision,
}

/// How moments are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As f32: 8 bytes for each weight.
    Single,
    /// In blocks of 8-bit codes (Dettmers et al., 2022), 2 bytes for each weight; tables and small tensors as f32.
    EightBits,
}

impl Default for AdamW {
    /// The moments of PyTorch, without decay.
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, precision: Precision::Single }
    }
}

impl AdamW {
    pub(super) fn update(
        &self,
        steps: u64,
        parameter: &Parameter,
        values: &mut [f32],
        gradient: &[f32],
        rate: f32,
        [first, second]: &mut [Vec<f32>; 2],
    ) {
        let one = self.one_step(steps, parameter, rate);
        for ((value, gradient), (first, second)) in
            values.iter_mut().zip(gradient).zip(first.iter_mut().zip(second))
        {
            one.take(value, *gradient, first, second);
        }
    }

    pub(super) fn update_coded(
        &self,
        steps: u64,
        parameter: &Parameter,
        values: &mut [f32],
        gradient: &[f32],
        rate: f32,
        [first, second]: &mut [Codes; 2],
    ) {
        let one = self.one_step(steps, parameter, rate);
        let (signed, unsigned) = (signed_table(), unsigned_table());
        let (mut firsts, mut seconds) = ([0.0; BLOCK], [0.0; BLOCK]);
        for (block, (values, gradient)) in values.chunks_mut(BLOCK).zip(gradient.chunks(BLOCK)).enumerate() {
            let (firsts, seconds) = (&mut firsts[..values.len()], &mut seconds[..values.len()]);
            first.decode(block, &signed, firsts);
            second.decode(block, &unsigned, seconds);
            for ((value, gradient), (first, second)) in
                values.iter_mut().zip(gradient).zip(firsts.iter_mut().zip(seconds.iter_mut()))
            {
                one.take(value, *gradient, first, second);
            }
            first.encode(block, &signed, firsts);
            second.encode(block, &unsigned, seconds);
        }
    }

    fn one_step(&self, steps: u64, parameter: &Parameter, rate: f32) -> OneStep {
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(steps as f64);
        let decay = if parameter.kind == Kind::Vector { 0.0 } else { self.weight_decay };
        OneStep {
            keep: 1.0 - rate * decay,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            size: (f64::from(rate) / correction(self.beta1)) as f32,
            root: correction(self.beta2).sqrt() as f32,
        }
    }
}

/// What is the same for all numbers of a tensor.
struct OneStep {
    keep: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    size: f32,
    root: f32,
}

impl OneStep {
    #[inline(always)]
    fn take(&self, value: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        *value *= self.keep;
        *first += (gradient - *first) * (1.0 - self.beta1);
        *second = *second * self.beta2 + (1.0 - self.beta2) * gradient * gradient;
        *value -= self.size * *first / (second.sqrt() / self.root + self.eps);
    }
}
