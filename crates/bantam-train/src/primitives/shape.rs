//! Parts of rows, and some of the rows.

use super::accumulate;
use crate::tape::{Derivative, Needs, Place, Sink, Step, Tape, Var};

/// `count` columns from `begin` on.
pub(crate) fn columns(tape: &mut Tape<'_>, x: &Var, begin: usize, count: usize) -> Var {
    let x = x.0;
    let (rows, width) = (tape.rows(x).count(), tape.rows(x).width);
    let mut y = tape.blank(rows, count);
    for (x, y) in tape.rows(x).data.chunks_exact(width).zip(y.data.chunks_exact_mut(count)) {
        y.copy_from_slice(&x[begin..][..count]);
    }
    tape.record(y, Needs::of(&[x]), Columns { x, begin, count, width })
}

struct Columns {
    x: Place,
    begin: usize,
    count: usize,
    width: usize,
}

impl Derivative for Columns {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        if let Some(dx) = sink.of(at, self.x) {
            for (dx, dy) in dx.chunks_exact_mut(self.width).zip(dy.chunks_exact(self.count)) {
                accumulate(&mut dx[self.begin..][..self.count], dy);
            }
        }
        sink.pool.put(dy);
    }
}

/// The rows with these numbers.
pub(crate) fn pick_rows(tape: &mut Tape<'_>, x: Var, wanted: Vec<usize>) -> Var {
    let from = x.0;
    let width = tape.rows(from).width;
    let mut y = tape.blank(wanted.len(), width);
    for (row, y) in wanted.iter().zip(y.data.chunks_exact_mut(width)) {
        y.copy_from_slice(&tape.rows(from).data[row * width..][..width]);
    }
    let y = tape.record(y, Needs::of(&[from]), PickRows { x: from, width, wanted });
    tape.done_with(x);
    y
}

struct PickRows {
    x: Place,
    width: usize,
    wanted: Vec<usize>,
}

impl Derivative for PickRows {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        if let Some(dx) = sink.of(at, self.x) {
            for (row, dy) in self.wanted.iter().zip(dy.chunks_exact(self.width)) {
                accumulate(&mut dx[row * self.width..][..self.width], dy);
            }
        }
        sink.pool.put(dy);
    }
}
