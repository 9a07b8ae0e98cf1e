//! Momentum made orthogonal by Newton and Schulz's iteration (Jordan et al., 2024), with steps as long as AdamW's
//! (Liu et al., 2025), so that one rate serves both.

use bantam_model::Machine;
use bantam_tensor::kernels::backward::{First, Precision, add_product};

use super::AdamW;
use crate::parameters::Parameter;

/// Settings of Muon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// How much of the mean gradient stays from step to step.
    pub momentum: f32,
    /// What matrices shrink by at each step, times the rate.
    pub weight_decay: f32,
    /// For everything that is no matrix of a layer.
    pub adamw: AdamW,
}

impl Default for Muon {
    /// As its authors set it.
    fn default() -> Self {
        Muon { momentum: 0.95, weight_decay: 0.0, adamw: AdamW::default() }
    }
}

impl Muon {
    pub(super) fn update(
        &self,
        machine: &Machine,
        parameter: &Parameter,
        values: &mut [f32],
        gradient: &[f32],
        rate: f32,
        momentum: &mut [f32],
    ) {
        let columns = parameter.shape.last().copied().unwrap_or(1);
        let rows = values.len() / columns.max(1);
        let mut ahead = Vec::with_capacity(values.len());
        for (mean, gradient) in momentum.iter_mut().zip(gradient) {
            *mean += (gradient - *mean) * (1.0 - self.momentum);
            // One step ahead, as Nesterov has it.
            ahead.push(gradient + (*mean - gradient) * self.momentum);
        }
        let direction = orthogonalize(machine, ahead, rows, columns);
        let size = rate * STEP_LENGTH * (rows.max(columns) as f32).sqrt();
        for (value, direction) in values.iter_mut().zip(direction) {
            *value = *value * (1.0 - rate * self.weight_decay) - size * direction;
        }
    }
}

/// The root of the mean square of AdamW's steps, in rates.
const STEP_LENGTH: f32 = 0.2;

/// A matrix whose singular values are all between 0.7 and 1.2 or so, with the same singular vectors.
fn orthogonalize(machine: &Machine, matrix: Vec<f32>, rows: usize, columns: usize) -> Vec<f32> {
    if rows > columns {
        let flat = orthogonalize(machine, turned(&matrix, columns), columns, rows);
        return turned(&flat, rows);
    }
    const STEPS: usize = 5;
    const FACTORS: [f32; 3] = [3.4445, -4.7750, 2.0315];
    let norm = matrix.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() + 1e-7;
    let mut x: Vec<f32> = matrix.into_iter().map(|x| (f64::from(x) / norm) as f32).collect();
    for _ in 0..STEPS {
        // X becomes a X + (b A + c A A) X, where A is X times itself turned.
        let squares = product(machine, &x, &turned(&x, columns), rows, rows);
        let mut factor = product(machine, &squares, &squares, rows, rows);
        for (factor, square) in factor.iter_mut().zip(&squares) {
            *factor = FACTORS[1] * square + FACTORS[2] * *factor;
        }
        let bent = product(machine, &factor, &x, rows, columns);
        x.iter_mut().zip(bent).for_each(|(x, bent)| *x = FACTORS[0] * *x + bent);
    }
    x
}

fn product(machine: &Machine, first: &[f32], second: &[f32], rows: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * width];
    add_product(machine, Precision::Single, First::Rows(first), second, [rows, width], &mut out);
    out
}

/// A matrix of rows of this width, turned.
fn turned(matrix: &[f32], width: usize) -> Vec<f32> {
    let rows = matrix.len() / width.max(1);
    let mut turned = vec![0.0; matrix.len()];
    for (i, row) in matrix.chunks_exact(width.max(1)).enumerate() {
        for (j, number) in row.iter().enumerate() {
            turned[j * rows + i] = *number;
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use bantam_model::Isa;

    use super::*;

    #[test]
    fn rows_become_orthogonal_and_of_about_unit_length() {
        let machine = Machine::new(Isa::best(), 2);
        for (rows, columns) in [(4, 9), (9, 4), (5, 5)] {
            let matrix: Vec<f32> =
                (0..rows * columns).map(|i| ((i * i * 7 + 3 * i) % 23) as f32 / 23.0 - 0.4).collect();
            let found = orthogonalize(&machine, matrix, rows, columns);
            let flat = if rows > columns { turned(&found, columns) } else { found };
            let (rows, columns) = (rows.min(columns), rows.max(columns));
            let squares = product(&machine, &flat, &turned(&flat, columns), rows, rows);
            for (i, row) in squares.chunks_exact(rows).enumerate() {
                for (j, square) in row.iter().enumerate() {
                    let (least, most) = if i == j { (0.4, 1.5) } else { (-0.4, 0.4) };
                    assert!((least..=most).contains(square), "{i} {j}: {square}");
                }
            }
        }
    }
}
