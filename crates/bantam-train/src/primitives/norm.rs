//! Normalisation of groups of numbers.

use bantam_model::weights::{NormWeights, Vector};
use bantam_tensor::kernels::backward::{NormGradients, normalize_backward};
use bantam_tensor::kernels::norm::normalize;

use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// Normalises.
pub(crate) fn norm(tape: &mut Tape<'_>, x: &Var, norm: &NormWeights) -> Var {
    let x = x.0;
    let (width, len) = (tape.rows(x).width, tape.rows(x).data.len());
    let mut data = tape.pool.take(len);
    normalize(tape.machine, norm.for_kernels(), &tape.rows(x).data, &mut data);
    let learning = |vector: &Option<Vector>| vector.clone().filter(|vector| tape.wanted.vector(vector));
    let (weight, bias) = (learning(&norm.weight), learning(&norm.bias));
    let parts = [x];
    let needs = Needs::of(&parts).keeping(&parts).learning(weight.is_some() || bias.is_some());
    tape.record(Rows { data, width }, needs, Normalize { x, norm: norm.clone(), weight, bias })
}

struct Normalize {
    x: Place,
    norm: NormWeights,
    /// Those that learn.
    weight: Option<Vector>,
    bias: Option<Vector>,
}

impl Derivative for Normalize {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let x = &at.rows(self.x).data;
        let zeros = |vector: &Option<Vector>| vector.as_ref().map(|vector| vec![0.0; vector.values.len()]);
        let (mut weight, mut bias) = (zeros(&self.weight), zeros(&self.bias));
        let mut dx = sink.pool.zeros(x.len());
        let gradients =
            NormGradients { x: &mut dx, weight: weight.as_deref_mut(), bias: bias.as_deref_mut() };
        normalize_backward(at.machine, self.norm.for_kernels(), x, &dy, gradients);
        for (vector, sum) in [(&self.weight, weight), (&self.bias, bias)] {
            if let (Some(vector), Some(sum)) = (vector, sum) {
                sink.add_to_vector(vector, &sum);
            }
        }
        sink.give(at, self.x, dx);
        sink.pool.put(dy);
    }
}
