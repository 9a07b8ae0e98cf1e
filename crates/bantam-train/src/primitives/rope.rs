//! Rotary positions: the way back turns the other way.

use std::sync::Arc;

use bantam_model::rope::Rope;
use bantam_tensor::kernels::rope::rotate;

use crate::angles::Angles;
use crate::tape::{Derivative, Needs, Place, Sink, Step, Tape, Var};

/// Turns each head by its row's position.
pub(crate) fn rope(tape: &mut Tape<'_>, x: Var, head_dim: usize, rope: &Rope) -> Var {
    let from = x.0;
    let angles = tape.angles(rope);
    let mut y = tape.taken(x);
    let width = y.width;
    rotate(tape.machine, &mut y.data, (head_dim, width), rope.pairing, &angles.cos, &angles.sin);
    tape.record(y, Needs::of(&[from]), Turn { x: from, head_dim, width, angles })
}

struct Turn {
    x: Place,
    head_dim: usize,
    width: usize,
    angles: Arc<Angles>,
}

impl Derivative for Turn {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        let Angles { rope, cos, back, .. } = &*self.angles;
        rotate(at.machine, &mut dy, (self.head_dim, self.width), rope.pairing, cos, back);
        sink.give(at, self.x, dy);
    }
}
