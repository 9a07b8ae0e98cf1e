//! Sums, products and bounds, number by number.

use bantam_model::weights::Vector;
use bantam_tensor::kernels::elementwise;

use super::{accumulate, accumulate_scaled};
use crate::tape::{Derivative, Rows, Sink, Step, Tape, Var};

/// Adds a vector to each row.
pub(crate) fn add_vector(tape: &mut Tape<'_>, x: Var, vector: &Vector) -> Var {
    let mut y = tape.rows(x).clone();
    elementwise::add_vector(tape.machine, &mut y.data, &vector.values);
    tape.record(y, AddVector { x, vector: vector.clone() })
}

struct AddVector {
    x: Var,
    vector: Vector,
}

impl Derivative for AddVector {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        accumulate(sink.of(at, self.x), at.dy);
        let mut sum = vec![0.0; at.y.width];
        at.dy.chunks_exact(at.y.width).for_each(|dy| accumulate(&mut sum, dy));
        sink.add_to_vector(&self.vector, &sum);
    }
}

/// `x + z * factor`
pub(crate) fn add(tape: &mut Tape<'_>, x: Var, z: Var, factor: f32) -> Var {
    let mut y = tape.rows(x).clone();
    elementwise::add_scaled(tape.machine, &mut y.data, &tape.rows(z).data, factor);
    tape.record(y, Add { x, z, factor })
}

struct Add {
    x: Var,
    z: Var,
    factor: f32,
}

impl Derivative for Add {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        accumulate(sink.of(at, self.x), at.dy);
        accumulate_scaled(sink.of(at, self.z), at.dy, self.factor);
    }
}

/// `x * z`
pub(crate) fn multiply(tape: &mut Tape<'_>, x: Var, z: Var) -> Var {
    let mut y = tape.rows(x).clone();
    elementwise::multiply(tape.machine, &mut y.data, &tape.rows(z).data);
    tape.record(y, Multiply { x, z })
}

struct Multiply {
    x: Var,
    z: Var,
}

impl Derivative for Multiply {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        for (of, other) in [(self.x, self.z), (self.z, self.x)] {
            let factors = &at.rows(other).data;
            for ((dx, dy), factor) in sink.of(at, of).iter_mut().zip(at.dy).zip(factors) {
                *dx += dy * factor;
            }
        }
    }
}

/// `x * factor`
pub(crate) fn scale(tape: &mut Tape<'_>, x: Var, factor: f32) -> Var {
    let mut y = tape.rows(x).clone();
    elementwise::scale(tape.machine, &mut y.data, factor);
    tape.record(y, Scale { x, factor })
}

struct Scale {
    x: Var,
    factor: f32,
}

impl Derivative for Scale {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        accumulate_scaled(sink.of(at, self.x), at.dy, self.factor);
    }
}

/// Each row times its factor.
pub(crate) fn scale_rows(tape: &mut Tape<'_>, x: Var, factors: Vec<f32>) -> Var {
    let mut y = tape.rows(x).clone();
    for (row, factor) in y.data.chunks_exact_mut(y.width).zip(&factors) {
        elementwise::scale(tape.machine, row, *factor);
    }
    tape.record(y, ScaleRows { x, factors })
}

struct ScaleRows {
    x: Var,
    factors: Vec<f32>,
}

impl Derivative for ScaleRows {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let width = at.y.width;
        let rows = sink.of(at, self.x).chunks_exact_mut(width).zip(at.dy.chunks_exact(width));
        for ((dx, dy), factor) in rows.zip(&self.factors) {
            accumulate_scaled(dx, dy, *factor);
        }
    }
}

/// Between `-limit` and `limit`.
pub(crate) fn clamp(tape: &mut Tape<'_>, x: Var, limit: f32) -> Var {
    let mut y = tape.rows(x).clone();
    elementwise::clamp(tape.machine, &mut y.data, limit);
    tape.record(y, Clamp { x, limit })
}

struct Clamp {
    x: Var,
    limit: f32,
}

impl Derivative for Clamp {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let x = &at.rows(self.x).data;
        for ((dx, dy), x) in sink.of(at, self.x).iter_mut().zip(at.dy).zip(x) {
            // The bounds themselves pass, as in PyTorch.
            *dx += if x.abs() <= self.limit { *dy } else { 0.0 };
        }
    }
}

/// `cap * tanh(x / cap)`
pub(crate) fn soft_cap(tape: &mut Tape<'_>, x: Var, cap: f32) -> Var {
    let mut y: Rows = tape.rows(x).clone();
    elementwise::soft_cap(tape.machine, &mut y.data, cap);
    tape.record(y, SoftCap { x, cap })
}

struct SoftCap {
    x: Var,
    cap: f32,
}

impl Derivative for SoftCap {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        for ((dx, dy), y) in sink.of(at, self.x).iter_mut().zip(at.dy).zip(&at.y.data) {
            let tanh = y / self.cap;
            *dx += dy * (1.0 - tanh * tanh);
        }
    }
}
