//! Sums, products and bounds, number by number.

use bantam_model::Machine;
use bantam_model::weights::Vector;
use bantam_tensor::kernels::elementwise;

use super::accumulate;
use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// Adds a vector to each row.
pub(crate) fn add_vector(tape: &mut Tape<'_>, x: Var, vector: &Vector) -> Var {
    let from = x.0;
    let mut y = tape.taken(x);
    elementwise::add_vector(tape.machine, &mut y.data, &vector.values);
    let learns = tape.wanted.vector(vector);
    let width = y.width;
    let vector = learns.then(|| vector.clone());
    tape.record(y, Needs::of(&[from]).learning(learns), AddVector { x: from, width, vector })
}

struct AddVector {
    x: Place,
    width: usize,
    /// The vector, if it learns.
    vector: Option<Vector>,
}

impl Derivative for AddVector {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        if let Some(vector) = &self.vector {
            let mut sum = vec![0.0; self.width];
            dy.chunks_exact(self.width).for_each(|dy| accumulate(&mut sum, dy));
            sink.add_to_vector(vector, &sum);
        }
        sink.give(at, self.x, dy);
    }
}

/// `x + z * factor`
pub(crate) fn add(tape: &mut Tape<'_>, x: Var, z: &Var, factor: f32) -> Var {
    let (from, z) = (x.0, z.0);
    let mut y = tape.taken(x);
    elementwise::add_scaled(tape.machine, &mut y.data, &tape.rows(z).data, factor);
    tape.record(y, Needs::of(&[from, z]), Add { x: from, z, factor })
}

struct Add {
    x: Place,
    z: Place,
    factor: f32,
}

impl Derivative for Add {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        if at.wants(self.z) {
            let mut by_z = sink.pool.copy(&dy);
            if self.factor != 1.0 {
                elementwise::scale(at.machine, &mut by_z, self.factor);
            }
            sink.give(at, self.z, by_z);
        }
        sink.give(at, self.x, dy);
    }
}

/// `x * z`
pub(crate) fn multiply(tape: &mut Tape<'_>, x: Var, z: &Var) -> Var {
    let (from, z) = (x.0, z.0);
    let width = tape.rows(from).width;
    let mut data = tape.copied(from);
    elementwise::multiply(tape.machine, &mut data, &tape.rows(z).data);
    let parts = [from, z];
    let needs = Needs::of(&parts).keeping(&parts);
    let y = tape.record(Rows { data, width }, needs, Multiply { x: from, z });
    tape.done_with(x);
    y
}

struct Multiply {
    x: Place,
    z: Place,
}

impl Derivative for Multiply {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let [mut by_x, mut by_z] = [sink.pool.copy(&dy), dy];
        elementwise::multiply(at.machine, &mut by_x, &at.rows(self.z).data);
        elementwise::multiply(at.machine, &mut by_z, &at.rows(self.x).data);
        sink.give(at, self.x, by_x);
        sink.give(at, self.z, by_z);
    }
}

/// `x * factor`
pub(crate) fn scale(tape: &mut Tape<'_>, x: Var, factor: f32) -> Var {
    let from = x.0;
    let mut y = tape.taken(x);
    elementwise::scale(tape.machine, &mut y.data, factor);
    tape.record(y, Needs::of(&[from]), Scale { x: from, factor })
}

struct Scale {
    x: Place,
    factor: f32,
}

impl Derivative for Scale {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        elementwise::scale(at.machine, &mut dy, self.factor);
        sink.give(at, self.x, dy);
    }
}

/// Each row times its factor.
pub(crate) fn scale_rows(tape: &mut Tape<'_>, x: Var, factors: Vec<f32>) -> Var {
    let from = x.0;
    let mut y = tape.taken(x);
    multiply_rows(tape.machine, &mut y.data, &factors);
    tape.record(y, Needs::of(&[from]), ScaleRows { x: from, factors })
}

fn multiply_rows(machine: &Machine, x: &mut [f32], factors: &[f32]) {
    let width = x.len() / factors.len().max(1);
    for (row, factor) in x.chunks_exact_mut(width.max(1)).zip(factors) {
        elementwise::scale(machine, row, *factor);
    }
}

struct ScaleRows {
    x: Place,
    factors: Vec<f32>,
}

impl Derivative for ScaleRows {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        multiply_rows(at.machine, &mut dy, &self.factors);
        sink.give(at, self.x, dy);
    }
}

/// Between `-limit` and `limit`.
pub(crate) fn clamp(tape: &mut Tape<'_>, x: Var, limit: f32) -> Var {
    let from = x.0;
    let width = tape.rows(from).width;
    let mut data = tape.copied(from);
    elementwise::clamp(tape.machine, &mut data, limit);
    let parts = [from];
    let needs = Needs::of(&parts).keeping(&parts);
    let y = tape.record(Rows { data, width }, needs, Clamp { x: from, limit });
    tape.done_with(x);
    y
}

struct Clamp {
    x: Place,
    limit: f32,
}

impl Derivative for Clamp {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        for (dy, x) in dy.iter_mut().zip(&at.rows(self.x).data) {
            // The bounds themselves pass, as in PyTorch.
            *dy = if x.abs() <= self.limit { *dy } else { 0.0 };
        }
        sink.give(at, self.x, dy);
    }
}

/// `cap * tanh(x / cap)`
pub(crate) fn soft_cap(tape: &mut Tape<'_>, x: Var, cap: f32) -> Var {
    let from = x.0;
    let mut y = tape.taken(x);
    elementwise::soft_cap(tape.machine, &mut y.data, cap);
    tape.record(y, Needs::of(&[from]).keeping_own(), SoftCap { x: from, cap })
}

struct SoftCap {
    x: Place,
    cap: f32,
}

impl Derivative for SoftCap {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        for (dy, y) in dy.iter_mut().zip(&at.y.data) {
            let tanh = y / self.cap;
            *dy *= 1.0 - tanh * tanh;
        }
        sink.give(at, self.x, dy);
    }
}
