//! Rows of a changed matrix with lengths of their own (DoRA, Liu et al., 2024): `g (y - bias) + bias`.

use std::ops::Range;

use bantam_model::Magnitude;

use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// `y`, of the rows that a product has changed already, with their lengths.
pub(crate) fn lengthen(tape: &mut Tape<'_>, y: Var, magnitude: &Magnitude) -> Var {
    let from = y.0;
    let (count, width) = (tape.rows(from).count(), tape.rows(from).width);
    let mut data = tape.copied(from);
    magnitude.apply(&mut data);
    let learns = tape.wanted.adapter();
    let parts = if learns { tape.gradient_parts(count) } else { Vec::new() };
    let derivative = Lengthen { y: from, magnitude: magnitude.clone(), parts };
    let (needs, keeps) = ([from], [from]);
    let needs = Needs::of(&needs).learning(learns).keeping(if learns { &keeps } else { &[] });
    let longer = tape.record(Rows { data, width }, needs, derivative);
    tape.done_with(Var(from));
    longer
}

struct Lengthen {
    y: Place,
    magnitude: Magnitude,
    /// Rows whose gradients are added up, each part under a name of its own; none where nothing learns.
    parts: Vec<(Option<usize>, Range<usize>)>,
}

impl Lengthen {
    /// Adds the gradients of the lengths that some rows give.
    fn learn(&self, at: &Step<'_>, part: &(Option<usize>, Range<usize>), dy: &[f32], sink: &mut Sink<'_>) {
        let (span, rows) = part;
        let norms = self.magnitude.norms();
        let width = norms.len();
        let part = rows.start * width..rows.end * width;
        let y = &at.rows(self.y).data[part.clone()];
        let name = crate::private::name_for(*span, self.magnitude.lengths.name());
        let zeros = vec![0.0; width];
        let bias = self.magnitude.bias().map_or(&zeros[..], |bias| &bias.values);
        let sum = sink.of_tensor(&name, width);
        for (y, dy) in y.chunks_exact(width).zip(dy[part].chunks_exact(width)) {
            let of_row = y.iter().zip(dy).zip(bias.iter().zip(norms));
            for (sum, ((y, dy), (bias, norm))) in sum.iter_mut().zip(of_row) {
                *sum += dy * (y - bias) / norm;
            }
        }
    }
}

impl Derivative for Lengthen {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        for part in &self.parts {
            self.learn(at, part, &dy, sink);
        }
        let gains = self.magnitude.gains();
        for row in dy.chunks_exact_mut(gains.len()) {
            row.iter_mut().zip(&gains).for_each(|(dy, gain)| *dy *= gain);
        }
        sink.give(at, self.y, dy);
    }
}
