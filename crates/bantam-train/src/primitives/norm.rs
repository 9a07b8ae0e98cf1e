//! Normalisation of groups of numbers.

use bantam_model::description::NormKind;
use bantam_model::weights::NormWeights;
use bantam_tensor::kernels::norm::normalize;

use super::accumulate;
use crate::tape::{Derivative, Sink, Step, Tape, Var};

/// Normalises.
pub(crate) fn norm(tape: &mut Tape<'_>, x: Var, norm: &NormWeights) -> Var {
    let mut y = tape.rows(x).clone();
    normalize(tape.machine, norm.for_kernels(), &mut y.data);
    tape.record(y, Normalize { x, norm: norm.clone() })
}

struct Normalize {
    x: Var,
    norm: NormWeights,
}

impl Derivative for Normalize {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        if let Some(bias) = &self.norm.bias {
            let mut sum = vec![0.0; bias.values.len()];
            at.dy.chunks_exact(sum.len()).for_each(|dy| accumulate(&mut sum, dy));
            sink.add_to_vector(bias, &sum);
        }
        let mut dw = self.norm.weight.as_ref().map_or_else(Vec::new, |weight| vec![0.0; weight.values.len()]);
        self.groups(at, sink.of(at, self.x), &mut dw);
        if let Some(weight) = &self.norm.weight {
            sink.add_to_vector(weight, &dw);
        }
    }
}

impl Normalize {
    /// Goes back through each group of numbers.
    fn groups(&self, at: &Step<'_>, dx: &mut [f32], dw: &mut [f32]) {
        let width = self.norm.width;
        let mut normalised = vec![0.0; width];
        let mut gradient = vec![0.0; width];
        let groups = at.rows(self.x).data.chunks_exact(width).zip(at.dy.chunks_exact(width));
        for (group, ((x, dy), dx)) in groups.zip(dx.chunks_exact_mut(width)).enumerate() {
            let factor = normalise(self.norm.kind, self.norm.eps, x, &mut normalised);
            gradient.copy_from_slice(dy);
            if let Some(weight) = &self.norm.weight {
                let begin = group % (weight.values.len() / width) * width;
                multiply(&mut gradient, &weight.values[begin..][..width]);
                for ((dw, dy), x) in dw[begin..][..width].iter_mut().zip(dy).zip(&normalised) {
                    *dw += dy * x;
                }
            }
            add_input_gradient(self.norm.kind, &normalised, &gradient, factor, dx);
        }
    }
}

/// Writes the normalised numbers, and gives what they were multiplied with.
fn normalise(kind: NormKind, eps: f32, x: &[f32], normalised: &mut [f32]) -> f32 {
    let count = x.len() as f64;
    let mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => x.iter().map(|x| f64::from(*x)).sum::<f64>() / count,
    };
    let square = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    let factor = 1.0 / (square + f64::from(eps)).sqrt();
    for (normalised, x) in normalised.iter_mut().zip(x) {
        *normalised = ((f64::from(*x) - mean) * factor) as f32;
    }
    factor as f32
}

/// Takes from the gradient of the normalised numbers what would only move their mean (if that is taken away)
/// or their length.
fn add_input_gradient(kind: NormKind, normalised: &[f32], gradient: &[f32], factor: f32, dx: &mut [f32]) {
    let count = gradient.len() as f64;
    let mean = match kind {
        NormKind::Rms => 0.0,
        NormKind::Layer => gradient.iter().map(|g| f64::from(*g)).sum::<f64>() / count,
    } as f32;
    let along = gradient.iter().zip(normalised).map(|(g, x)| f64::from(*g) * f64::from(*x)).sum::<f64>();
    let along = (along / count) as f32;
    for ((dx, g), x) in dx.iter_mut().zip(gradient).zip(normalised) {
        *dx += factor * (g - mean - x * along);
    }
}

fn multiply(x: &mut [f32], factors: &[f32]) {
    for (x, factor) in x.iter_mut().zip(factors) {
        *x *= factor;
    }
}
