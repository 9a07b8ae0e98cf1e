//! Parts of rows, and some of the rows.

use super::accumulate;
use crate::tape::{Derivative, Rows, Sink, Step, Tape, Var};

/// `count` columns from `begin` on.
pub(crate) fn columns(tape: &mut Tape<'_>, x: Var, begin: usize, count: usize) -> Var {
    let rows = tape.rows(x);
    let mut y = Rows::new(rows.count(), count);
    for (x, y) in rows.data.chunks_exact(rows.width).zip(y.data.chunks_exact_mut(count)) {
        y.copy_from_slice(&x[begin..][..count]);
    }
    tape.record(y, Columns { x, begin })
}

struct Columns {
    x: Var,
    begin: usize,
}

impl Derivative for Columns {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let (count, width) = (at.y.width, at.rows(self.x).width);
        for (dx, dy) in sink.of(at, self.x).chunks_exact_mut(width).zip(at.dy.chunks_exact(count)) {
            accumulate(&mut dx[self.begin..][..count], dy);
        }
    }
}

/// The rows with these numbers.
pub(crate) fn pick_rows(tape: &mut Tape<'_>, x: Var, wanted: Vec<usize>) -> Var {
    let rows = tape.rows(x);
    let width = rows.width;
    let mut y = Rows::new(wanted.len(), width);
    for (row, y) in wanted.iter().zip(y.data.chunks_exact_mut(width)) {
        y.copy_from_slice(&rows.data[row * width..][..width]);
    }
    tape.record(y, PickRows { x, wanted })
}

struct PickRows {
    x: Var,
    wanted: Vec<usize>,
}

impl Derivative for PickRows {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let width = at.y.width;
        let dx = sink.of(at, self.x);
        for (row, dy) in self.wanted.iter().zip(at.dy.chunks_exact(width)) {
            accumulate(&mut dx[row * width..][..width], dy);
        }
    }
}
