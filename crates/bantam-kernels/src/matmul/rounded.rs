//! Activations rounded once for all products that take them.

use super::{Codes, Input, PairRows, Rounding};
use crate::Machine;

/// What activations are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Integers with scales, for quantised weights.
    Codes(Rounding),
    /// BF16, for weights of [`super::Layout::OutIn`] where there are tiles of it ([`crate::Isa::has_bf16_tiles`]).
    Pairs,
}

/// Rows of activations in one form or the other, with the memory of both.
#[derive(Default)]
pub struct Rounded {
    codes: Codes,
    pairs: PairRows,
}

impl Rounded {
    /// Takes rows of `width` activations, in place of those before in the same form.
    ///
    /// # Panics
    ///
    /// As [`Codes::fill`] and [`PairRows::fill`].
    pub fn fill(&mut self, machine: &Machine, x: &[f32], width: usize, form: Form) {
        match form {
            Form::Codes(rounding) => self.codes.fill(machine, x, width, rounding),
            Form::Pairs => self.pairs.fill(machine, x, width),
        }
    }

    /// What was taken last in this form.
    pub fn input(&self, form: Form) -> Input<'_> {
        match form {
            Form::Codes(_) => Input::Coded(&self.codes),
            Form::Pairs => Input::Pairs(&self.pairs),
        }
    }
}
