//! Low-rank products beside a projection, `y + scale * B (A x)` (Hu et al. 2021), as one primitive: neither `B (A x)`
//! nor the projection's own result is kept.

use std::ops::Range;

use bantam_model::LowRank;
use bantam_tensor::kernels::backward::{First, Precision, add_product};

use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// `y` with what a product of two thin matrices makes of `x`; whether these learn.
pub(crate) fn adapt(tape: &mut Tape<'_>, x: &Var, y: Var, low_rank: &LowRank, learns: bool) -> Var {
    let (x, from) = (x.0, y.0);
    let (factors, precision) = (Factors::new(low_rank), tape.precision());
    let rows = tape.rows(x).count();
    let mut between = tape.pool.zeros(rows * factors.rank);
    let numbers = First::Rows(&tape.rows(x).data);
    add_product(tape.machine, precision, numbers, &factors.a_across, [rows, factors.rank], &mut between);
    between.iter_mut().for_each(|x| *x *= factors.scale);
    let mut y = tape.taken(y);
    let (numbers, shape) = (First::Rows(&between), [rows, factors.outputs]);
    add_product(tape.machine, precision, numbers, &factors.b_across, shape, &mut y.data);
    let width = factors.rank;
    // The thin rows in between are a node of their own, so that their memory is the tape's.
    let between = tape.record(Rows { data: between, width }, Needs::of(&[]), Nothing).0;
    let (needs, keeps) = ([x, from], [x, between]);
    let needs = Needs::of(&needs).learning(learns).keeping(if learns { &keeps } else { &[] });
    let parts = if learns { tape.gradient_parts(rows) } else { Vec::new() };
    tape.record(y, needs, Adapt { x, from, between, factors, precision, parts })
}

/// The way back from what has none.
struct Nothing;

impl Derivative for Nothing {
    fn backward(&self, _at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        sink.pool.put(dy);
    }
}

/// Both matrices, each also turned.
struct Factors {
    names: [String; 2],
    rank: usize,
    inputs: usize,
    outputs: usize,
    scale: f32,
    /// `[rank][inputs]`
    a: Vec<f32>,
    /// `[inputs][rank]`
    a_across: Vec<f32>,
    /// `[outputs][rank]`
    b: Vec<f32>,
    /// `[rank][outputs]`
    b_across: Vec<f32>,
}

impl Factors {
    fn new(of: &LowRank) -> Self {
        let (a, b) = (of.a.rows_f32(), of.b.rows_f32());
        let (rank, inputs, outputs) = (of.a.outputs, of.a.inputs, of.b.outputs);
        Factors {
            names: [&of.a, &of.b].map(|matrix| matrix.tensor.name().to_owned()),
            rank,
            inputs,
            outputs,
            scale: of.scale,
            a_across: across(&a, inputs),
            b_across: across(&b, rank),
            a,
            b,
        }
    }
}

/// A matrix with rows of this width, turned.
fn across(matrix: &[f32], width: usize) -> Vec<f32> {
    let rows = matrix.len() / width;
    let mut turned = vec![0.0; matrix.len()];
    for (i, row) in matrix.chunks_exact(width).enumerate() {
        for (j, number) in row.iter().enumerate() {
            turned[j * rows + i] = *number;
        }
    }
    turned
}

struct Adapt {
    x: Place,
    from: Place,
    /// `scale * A x`
    between: Place,
    factors: Factors,
    precision: Precision,
    /// Rows whose gradients are added up, each part under names of its own; none where nothing learns.
    parts: Vec<(Option<usize>, Range<usize>)>,
}

impl Adapt {
    /// Adds the gradients that some rows give.
    fn learn(
        &self,
        at: &Step<'_>,
        part: &(Option<usize>, Range<usize>),
        by: [&[f32]; 2],
        sink: &mut Sink<'_>,
    ) {
        let Factors { rank, inputs, outputs, .. } = self.factors;
        let (span, rows) = part;
        let of = |width: usize| rows.start * width..rows.end * width;
        let (x, between) = (&at.rows(self.x).data, &at.rows(self.between).data);
        let [by_between, dy] = by;
        let names = self.factors.names.each_ref().map(|name| crate::private::name_for(*span, name));
        let a = sink.of_tensor(&names[0], rank * inputs);
        let first = First::Columns(&by_between[of(rank)]);
        add_product(at.machine, self.precision, first, &x[of(inputs)], [rank, inputs], a);
        // Turned, since long rows are formed faster than thin ones.
        let mut by_b = sink.pool.zeros(rank * outputs);
        let first = First::Columns(&between[of(rank)]);
        add_product(at.machine, self.precision, first, &dy[of(outputs)], [rank, outputs], &mut by_b);
        let b = sink.of_tensor(&names[1], rank * outputs);
        super::accumulate(b, &across(&by_b, outputs));
        sink.pool.put(by_b);
    }
}

impl Derivative for Adapt {
    fn backward(&self, at: &Step<'_>, dy: Vec<f32>, sink: &mut Sink<'_>) {
        let Factors { rank, inputs, outputs, scale, .. } = self.factors;
        let rows = dy.len() / outputs;
        let mut by_between = sink.pool.zeros(rows * rank);
        let first = First::Rows(&dy);
        add_product(at.machine, self.precision, first, &self.factors.b, [rows, rank], &mut by_between);
        by_between.iter_mut().for_each(|x| *x *= scale);
        for part in &self.parts {
            self.learn(at, part, [&by_between, &dy], sink);
        }
        if let Some(dx) = sink.of(at, self.x) {
            let first = First::Rows(&by_between);
            add_product(at.machine, self.precision, first, &self.factors.a, [rows, inputs], dx);
        }
        sink.pool.put(by_between);
        sink.give(at, self.from, dy);
    }
}
