//! The operations computed on the processor.

mod changes;

use changes::Changes;

use bantam_tensor::kernels::activation::{Activation, activate, activate_gated};
use bantam_tensor::kernels::attention::{AttendSpec, KvShape, QueryRow, attend};
use bantam_tensor::kernels::backward::{Precision, multiply_rounded};
use bantam_tensor::kernels::matmul::{
    Codes, Form, Input, Layout, Product, Rounded, Rounding, dequantize, multiply_all,
};
use bantam_tensor::kernels::norm::normalize;
use bantam_tensor::kernels::{Isa, Machine, Storage, elementwise, rope};

use crate::description::{Attention, PositionScale};
use crate::names::Site;
use crate::rope::Rope;
use crate::weights::{Linear, Matrix, NormWeights, Vector};
use crate::{Batch, Error, Model, Ops, State, forward};

/// How products are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// Activations against quantised weights are 16-bit integers with a scale for each 32: the same bits on every processor.
    /// Where there are tiles of BF16, weights of 16 bits and what meets them are rounded to it: the same bits on every such
    /// processor. Other weights of 16 bits, and those of 32, are multiplied in f32.
    #[default]
    Default,
    /// Where the processor has tiles of BF16, many rows are rounded to it, and so are weights, keys and values; few rows as by default.
    /// Elsewhere as the default with activations of 8 bits, at the peers' loss of precision; many rows against weights without blocks are
    /// rounded to BF16, as these are, where the processor multiplies pairs of such numbers.
    Fastest,
    /// All products in f32 from exactly dequantised weights.
    Exact,
}

impl Numerics {
    /// How so many rows of activations are rounded that meet a matrix; `None` if they are not.
    pub fn form(self, isa: Isa, matrix: &Matrix, rows: usize) -> Option<Form> {
        if self == Numerics::Exact {
            return None;
        }
        let tiles = isa.has_bf16_tiles() && matrix.layout == Layout::OutIn;
        let fastest = self == Numerics::Fastest;
        let quantized = matrix.tensor.storage().is_quantized();
        let of_16_bits = matches!(matrix.tensor.storage(), Storage::F16 | Storage::BF16);
        if tiles && (of_16_bits || fastest && rows >= TILED_ROWS_MIN) {
            return Some(Form::Pairs);
        }
        let rounding = if fastest && !tiles { Rounding::Bits8 } else { Rounding::Bits16 };
        (quantized && Codes::fits(matrix.inputs)).then_some(Form::Codes(rounding))
    }
}

/// Rows from which on [`Numerics::Fastest`] rounds to BF16: fewer are bound by reading weights.
const ROUNDED_ROWS_MIN: usize = 16;
/// The same where there are tiles of it, in which one row costs as much as sixteen.
const TILED_ROWS_MIN: usize = 8;

/// Rows of activations, `[rows][width]`.
pub struct Rows {
    data: Vec<f32>,
    width: usize,
}

/// What a pass gives.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Of the batch's wanted rows, `[wanted][vocab_size]`.
    pub logits: Vec<f32>,
    /// What the head is applied to, of the rows whose hidden states are wanted, `[hidden][hidden_size]`.
    pub hidden: Vec<f32>,
}

/// Memory that is kept from one pass to the next.
#[derive(Default)]
pub struct Scratch {
    rounded: Rounded,
    free: Vec<Vec<f32>>,
}

impl Scratch {
    /// Takes back logits that are no longer needed: as much memory as the vocabulary has for each row would else come
    /// anew from the system for each step.
    pub fn take_back(&mut self, logits: Vec<f32>) {
        self.free.push(logits);
    }

    /// So many numbers, any: the least memory that holds them, so that what is great stays for what needs it. (Much greater memory would
    /// be cut off for them, and have to be filled again for those.)
    fn take(&mut self, len: usize) -> Vec<f32> {
        let sizes = || self.free.iter().map(Vec::capacity).enumerate();
        let fitting =
            sizes().filter(|(_, size)| (len..=2 * len).contains(size)).min_by_key(|(_, size)| *size);
        let place = fitting.or_else(|| sizes().filter(|(_, size)| *size < len).max_by_key(|(_, size)| *size));
        let mut numbers = place.map(|(place, _)| self.free.swap_remove(place)).unwrap_or_default();
        if numbers.capacity() < len {
            // Nothing of what is in it is worth a copy.
            numbers = Vec::new();
        }
        numbers.resize(len, 0.0);
        numbers
    }
}

/// Runs forward passes of one batch.
pub struct Executor<'a> {
    machine: &'a Machine,
    /// One thread, for what is done before others would have come.
    alone: Machine,
    numerics: Numerics,
    batch: &'a Batch,
    states: &'a mut [&'a mut State],
    scratch: &'a mut Scratch,
    angles: Vec<Angles>,
    /// The last hidden states that are wanted.
    hidden: Vec<f32>,
    /// The first layer whose output was not finite.
    fault: Option<usize>,
    stopped: &'a dyn Fn() -> bool,
}

/// Cosines and sines of a rope for the batch's rows, `[rows][pairs]`.
struct Angles {
    rope: Rope,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl<'a> Executor<'a> {
    /// Logits of the batch's wanted rows, `[wanted][vocab_size]`, as [`Executor::outputs`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run(
        machine: &'a Machine,
        model: &Model,
        numerics: Numerics,
        batch: &'a Batch,
        states: &'a mut [&'a mut State],
        scratch: &'a mut Scratch,
    ) -> Result<Vec<f32>, Error> {
        Ok(Executor::outputs(machine, model, numerics, batch, states, scratch, &|| false)?.logits)
    }

    /// All that the batch wants. `states` has one entry for each span; each takes in its span's tokens. `stopped` is
    /// asked after each layer whether the pass may end without a result.
    ///
    /// # Errors
    ///
    /// Tokens or positions that the model does not have; activations that are no longer numbers; [`Error::Stopped`].
    /// States are as long as before then.
    pub fn outputs(
        machine: &'a Machine,
        model: &Model,
        numerics: Numerics,
        batch: &'a Batch,
        states: &'a mut [&'a mut State],
        scratch: &'a mut Scratch,
        stopped: &'a dyn Fn() -> bool,
    ) -> Result<Outputs, Error> {
        batch.check(model)?;
        check_states(batch, states)?;
        let alone = Machine::new(machine.isa(), 1);
        let (angles, hidden, fault) = (Vec::new(), Vec::new(), None);
        let mut executor =
            Executor { machine, alone, numerics, batch, states, scratch, angles, hidden, fault, stopped };
        let logits = forward(&mut executor, model);
        let layers = model.description.layers.len();
        let in_head = logits.as_ref().is_some_and(|logits| !all_finite(&logits.data));
        if let Some(layer) = executor.fault.or(in_head.then_some(layers)) {
            return Err(Error::NotFinite { what: "NaN or infinity", layer, layers });
        }
        let logits = logits.ok_or(Error::Stopped)?;
        for (state, span) in executor.states.iter_mut().zip(&batch.spans) {
            state.advance(span.rows.len());
        }
        Ok(Outputs { logits: logits.data, hidden: executor.hidden })
    }

    fn take(&mut self, rows: usize, width: usize) -> Rows {
        Rows { data: self.scratch.take(rows * width), width }
    }

    fn lookup(&mut self, table: &Matrix, ids: impl Iterator<Item = usize>) -> Rows {
        let width = table.inputs;
        let mut out = self.take(self.batch.tokens.len(), width);
        let (storage, bytes) = (table.tensor.storage(), table.tensor.bytes());
        let row_bytes = table.tensor.row_bytes();
        for (id, out) in ids.zip(out.data.chunks_exact_mut(width)) {
            dequantize(self.machine.isa(), storage, &bytes[id * row_bytes..][..row_bytes], out);
        }
        out
    }

    /// The products, and the first halves of what adapters change; `x` is rounded in the scratch if one of the matrices
    /// wants them.
    fn multiply_prepared<const N: usize>(
        &mut self,
        x: &Rows,
        matrices: [&Matrix; N],
        changes: &mut Changes<'_>,
    ) -> [Rows; N] {
        let rows = x.data.len() / x.width;
        let mut all = matrices.map(|matrix| self.take(rows, matrix.outputs));
        let is_rounded = |matrix: &Matrix| {
            let fast = self.numerics == Numerics::Fastest && rows >= ROUNDED_ROWS_MIN;
            fast && !matrix.tensor.storage().is_quantized() && self.form(matrix, rows).is_none()
        };
        for (matrix, y) in matrices.iter().zip(&mut all).filter(|(matrix, _)| is_rounded(matrix)) {
            multiply_rounded(self.machine, matrix.for_kernels(), Precision::Bf16, &x.data, &mut y.data);
        }
        let others = matrices.iter().zip(&mut all).filter(|(matrix, _)| !is_rounded(matrix));
        let products = others.map(|(matrix, y)| {
            let input = match self.form(matrix, rows) {
                Some(form) => self.scratch.rounded.input(form),
                None => Input::Exact(&x.data),
            };
            Product { weights: matrix.for_kernels(), input, y: &mut y.data, added: None }
        });
        multiply_all(self.machine, products.chain(changes.first_halves(x)));
        all
    }

    fn form(&self, matrix: &Matrix, rows: usize) -> Option<Form> {
        self.numerics.form(self.machine.isa(), matrix, rows)
    }

    fn prepare<'m>(&mut self, x: &Rows, matrices: impl Iterator<Item = &'m Matrix>) {
        let rows = x.data.len() / x.width;
        let (isa, numerics) = (self.machine.isa(), self.numerics);
        let mut forms: Vec<Form> = Vec::new();
        for form in matrices.filter_map(|matrix| numerics.form(isa, matrix, rows)) {
            if !forms.contains(&form) {
                self.scratch.rounded.fill(self.machine, &x.data, x.width, form);
                forms.push(form);
            }
        }
    }

    fn with_bias(&self, mut y: Rows, bias: Option<&Vector>) -> Rows {
        if let Some(bias) = bias {
            elementwise::add_vector(self.machine, &mut y.data, &bias.values);
        }
        y
    }

    /// Some of the rows.
    fn pick(&mut self, x: &Rows, rows: &[usize]) -> Rows {
        let mut y = self.take(rows.len(), x.width);
        for (row, to) in rows.iter().zip(y.data.chunks_exact_mut(x.width)) {
            to.copy_from_slice(&x.data[row * x.width..][..x.width]);
        }
        y
    }

    fn angles(&mut self, of: &Rope) -> usize {
        if let Some(found) = self.angles.iter().position(|angles| angles.rope == *of) {
            return found;
        }
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for span in &self.batch.spans {
            of.angles(span.position..span.position + span.rows.len(), span.length_max, &mut cos, &mut sin);
        }
        self.angles.push(Angles { rope: of.clone(), cos, sin });
        self.angles.len() - 1
    }
}

fn check_states(batch: &Batch, states: &[&mut State]) -> Result<(), Error> {
    assert_eq!(batch.spans.len(), states.len(), "a state for each span");
    assert!(batch.spans.iter().all(|span| span.behind.is_none()), "spans that continue states");
    for (span, state) in batch.spans.iter().zip(states) {
        assert_eq!(span.position, state.length(), "a span continues its sequence");
        let ahead = span.adapter.map_or(0, |place| batch.adapters[place].virtual_tokens());
        assert!(span.position >= ahead, "a sequence begins behind its prefix");
        let end = span.position + span.rows.len();
        if end > state.length_max() {
            return Err(Error::Position {
                position: end - 1,
                limit: state.length_max(),
                what: "the sequence has room for",
            });
        }
    }
    Ok(())
}

fn all_finite(x: &[f32]) -> bool {
    // The exponent of a number that is not finite is all ones.
    x.iter().fold(true, |finite, x| finite & x.is_finite())
}

impl Ops for Executor<'_> {
    type T = Rows;

    fn embed(&mut self, table: &Matrix) -> Rows {
        let batch = self.batch;
        self.lookup(table, batch.tokens.iter().map(|id| *id as usize))
    }

    fn embed_positions(&mut self, table: &Matrix) -> Rows {
        let batch = self.batch;
        self.lookup(table, batch.positions())
    }

    fn product(&mut self, x: &Rows, matrix: &Matrix) -> Rows {
        self.prepare(x, std::iter::once(matrix));
        let [y] = self.multiply_prepared(x, [matrix], &mut Changes::none());
        y
    }

    fn linears<const N: usize>(&mut self, x: &Rows, linears: [&Linear; N]) -> [Rows; N] {
        self.prepare(x, linears.iter().map(|linear| &linear.matrix));
        let mut changes = self.changes(x, linears.map(|linear| linear.site));
        let mut biases = linears.iter().map(|linear| linear.bias.as_ref());
        let products = self.multiply_prepared(x, linears.map(|linear| &linear.matrix), &mut changes);
        let mut all = products.map(|y| self.with_bias(y, biases.next().flatten()));
        self.add_changes(changes, &mut all);
        all
    }

    fn linear(&mut self, x: &Rows, linear: &Linear) -> Rows {
        let [y] = self.linears(x, [linear]);
        y
    }

    fn adapt(&mut self, x: &Rows, y: Rows, site: Site) -> Rows {
        let mut changes = self.changes(x, [site]);
        multiply_all(self.machine, changes.first_halves(x));
        let mut all = [y];
        self.add_changes(changes, &mut all);
        let [y] = all;
        y
    }

    fn add_vector(&mut self, x: Rows, vector: &Vector) -> Rows {
        self.with_bias(x, Some(vector))
    }

    fn norm(&mut self, x: &Rows, norm: &NormWeights) -> Rows {
        let mut y = self.take(x.data.len() / x.width, x.width);
        normalize(self.machine, norm.for_kernels(), &x.data, &mut y.data);
        y
    }

    fn rope(&mut self, mut x: Rows, head_dim: usize, of: &Rope) -> Rows {
        let index = self.angles(of);
        let Angles { cos, sin, .. } = &self.angles[index];
        rope::rotate(self.machine, &mut x.data, (head_dim, x.width), of.pairing, cos, sin);
        x
    }

    fn scale_by_position(&mut self, mut x: Rows, scale: &PositionScale) -> Rows {
        for (position, row) in self.batch.positions().zip(x.data.chunks_exact_mut(x.width)) {
            elementwise::scale(self.machine, row, scale.at(position));
        }
        x
    }

    fn attend(&mut self, layer: usize, a: &Attention, q: &Rows, k: &Rows, v: &Rows) -> Rows {
        let mut out = self.take(q.data.len() / q.width, q.width);
        for (span, state) in self.batch.spans.iter().zip(self.states.iter_mut()) {
            let rows = |of: &Rows| span.rows.start * of.width..span.rows.end * of.width;
            state.put(self.machine, layer, &k.data[rows(k)], &v.data[rows(v)]);
        }
        let mut rows = Vec::with_capacity(self.batch.tokens.len());
        for (span, state) in self.batch.spans.iter().zip(self.states.iter()) {
            let (pages, begin) = state.pages(layer);
            let positions = span.position - begin..span.position - begin + span.rows.len();
            rows.extend(positions.map(|position| QueryRow { pages, position }));
        }
        attend(self.machine, &attend_spec(a, self.numerics), &rows, &q.data, &mut out.data);
        out
    }

    fn activate(&mut self, mut x: Rows, activation: Activation) -> Rows {
        activate(self.machine, activation, &mut x.data);
        x
    }

    fn activate_gated(&mut self, mut gate: Rows, up: &Rows, activation: Activation) -> Rows {
        activate_gated(self.machine, activation, &mut gate.data, &up.data);
        gate
    }

    fn add(&mut self, mut x: Rows, y: &Rows, factor: f32) -> Rows {
        elementwise::add_scaled(self.machine, &mut x.data, &y.data, factor);
        x
    }

    fn multiply(&mut self, mut x: Rows, y: &Rows) -> Rows {
        elementwise::multiply(self.machine, &mut x.data, &y.data);
        x
    }

    fn scale(&mut self, mut x: Rows, factor: f32) -> Rows {
        elementwise::scale(self.machine, &mut x.data, factor);
        x
    }

    fn clamp(&mut self, mut x: Rows, limit: f32) -> Rows {
        elementwise::clamp(self.machine, &mut x.data, limit);
        x
    }

    fn soft_cap(&mut self, mut x: Rows, cap: f32) -> Rows {
        elementwise::soft_cap(self.machine, &mut x.data, cap);
        x
    }

    fn columns(&mut self, x: &Rows, begin: usize, count: usize) -> Rows {
        let mut y = self.take(x.data.len() / x.width, count);
        for (from, to) in x.data.chunks_exact(x.width).zip(y.data.chunks_exact_mut(count)) {
            to.copy_from_slice(&from[begin..begin + count]);
        }
        y
    }

    fn wanted_rows(&mut self, x: Rows) -> Rows {
        let batch = self.batch;
        if batch.wanted.len() == batch.tokens.len() {
            return x;
        }
        let y = self.pick(&x, &batch.wanted);
        self.release(x);
        y
    }

    fn layer_done(&mut self, layer: usize, x: &Rows) {
        if self.fault.is_none() && !all_finite(&x.data) {
            self.fault = Some(layer);
        }
    }

    fn is_stopped(&self) -> bool {
        self.fault.is_some() || (self.stopped)()
    }

    fn layers_done(&mut self, x: &Rows, norm: &NormWeights) {
        let batch = self.batch;
        if !batch.hidden.is_empty() {
            let wanted = self.pick(x, &batch.hidden);
            self.hidden = self.norm(&wanted, norm).data;
            self.release(wanted);
        }
    }

    fn release(&mut self, x: Rows) {
        self.scratch.free.push(x.data);
    }
}

fn attend_spec(a: &Attention, numerics: Numerics) -> AttendSpec<'static> {
    AttendSpec {
        kv: KvShape { num_kv_heads: a.num_kv_heads, head_dim: a.head_dim },
        num_heads: a.num_heads,
        scale: a.scale,
        window: a.window,
        soft_cap: a.soft_cap,
        sinks: None,
        rounded: numerics == Numerics::Fastest,
    }
}
