//! DoRA (Liu et al., 2024): each row of a changed matrix is given a length that is learnt for itself.
//!
//! `y = g (W x + scale B A x) + bias`, where `g` is the learnt length by that of the row of `W + scale B A`. The latter
//! counts as a constant in gradients, as the paper has it. It follows from the product, and is found anew by
//! [`Adapter::settle`] whenever that has changed.

use std::sync::Arc;

use bantam_tensor::Tensor;
use bantam_tensor::kernels::Machine;
use bantam_tensor::kernels::matmul::{Input, multiply};

use super::{Adapter, LowRank};
use crate::weights::{Linear, Vector};
use crate::{Error, Model};

/// The lengths of a matrix's rows.
#[derive(Clone, Debug)]
pub struct Magnitude {
    /// What they are to be, `[outputs]`.
    pub lengths: Tensor,
    /// What they would be without that.
    norms: Arc<[f32]>,
    /// The squares of those of `W`.
    squares: Arc<[f64]>,
    bias: Option<Vector>,
}

impl Magnitude {
    /// Lengths for a projection. Nothing is settled yet.
    pub(super) fn new(linear: &Linear, lengths: Tensor) -> Self {
        let square = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let squares: Vec<f64> =
            linear.matrix.rows_f32().chunks_exact(linear.matrix.inputs).map(square).collect();
        let norms = squares.iter().map(|square| (square.sqrt() as f32).max(NORM_MIN)).collect();
        Magnitude { lengths, norms, squares: squares.into(), bias: linear.bias.clone() }
    }

    /// The lengths that the rows have now: a start that changes nothing.
    ///
    /// # Errors
    ///
    /// What a tensor refuses.
    pub fn start(linear: &Linear, name: String) -> Result<Self, Error> {
        let blank = Tensor::from_f32(&name, vec![linear.matrix.outputs], &vec![0.0; linear.matrix.outputs])?;
        let magnitude = Magnitude::new(linear, blank);
        let lengths = Tensor::from_f32(name, vec![linear.matrix.outputs], &magnitude.norms)?;
        Ok(Magnitude { lengths, ..magnitude })
    }

    /// The lengths of the rows of `W + scale B A`.
    pub fn norms(&self) -> &[f32] {
        &self.norms
    }

    /// What each output is multiplied with.
    pub fn gains(&self) -> Vec<f32> {
        let lengths = self.lengths.to_f32();
        lengths.iter().zip(self.norms.iter()).map(|(length, norm)| length / norm).collect()
    }

    /// What is added to the outputs after that.
    pub fn bias(&self) -> Option<&Vector> {
        self.bias.as_ref()
    }

    /// Gives rows of outputs, with their bias, their lengths.
    pub fn apply(&self, rows: &mut [f32]) {
        let gains = self.gains();
        for row in rows.chunks_exact_mut(gains.len()) {
            match &self.bias {
                Some(bias) => {
                    for ((y, gain), bias) in row.iter_mut().zip(&gains).zip(bias.values.iter()) {
                        *y = gain * (*y - bias) + bias;
                    }
                }
                None => row.iter_mut().zip(&gains).for_each(|(y, gain)| *y *= gain),
            }
        }
    }
}

/// A row of zeros has no direction; it stays as it is.
const NORM_MIN: f32 = 1e-30;

impl LowRank {
    /// Finds the norms of the rows of `W + scale B A`: of its square by those of both parts and twice their product.
    fn settle(&mut self, machine: &Machine, linear: &Linear) {
        let (rank, scale) = (self.rank(), f64::from(self.scale));
        let (a, b) = (self.a.rows_f32(), self.b.rows_f32());
        let Some(magnitude) = &mut self.magnitude else { return };
        let (inputs, outputs) = (linear.matrix.inputs, linear.matrix.outputs);
        let mut crossed = vec![0.0; rank * outputs];
        multiply(machine, linear.matrix.for_kernels(), Input::Exact(&a), &mut crossed);
        let dot =
            |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let gram: Vec<f64> =
            a.chunks_exact(inputs).flat_map(|x| a.chunks_exact(inputs).map(move |y| dot(x, y))).collect();
        let norm = |(output, b): (usize, &[f32])| {
            let mut sum = magnitude.squares[output];
            for (r, x) in b.iter().enumerate() {
                let x = f64::from(*x) * scale;
                let own: f64 = b.iter().zip(&gram[r * rank..]).map(|(y, g)| f64::from(*y) * scale * g).sum();
                sum += x * (2.0 * f64::from(crossed[r * outputs + output]) + own);
            }
            (sum.max(0.0).sqrt() as f32).max(NORM_MIN)
        };
        magnitude.norms = b.chunks_exact(rank).enumerate().map(norm).collect();
    }
}

impl Adapter {
    /// Whether rows have lengths of their own.
    pub fn has_magnitudes(&self) -> bool {
        self.sites.values().any(|low_rank| low_rank.magnitude.is_some())
    }

    /// To be called when matrices have changed: what follows from them is found anew.
    pub fn settle(&mut self, machine: &Machine, model: &Model) {
        if self.has_magnitudes() {
            for linear in model.linears() {
                if let Some(low_rank) = self.sites.get_mut(&linear.site) {
                    low_rank.settle(machine, linear);
                }
            }
        }
    }
}
