//! Arithmetic of low-rank products: sums, and what they add to a matrix.

use bantam_tensor::Tensor;
use bantam_tensor::kernels::matmul::Layout;
use bantam_tensor::kernels::{Isa, Machine, elementwise};

use super::{Adapter, LowRank};
use crate::Error;
use crate::weights::Matrix;

impl Adapter {
    /// The same for those who only compute with it: the second factors with the outputs of an input side by side, so that
    /// short sums of many outputs are formed together. The bits of what comes out stay.
    ///
    /// # Errors
    ///
    /// What a tensor refuses.
    pub fn for_running(mut self) -> Result<Self, Error> {
        for low_rank in self.sites.values_mut().chain(self.start.values_mut()) {
            low_rank.b = low_rank.b.turned()?;
        }
        Ok(self)
    }
}

impl LowRank {
    /// The inner width.
    pub fn rank(&self) -> usize {
        self.b.inputs
    }

    /// A product of tensors `a` `[rank, inputs]` and `b` `[outputs, rank]`.
    pub(super) fn of(a: Tensor, b: Tensor, scale: f32) -> LowRank {
        let matrix = |tensor: Tensor| Matrix {
            layout: Layout::OutIn,
            outputs: tensor.rows(),
            inputs: tensor.cols(),
            tensor,
        };
        LowRank { a: matrix(a), b: matrix(b), scale, magnitude: None }
    }

    /// The sum of several products, each with a factor: one product whose rank is theirs together. One alone keeps its
    /// bits.
    pub(super) fn sum(parts: &[(&LowRank, f32)]) -> Result<LowRank, String> {
        let has_lengths = parts.iter().any(|(part, _)| part.magnitude.is_some());
        if has_lengths && !matches!(parts, [(_, 1.0)]) {
            return Err(
                "it gives rows lengths (DoRA), which do not add up: take it alone and unscaled, or merge it"
                    .into(),
            );
        }
        if let [(only, factor)] = parts {
            return Ok(LowRank { scale: only.scale * factor, ..(*only).clone() });
        }
        let Some((first, _)) = parts.first() else { return Err("a sum of nothing".into()) };
        let (inputs, outputs) = (first.a.inputs, first.b.outputs);
        if parts.iter().any(|(part, _)| (part.a.inputs, part.b.outputs) != (inputs, outputs)) {
            return Err("the adapters have other sizes, and are not of one model".into());
        }
        let rank = parts.iter().map(|(part, _)| part.rank()).sum();
        let a: Vec<f32> = parts.iter().flat_map(|(part, _)| part.a.rows_f32()).collect();
        let (mut b, mut begin) = (vec![0.0; outputs * rank], 0);
        for (part, factor) in parts {
            let (own, values) = (part.rank(), part.b.rows_f32());
            for (row, values) in b.chunks_exact_mut(rank).zip(values.chunks_exact(own)) {
                let scaled = values.iter().map(|value| value * part.scale * factor);
                row[begin..begin + own].iter_mut().zip(scaled).for_each(|(place, value)| *place = value);
            }
            begin += own;
        }
        let tensor = |shape: [usize; 2], values: &[f32]| {
            Tensor::from_f32("sum", shape.to_vec(), values).map_err(|error| error.to_string())
        };
        Ok(LowRank::of(tensor([rank, inputs], &a)?, tensor([outputs, rank], &b)?, 1.0))
    }

    /// `base + scale * B A` in f32, as the base lies; with lengths, its rows have them.
    ///
    /// # Panics
    ///
    /// If the base has another size, which [`super::Adapter::check`] refuses.
    pub fn added_to(&self, base: &Matrix) -> Vec<f32> {
        assert_eq!((self.a.inputs, self.b.outputs), (base.inputs, base.outputs), "a product for this matrix");
        let (a, b) = (self.a.rows_f32(), self.b.rows_f32());
        let mut sum = base.tensor.to_f32();
        // Rows of what lies first, each a sum of rows of the other matrix.
        match base.layout {
            Layout::OutIn => self.add_rows(&mut sum, &b, &a),
            Layout::InOut => {
                let rank = self.rank();
                self.add_rows(&mut sum, &transposed(&a, base.inputs), &transposed(&b, rank));
            }
        }
        if let Some(magnitude) = &self.magnitude {
            let gains = magnitude.gains();
            for (place, number) in sum.iter_mut().enumerate() {
                *number *= gains[match base.layout {
                    Layout::OutIn => place / base.inputs,
                    Layout::InOut => place % base.outputs,
                }];
            }
        }
        sum
    }

    /// `sum[i] += scale * sum over r of factors[i][r] * rows[r]`
    fn add_rows(&self, sum: &mut [f32], factors: &[f32], rows: &[f32]) {
        // Rows are too short to share among threads.
        let (machine, rank) = (Machine::new(Isa::best(), 1), self.rank());
        let width = rows.len() / rank;
        for (sum, factors) in sum.chunks_exact_mut(width).zip(factors.chunks_exact(rank)) {
            for (factor, row) in factors.iter().zip(rows.chunks_exact(width)) {
                elementwise::add_scaled(&machine, sum, row, factor * self.scale);
            }
        }
    }
}

impl Matrix {
    /// The matrix with one row for each output.
    pub(crate) fn in_rows(&self) -> Result<Tensor, bantam_tensor::Error> {
        if self.layout == Layout::OutIn {
            return Ok(self.tensor.clone());
        }
        Tensor::from_f32(self.tensor.name(), vec![self.outputs, self.inputs], &self.rows_f32())
    }

    /// The same numbers in f32 with one row for each input.
    fn turned(&self) -> Result<Matrix, Error> {
        if self.layout == Layout::InOut {
            return Ok(self.clone());
        }
        let values = transposed(&self.tensor.to_f32(), self.inputs);
        let tensor = Tensor::from_f32(self.tensor.name(), vec![self.inputs, self.outputs], &values)?;
        Ok(Matrix { layout: Layout::InOut, tensor, ..*self })
    }

    /// One row of `inputs` for each output, in f32.
    pub fn rows_f32(&self) -> Vec<f32> {
        let values = self.tensor.to_f32();
        match self.layout {
            Layout::OutIn => values,
            Layout::InOut => transposed(&values, self.outputs),
        }
    }
}

/// The other axis first, of rows of this width.
pub(super) fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values.iter().skip(column).step_by(width).copied()).collect()
}
