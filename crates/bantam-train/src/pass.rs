//! One batch's way through a model, forward and back, in little memory.
//!
//! The first time through, only the residual stream at the borders of layers is kept; on the way back each layer is
//! recorded again from there (Chen et al., 2016). Logits are formed for some rows at a time and go back at once, so
//! that those of a large vocabulary never exist whole.

use std::ops::Range;

use bantam_model::{Adapter, Batch, Machine, Model, Numerics, forward};

use crate::pool::Pool;
use crate::tape::{Recording, Tape, TensorGradients};
use crate::{Error, Var, Wanted};

/// Bytes of logits that exist at a time, about.
const LOGITS_BYTES: usize = 64 << 20;

/// Nothing is recorded on the way forward.
const FORWARD: &Wanted = &Wanted::Nothing;

/// What a pass runs with.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) model: &'a Model,
    pub(crate) wanted: &'a Wanted,
    pub(crate) numerics: Numerics,
    pub(crate) recompute: Recompute,
    /// Whether the gradients of an adapter are kept apart by spans.
    pub(crate) apart: bool,
}

/// What is computed a second time on the way back. Results have the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// Each layer, from the residual stream before it: least memory.
    #[default]
    Layers,
    /// Nothing; all that derivatives read is kept: a third faster or so.
    Nothing,
}

/// What is kept of a layer from the way forward to the way back.
enum Border {
    /// The residual stream before it.
    Stream(Vec<f32>),
    /// All that derivatives read.
    Recorded(Recording),
}

/// A batch after its first way through all layers.
pub(crate) struct Pass<'a> {
    setting: Setting<'a>,
    tape: Tape<'a>,
    /// Where learning begins.
    lowest: Lowest,
    /// Of each layer that the way back leads through, the lowest first.
    borders: Vec<Border>,
    /// The residual stream after the last layer, `[rows][hidden_size]`.
    stream: Vec<f32>,
    /// Its gradient, once there is some.
    gradient: Option<Vec<f32>>,
}

/// The first place of a model that learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lowest {
    Embed,
    Layer(usize),
    Head,
}

impl Lowest {
    fn of(model: &Model, adapter: Option<&Adapter>, wanted: &Wanted) -> Self {
        let mut layers = 0..model.description.layers.len();
        match layers.find(|layer| wanted.layer(model, adapter, *layer)) {
            _ if wanted.embed(model) => Lowest::Embed,
            Some(layer) => Lowest::Layer(layer),
            None => Lowest::Head,
        }
    }

    /// Whether the way back leads into a layer.
    fn is_in_or_below(self, layer: usize) -> bool {
        self <= Lowest::Layer(layer)
    }

    /// Whether the way back leads further than a layer.
    fn is_below(self, layer: usize) -> bool {
        self < Lowest::Layer(layer)
    }
}

impl<'a> Pass<'a> {
    /// Goes forward through all layers.
    ///
    /// # Errors
    ///
    /// Tokens or positions that the model does not have; activations that are no longer numbers.
    pub(crate) fn forward(setting: Setting<'a>, batch: &'a Batch, pool: Pool) -> Result<Self, Error> {
        batch.check(setting.model)?;
        let mut tape = Tape::new(setting.machine, batch, FORWARD)?;
        (tape.numerics, tape.pool, tape.apart) = (setting.numerics, pool, setting.apart);
        let lowest = match setting.wanted {
            Wanted::Nothing => None,
            wanted => Some(Lowest::of(setting.model, tape.adapter, wanted)),
        };
        let x = forward::embed(&mut tape, setting.model);
        let mut stream = tape.take_values(x);
        tape.clear();
        let mut borders = Vec::new();
        for layer in 0..setting.model.description.layers.len() {
            let back = lowest.filter(|lowest| lowest.is_in_or_below(layer));
            stream = through_layer(&mut tape, setting, layer, stream, back, &mut borders);
        }
        let lowest = lowest.unwrap_or(Lowest::Head);
        let pass = Pass { setting, tape, lowest, borders, stream, gradient: None };
        pass.check_finite(None)?;
        Ok(pass)
    }

    /// Forms the logits of some rows, some at a time, `[rows][vocab_size]`, and shows them; `show` is told which of
    /// `rows` they are.
    ///
    /// # Errors
    ///
    /// Logits that are no longer numbers.
    pub(crate) fn head(
        &mut self,
        rows: &[usize],
        mut show: impl FnMut(Range<usize>, &mut [f32]),
    ) -> Result<(), Error> {
        self.tape.pool.shrink();
        self.tape.wanted = FORWARD;
        for range in chunks(rows.len(), rows_at_once(self.setting.model)) {
            let (_, mut logits) = self.logits(&rows[range.clone()], false)?;
            show(range, &mut logits);
            self.tape.clear();
            self.tape.pool.put(logits);
        }
        self.tape.pool.shrink();
        Ok(())
    }

    /// As [`Pass::head`]; what `turn` makes of the logits is their gradient, which goes back through the head at once.
    ///
    /// # Errors
    ///
    /// Logits that are no longer numbers.
    pub(crate) fn head_and_back(
        &mut self,
        rows: &[usize],
        tensors: &mut TensorGradients,
        mut turn: impl FnMut(Range<usize>, &mut [f32]),
    ) -> Result<(), Error> {
        // Layers and logits have no buffers in common.
        self.tape.pool.shrink();
        self.tape.wanted = self.setting.wanted;
        for range in chunks(rows.len(), rows_at_once(self.setting.model)) {
            let rows = &rows[range.clone()];
            let (place, mut logits) = self.logits(rows, true)?;
            turn(range, &mut logits);
            if let Some(gradient) = self.tape.go_back(place, logits, tensors) {
                self.add_gradient(rows, gradient);
            }
        }
        self.tape.pool.shrink();
        Ok(())
    }

    /// The logits of some rows, and their place on the tape.
    fn logits(&mut self, rows: &[usize], wanted: bool) -> Result<(Var, Vec<f32>), Error> {
        let width = self.setting.model.description.hidden_size;
        let mut x = self.tape.blank(rows.len(), width);
        for (row, x) in rows.iter().zip(x.data.chunks_exact_mut(width)) {
            x.copy_from_slice(&self.stream[row * width..][..width]);
        }
        let x = self.tape.leaf(x.data, width, wanted);
        let logits = forward::head(&mut self.tape, self.setting.model, x);
        let place = logits.0;
        let numbers = self.tape.take_values(logits);
        self.check_finite(Some(&numbers))?;
        Ok((Var(place), numbers))
    }

    fn add_gradient(&mut self, rows: &[usize], gradient: Vec<f32>) {
        let width = self.setting.model.description.hidden_size;
        let sum = self.gradient.get_or_insert_with(|| self.tape.pool.zeros(self.stream.len()));
        for (row, gradient) in rows.iter().zip(gradient.chunks_exact(width)) {
            let sum = &mut sum[row * width..][..width];
            sum.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += x);
        }
        self.tape.pool.put(gradient);
    }

    /// Goes back through the layers, each recorded again, as far down as something learns.
    pub(crate) fn backward(&mut self, tensors: &mut TensorGradients) {
        let Setting { model, wanted, .. } = self.setting;
        let width = model.description.hidden_size;
        let Some(mut gradient) = self.gradient.take() else { return };
        self.tape.pool.put(std::mem::take(&mut self.stream));
        self.tape.wanted = wanted;
        for layer in (0..model.description.layers.len()).rev() {
            let y = match self.borders.pop() {
                None => break,
                Some(Border::Recorded(recording)) => self.tape.put_back(recording),
                Some(Border::Stream(stream)) => {
                    let x = self.tape.leaf(stream, width, self.lowest.is_below(layer));
                    forward::layer(&mut self.tape, model, layer, x)
                }
            };
            match self.tape.go_back(y, gradient, tensors) {
                Some(below) => gradient = below,
                None => return,
            }
        }
        if self.lowest == Lowest::Embed {
            let y = forward::embed(&mut self.tape, model);
            self.tape.go_back(y, gradient, tensors);
        }
    }

    /// The memory, for the next pass.
    pub(crate) fn into_pool(mut self) -> Pool {
        for border in std::mem::take(&mut self.borders) {
            match border {
                Border::Stream(stream) => self.tape.pool.put(stream),
                Border::Recorded(recording) => _ = self.tape.put_back(recording),
            }
        }
        self.tape.clear();
        for buffer in self.gradient.into_iter().chain([self.stream]) {
            self.tape.pool.put(buffer);
        }
        self.tape.pool
    }

    fn check_finite(&self, logits: Option<&[f32]>) -> Result<(), Error> {
        let layers = self.setting.model.description.layers.len();
        let finite = logits.is_none_or(|logits| logits.iter().fold(true, |all, x| all & x.is_finite()));
        match self.tape.fault.or((!finite).then_some(layers)) {
            Some(layer) => {
                Err(bantam_model::Error::NotFinite { what: "NaN or infinity", layer, layers }.into())
            }
            None => Ok(()),
        }
    }
}

/// Goes forward through a layer, and keeps of it what the way back needs, if that leads here.
fn through_layer<'a>(
    tape: &mut Tape<'a>,
    setting: Setting<'a>,
    layer: usize,
    stream: Vec<f32>,
    back: Option<Lowest>,
    borders: &mut Vec<Border>,
) -> Vec<f32> {
    let width = setting.model.description.hidden_size;
    let recorded = back.filter(|_| setting.recompute == Recompute::Nothing);
    if back.is_some() && recorded.is_none() {
        borders.push(Border::Stream(tape.pool.copy(&stream)));
    }
    tape.wanted = if recorded.is_some() { setting.wanted } else { FORWARD };
    let x = tape.leaf(stream, width, recorded.is_some_and(|lowest| lowest.is_below(layer)));
    let y = forward::layer(tape, setting.model, layer, x);
    if recorded.is_some() {
        let stream = tape.copied(y.0);
        borders.push(Border::Recorded(tape.lift(y)));
        return stream;
    }
    let stream = tape.take_values(y);
    tape.clear();
    stream
}

/// Ranges of so many, and a shorter one at the end.
fn chunks(count: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(at_once).map(move |begin| begin..(begin + at_once).min(count))
}

/// Rows whose logits exist at a time.
pub(crate) fn rows_at_once(model: &Model) -> usize {
    let fit = LOGITS_BYTES / size_of::<f32>() / model.description.vocab_size.max(1);
    (fit / 16 * 16).clamp(16, 512)
}
