//! Products with weights in any storage.

use bantam_model::weights::Matrix;
use bantam_tensor::kernels::backward::{multiply_backward_input, multiply_backward_weights};
use bantam_tensor::kernels::matmul::{Input, multiply};

use crate::tape::{Derivative, Rows, Sink, Step, Tape, Var};

/// `x Wᵀ`
pub(crate) fn product(tape: &mut Tape<'_>, x: Var, matrix: &Matrix) -> Var {
    let rows = tape.rows(x);
    let mut y = Rows::new(rows.count(), matrix.outputs);
    multiply(tape.machine, matrix.for_kernels(), Input::Exact(&rows.data), &mut y.data);
    tape.record(y, Product { x, matrix: matrix.clone() })
}

struct Product {
    x: Var,
    matrix: Matrix,
}

impl Derivative for Product {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let Matrix { tensor, layout, outputs, inputs } = &self.matrix;
        multiply_backward_input(at.machine, self.matrix.for_kernels(), at.dy, sink.of(at, self.x));
        let dw = sink.of_tensor(tensor.name(), tensor.elements());
        multiply_backward_weights(at.machine, *layout, *inputs, *outputs, &at.rows(self.x).data, at.dy, dw);
    }
}
