//! Rows of a table.

use bantam_model::weights::Matrix;
use bantam_tensor::kernels::matmul::dequantize;

use super::accumulate;
use crate::tape::{Derivative, Needs, Sink, Step, Tape, Var};

/// The rows `ids` of a table.
pub(crate) fn lookup(tape: &mut Tape<'_>, table: &Matrix, ids: Vec<usize>) -> Var {
    let tensor = &table.tensor;
    let mut y = tape.blank(ids.len(), table.inputs);
    for (id, y) in ids.iter().zip(y.data.chunks_exact_mut(table.inputs)) {
        let row = &tensor.bytes()[id * tensor.row_bytes()..][..tensor.row_bytes()];
        dequantize(tape.machine.isa(), tensor.storage(), row, y);
    }
    let learns = tape.wanted.weight(tensor.name());
    let derivative =
        Lookup { name: tensor.name().to_owned(), len: tensor.elements(), width: table.inputs, ids };
    tape.record(y, Needs::of(&[]).learning(learns), derivative)
}

struct Lookup {
    name: String,
    len: usize,
    width: usize,
    ids: Vec<usize>,
}

impl Derivative for Lookup {
    fn backward(&self, _at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let table = sink.of_tensor(&self.name, self.len);
        for (id, dy) in self.ids.iter().zip(dy.chunks_exact(self.width)) {
            accumulate(&mut table[id * self.width..][..self.width], dy);
        }
        sink.pool.put(dy);
    }
}
