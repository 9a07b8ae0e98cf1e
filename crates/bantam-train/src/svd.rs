//! The largest singular values of a matrix with their vectors, by a random sketch (Halko, Martinsson and Tropp, 2011).
//!
//! The same matrix and seed give the same bits on any number of threads.

use bantam_model::Machine;
use bantam_tensor::kernels::backward::{First, Precision, add_product};

use crate::random::Random;

/// `matrix` is about the sum of `values[i] * left[i] right[i]ᵀ`, largest first.
pub(crate) struct Svd {
    pub(crate) values: Vec<f64>,
    /// `[rank][rows]`
    pub(crate) left: Vec<f32>,
    /// `[rank][columns]`
    pub(crate) right: Vec<f32>,
}

/// More directions than are wanted, which the power iterations sort out.
const OVERSAMPLES: usize = 10;
/// Each multiplies the distances between singular values.
const ITERATIONS: usize = 6;

impl Svd {
    /// The `rank` largest of `matrix`, `[rows][columns]`; as many as there are at most.
    pub(crate) fn of(machine: &Machine, matrix: &[f32], columns: usize, rank: usize, seed: u64) -> Self {
        let rows = matrix.len() / columns;
        let across = turned(matrix, columns);
        let count = (rank + OVERSAMPLES).min(rows).min(columns);
        let mut random = Random::new(seed);
        let mut right: Vec<f32> = (0..count * columns).map(|_| random.between(1.0)).collect();
        let mut left = Vec::new();
        for _ in 0..ITERATIONS {
            orthonormalize(&mut right, columns);
            left = product(machine, &right, &across, count, rows);
            orthonormalize(&mut left, rows);
            right = product(machine, &left, matrix, count, columns);
        }
        // What is left is small: `left` times the matrix, whose rows are turned until they are orthogonal.
        let (squares, turn) = eigen(&gram(&right, columns), count);
        let rank = rank.min(count);
        let values: Vec<f64> = squares[..rank].iter().map(|square| square.max(0.0).sqrt()).collect();
        let combined = |rows: &[f32], width: usize, factor: &dyn Fn(usize) -> f64| {
            let mut out = vec![0.0_f32; rank * width];
            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                for (j, row) in rows.chunks_exact(width).enumerate() {
                    let weight = (turn[i * count + j] * factor(i)) as f32;
                    out.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
                }
            }
            out
        };
        let inverse = |i: usize| if values[i] > 0.0 { 1.0 / values[i] } else { 0.0 };
        Svd { left: combined(&left, rows, &|_| 1.0), right: combined(&right, columns, &inverse), values }
    }
}

/// `first` `[count][inner]` times `second` `[inner][width]`.
fn product(machine: &Machine, first: &[f32], second: &[f32], count: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; count * width];
    add_product(machine, Precision::Single, First::Rows(first), second, [count, width], &mut out);
    out
}

fn turned(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut out = vec![0.0; matrix.len()];
    for (i, row) in matrix.chunks_exact(columns).enumerate() {
        for (j, x) in row.iter().enumerate() {
            out[j * rows + i] = *x;
        }
    }
    out
}

fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// Rows of length one at right angles, by Gram and Schmidt, twice over; a row without a direction of its own becomes zero.
fn orthonormalize(rows: &mut [f32], width: usize) {
    for place in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(place * width);
        let row = &mut rest[..width];
        let length = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(width) {
                let along = dot(row, other) as f32;
                row.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = dot(row, row).sqrt();
        let factor = if left > 1e-6 * length { (1.0 / left) as f32 } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

/// The products of all rows with each other.
fn gram(rows: &[f32], width: usize) -> Vec<f64> {
    let each = |x: &[f32]| rows.chunks_exact(width).map(|y| dot(x, y)).collect::<Vec<f64>>();
    rows.chunks_exact(width).flat_map(each).collect()
}

/// The eigenvalues of a symmetric matrix, largest first, and their vectors as rows, by Jacobi's rotations.
fn eigen(matrix: &[f64], count: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut vectors = vec![0.0; count * count];
    (0..count).for_each(|i| vectors[i * count + i] = 1.0);
    for _ in 0..SWEEPS_MAX {
        let off: f64 = pairs(count).map(|(p, q)| a[p * count + q].powi(2)).sum();
        let on: f64 = (0..count).map(|i| a[i * count + i].powi(2)).sum();
        if off <= 1e-30 * on {
            break;
        }
        for (p, q) in pairs(count) {
            rotate(&mut a, &mut vectors, count, p, q);
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|i, j| a[j * count + j].total_cmp(&a[i * count + i]));
    let values = order.iter().map(|i| a[i * count + i]).collect();
    let vectors = order.iter().flat_map(|i| vectors[i * count..(i + 1) * count].to_vec()).collect();
    (values, vectors)
}

const SWEEPS_MAX: usize = 40;

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |p| (p + 1..count).map(move |q| (p, q)))
}

/// Turns two axes so that the entry that they share becomes zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], count: usize, p: usize, q: usize) {
    let shared = a[p * count + q];
    if shared == 0.0 {
        return;
    }
    let theta = (a[q * count + q] - a[p * count + p]) / (2.0 * shared);
    let tan = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cos = 1.0 / (tan * tan + 1.0).sqrt();
    let sin = tan * cos;
    for k in 0..count {
        let (x, y) = (a[k * count + p], a[k * count + q]);
        (a[k * count + p], a[k * count + q]) = (cos * x - sin * y, sin * x + cos * y);
    }
    for k in 0..count {
        let (x, y) = (a[p * count + k], a[q * count + k]);
        (a[p * count + k], a[q * count + k]) = (cos * x - sin * y, sin * x + cos * y);
        let (x, y) = (vectors[p * count + k], vectors[q * count + k]);
        (vectors[p * count + k], vectors[q * count + k]) = (cos * x - sin * y, sin * x + cos * y);
    }
}

#[cfg(test)]
mod tests {
    use bantam_model::Isa;

    use super::*;

    /// A matrix of known singular values: orthonormal rows by values by orthonormal rows.
    fn known(rows: usize, columns: usize, values: &[f64]) -> Vec<f32> {
        let mut random = Random::new(4);
        let mut side = |width: usize| {
            let mut side: Vec<f32> = (0..values.len() * width).map(|_| random.between(1.0)).collect();
            orthonormalize(&mut side, width);
            side
        };
        let (left, right) = (side(rows), side(columns));
        let mut matrix = vec![0.0; rows * columns];
        for (i, value) in values.iter().enumerate() {
            for r in 0..rows {
                for c in 0..columns {
                    matrix[r * columns + c] += *value as f32 * left[i * rows + r] * right[i * columns + c];
                }
            }
        }
        matrix
    }

    #[test]
    fn the_largest_values_are_found_with_their_vectors() {
        let machine = Machine::new(Isa::best(), 2);
        // A tail that falls slowly, as those of weights do.
        let values: Vec<f64> = (0..40).map(|i| 10.0 / (1.0 + f64::from(i)).sqrt()).collect();
        for (rows, columns) in [(70, 50), (50, 70)] {
            let matrix = known(rows, columns, &values);
            let svd = Svd::of(&machine, &matrix, columns, 6, 1);
            for (i, wanted) in values[..6].iter().enumerate() {
                assert!((svd.values[i] / wanted - 1.0).abs() < 2e-3, "{i}: {}, {wanted}", svd.values[i]);
                let (left, right) = (&svd.left[i * rows..][..rows], &svd.right[i * columns..][..columns]);
                assert!((dot(left, left) - 1.0).abs() < 1e-4 && (dot(right, right) - 1.0).abs() < 1e-4);
            }
            // The best of this rank leaves the rest of the values.
            let mut rest = matrix.clone();
            for i in 0..6 {
                for (r, row) in rest.chunks_exact_mut(columns).enumerate() {
                    let factor = svd.values[i] as f32 * svd.left[i * rows + r];
                    row.iter_mut().zip(&svd.right[i * columns..]).for_each(|(x, y)| *x -= factor * y);
                }
            }
            let wanted: f64 = values[6..].iter().map(|value| value * value).sum();
            let found = dot(&rest, &rest);
            assert!((found / wanted - 1.0).abs() < 1e-2, "{found}, {wanted}");
        }
    }

    #[test]
    fn a_matrix_of_lower_rank_is_found_whole() {
        let machine = Machine::new(Isa::best(), 1);
        let matrix = known(20, 30, &[3.0, 1.0]);
        let svd = Svd::of(&machine, &matrix, 30, 5, 1);
        assert!((svd.values[0] - 3.0).abs() < 1e-4 && (svd.values[1] - 1.0).abs() < 1e-4);
        assert!(svd.values[2..].iter().all(|value| *value < 1e-3), "{:?}", svd.values);
        let zeros = Svd::of(&machine, &[0.0; 600], 30, 2, 1);
        assert!(zeros.values == [0.0, 0.0] && zeros.right.iter().all(|x| *x == 0.0));
    }
}
