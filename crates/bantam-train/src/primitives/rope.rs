//! Rotary positions: the way back turns the other way.

use std::sync::Arc;

use bantam_model::rope::Rope;
use bantam_tensor::kernels::rope::rotate;

use super::accumulate;
use crate::angles::Angles;
use crate::tape::{Derivative, Sink, Step, Tape, Var};

/// Turns each head by its row's position.
pub(crate) fn rope(tape: &mut Tape<'_>, x: Var, head_dim: usize, rope: &Rope) -> Var {
    let angles = tape.angles(rope);
    let mut y = tape.rows(x).clone();
    rotate(tape.machine, &mut y.data, (head_dim, y.width), rope.pairing, &angles.cos, &angles.sin);
    tape.record(y, Turn { x, head_dim, angles })
}

struct Turn {
    x: Var,
    head_dim: usize,
    angles: Arc<Angles>,
}

impl Derivative for Turn {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let Angles { rope, cos, sin } = &*self.angles;
        let back: Vec<f32> = sin.iter().map(|sin| -sin).collect();
        let mut turned = at.dy.to_vec();
        rotate(at.machine, &mut turned, (self.head_dim, at.y.width), rope.pairing, cos, &back);
        accumulate(sink.of(at, self.x), &turned);
    }
}
