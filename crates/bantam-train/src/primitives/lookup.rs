//! Rows of a table.

use bantam_model::weights::Matrix;
use bantam_tensor::kernels::matmul::dequantize;

use super::accumulate;
use crate::tape::{Derivative, Rows, Sink, Step, Tape, Var};

/// The rows `ids` of a table.
pub(crate) fn lookup(tape: &mut Tape<'_>, table: &Matrix, ids: Vec<usize>) -> Var {
    let tensor = &table.tensor;
    let mut y = Rows::new(ids.len(), table.inputs);
    for (id, y) in ids.iter().zip(y.data.chunks_exact_mut(table.inputs)) {
        let row = &tensor.bytes()[id * tensor.row_bytes()..][..tensor.row_bytes()];
        dequantize(tape.machine.isa(), tensor.storage(), row, y);
    }
    tape.record(y, Lookup { name: tensor.name().to_owned(), len: tensor.elements(), ids })
}

struct Lookup {
    name: String,
    len: usize,
    ids: Vec<usize>,
}

impl Derivative for Lookup {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let width = at.y.width;
        let table = sink.of_tensor(&self.name, self.len);
        for (id, dy) in self.ids.iter().zip(at.dy.chunks_exact(width)) {
            accumulate(&mut table[id * width..][..width], dy);
        }
    }
}
