//! Products with weights in any storage.

use bantam_model::weights::Matrix;
use bantam_tensor::kernels::backward::{
    Precision, multiply_backward_input, multiply_backward_weights, multiply_rounded,
};
use bantam_tensor::kernels::matmul::multiply;

use crate::tape::{Derivative, Needs, Place, Sink, Step, Tape, Var};

/// `x Wᵀ`: rounded as the executor rounds it where it does; else by factors as those of derivatives.
pub(crate) fn product(tape: &mut Tape<'_>, x: &Var, matrix: &Matrix) -> Var {
    let (x, machine) = (x.0, tape.machine);
    let count = tape.rows(x).count();
    let mut y = tape.blank(count, matrix.outputs);
    match tape.numerics.form(machine.isa(), matrix, count) {
        Some(form) => multiply(machine, matrix.for_kernels(), tape.rounded(x, form), &mut y.data),
        None => {
            let (precision, x) = (tape.precision(), &tape.rows(x).data);
            multiply_rounded(machine, matrix.for_kernels(), precision, x, &mut y.data);
        }
    }
    let learns = tape.wanted.weight(matrix.tensor.name());
    let needs = Needs::of(std::slice::from_ref(&x)).learning(learns);
    let keeps = [x];
    let needs = if learns { needs.keeping(&keeps) } else { needs };
    tape.record(y, needs, Product { x, matrix: matrix.clone(), precision: tape.precision(), learns })
}

struct Product {
    x: Place,
    matrix: Matrix,
    precision: Precision,
    learns: bool,
}

impl Derivative for Product {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let Matrix { tensor, layout, outputs, inputs } = &self.matrix;
        if let Some(dx) = sink.of(at, self.x) {
            multiply_backward_input(at.machine, self.matrix.for_kernels(), self.precision, &dy, dx);
        }
        if self.learns {
            let dw = sink.of_tensor(tensor.name(), tensor.elements());
            let how = (*layout, self.precision);
            multiply_backward_weights(at.machine, how, *inputs, *outputs, &at.rows(self.x).data, &dy, dw);
        }
        sink.pool.put(dy);
    }
}
