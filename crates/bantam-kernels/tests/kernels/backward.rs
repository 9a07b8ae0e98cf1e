//! Derivatives of products against loops in f64.

use bantam_kernels::backward::{
    Precision, multiply_backward_input, multiply_backward_weights, multiply_rounded,
};
use bantam_kernels::matmul::{Layout, Weights, dequantize};
use bantam_kernels::{Isa, Machine, Storage};

use crate::random::{Random, assert_same, nmse, same_on_all};

/// The bound on errors against f64 for sums of up to a few hundred terms.
const NMSE_MAX: f64 = 1e-13;

fn transposed(x: &[f32], rows: usize) -> Vec<f32> {
    let width = x.len() / rows;
    (0..x.len()).map(|i| x[i % rows * width + i / rows]).collect()
}

/// `[rows][inputs]` from `dy` of `[rows][outputs]` and `w` of `[outputs][inputs]`, added to `dx`.
pub(crate) fn naive_input(w: &[f32], dy: &[f32], dx: &[f32], inputs: usize, outputs: usize) -> Vec<f64> {
    let sum = |m: usize, k: usize| -> f64 {
        (0..outputs).map(|n| f64::from(dy[m * outputs + n]) * f64::from(w[n * inputs + k])).sum()
    };
    dx.iter().enumerate().map(|(i, dx)| f64::from(*dx) + sum(i / inputs, i % inputs)).collect()
}

fn check_input(storage: Storage, layout: Layout, rows: usize, outputs: usize, inputs: usize) {
    let what = format!("{storage} {layout:?} {rows} rows {outputs} x {inputs}");
    let mut random = Random::new((rows * 1000 + outputs * 100 + inputs) as u64);
    let bytes = random.weights(storage, outputs * inputs);
    let weights = Weights { storage, layout, outputs, inputs, bytes: &bytes };
    let (dy, dx) = (random.normals(rows * outputs), random.normals(rows * inputs));
    let found = same_on_all(&what, |machine| {
        let mut dx = dx.clone();
        multiply_backward_input(machine, weights, Precision::Single, &dy, &mut dx);
        dx
    });
    let mut w = vec![0.0; outputs * inputs];
    dequantize(Isa::SCALAR, storage, &bytes, &mut w);
    let w = if layout == Layout::OutIn { w } else { transposed(&w, inputs) };
    let error = nmse(&naive_input(&w, &dy, &dx, inputs, outputs), &found);
    assert!(error < NMSE_MAX, "{what}: {error:e}");
}

#[test]
fn by_the_activations_through_every_storage() {
    for storage in Storage::ALL {
        for (rows, outputs, blocks) in [(1, 1, 1), (2, 70, 2), (7, 131, 3)] {
            let inputs = blocks * storage.block_len().max(16);
            check_input(storage, Layout::OutIn, rows, outputs, inputs);
        }
    }
}

/// Squared error of products of numbers rounded to BF16, twice one in 2^9 at most.
const BF16_NMSE_MAX: f64 = 1e-5;

#[test]
fn pairs_of_bf16_are_near_and_the_same_on_any_threads() {
    let alike = |what: &str, truth: &[f64], work: &dyn Fn(&Machine) -> Vec<f32>| {
        for isa in Isa::available() {
            let found = work(&Machine::new(isa, 1));
            let error = nmse(truth, &found);
            assert!(error < BF16_NMSE_MAX, "{what} on {isa}: {error:e}");
            assert_same(&format!("{what} on {isa}"), &found, &work(&Machine::new(isa, 3)));
        }
    };
    for (rows, outputs, inputs) in [(2, 15, 32), (5, 33, 32), (9, 300, 96), (70, 513, 608)] {
        let mut random = Random::new((rows + outputs + inputs) as u64);
        let bytes = random.weights(Storage::Q8_0, outputs * inputs);
        let weights =
            Weights { storage: Storage::Q8_0, layout: Layout::OutIn, outputs, inputs, bytes: &bytes };
        let (x, dy) = (random.normals(rows * inputs), random.normals(rows * outputs));
        let mut w = vec![0.0; outputs * inputs];
        dequantize(Isa::SCALAR, Storage::Q8_0, &bytes, &mut w);
        let zeros = vec![0.0; rows * inputs];
        let what = format!("{rows} rows {outputs} x {inputs}");
        alike(&what, &naive_input(&w, &dy, &zeros, inputs, outputs), &|machine| {
            let mut dx = zeros.clone();
            multiply_backward_input(machine, weights, Precision::Bf16, &dy, &mut dx);
            dx
        });
        let across = transposed(&w, outputs);
        let bytes_of = |numbers: &[f32]| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let whole = |layout, bytes| Weights { storage: Storage::F32, layout, outputs, inputs, bytes };
        let forms = [bytes_of(&w), bytes_of(&across)];
        for weights in [weights, whole(Layout::OutIn, &forms[0]), whole(Layout::InOut, &forms[1])] {
            let zeros = vec![0.0; rows * outputs];
            alike(&what, &naive_input(&across, &x, &zeros, outputs, inputs), &|machine| {
                let mut y = vec![f32::NAN; rows * outputs];
                multiply_rounded(machine, weights, Precision::Bf16, &x, &mut y);
                y
            });
        }
        let zeros = vec![0.0; outputs * inputs];
        let truth = naive_input(&x, &transposed(&dy, rows), &zeros, inputs, rows);
        alike(&what, &truth, &|machine| {
            let (mut dw, how) = (zeros.clone(), (Layout::OutIn, Precision::Bf16));
            multiply_backward_weights(machine, how, inputs, outputs, &x, &dy, &mut dw);
            dw
        });
    }
}

#[test]
fn by_the_activations_at_odd_widths_in_both_layouts() {
    for storage in [Storage::F32, Storage::F16, Storage::BF16] {
        for layout in [Layout::OutIn, Layout::InOut] {
            for (rows, outputs, inputs) in [(1, 3, 5), (4, 17, 33), (3, 65, 1030), (9, 50, 100)] {
                check_input(storage, layout, rows, outputs, inputs);
            }
        }
    }
}

#[test]
fn by_the_weights_in_both_layouts() {
    let shapes =
        [(1, 1, 1), (2, 5, 7), (3, 33, 31), (64, 16, 32), (65, 40, 48), (131, 7, 530), (300, 20, 24)];
    for (rows, outputs, inputs) in shapes {
        let mut random = Random::new((rows + outputs + inputs) as u64);
        let (x, dy) = (random.normals(rows * inputs), random.normals(rows * outputs));
        let dw = random.normals(outputs * inputs);
        for layout in [Layout::OutIn, Layout::InOut] {
            let what = format!("{layout:?} {rows} rows {outputs} x {inputs}");
            let start = if layout == Layout::OutIn { dw.clone() } else { transposed(&dw, outputs) };
            let found = same_on_all(&what, |machine| {
                let mut dw = start.clone();
                multiply_backward_weights(
                    machine,
                    (layout, Precision::Single),
                    inputs,
                    outputs,
                    &x,
                    &dy,
                    &mut dw,
                );
                dw
            });
            let found = if layout == Layout::OutIn { found } else { transposed(&found, inputs) };
            // The sum over rows is the derivative by the activations with the parts exchanged.
            let truth = naive_input(&x, &transposed(&dy, rows), &dw, inputs, rows);
            let error = nmse(&truth, &found);
            assert!(error < NMSE_MAX, "{what}: {error:e}");
        }
    }
}

#[test]
fn nothing_is_added_where_there_is_nothing() {
    let machine = bantam_kernels::Machine::new(Isa::best(), 2);
    let mut dw = vec![1.0; 12];
    multiply_backward_weights(&machine, (Layout::OutIn, Precision::Single), 3, 4, &[], &[], &mut dw);
    assert_eq!(dw, [1.0; 12]);
    let none = Weights { storage: Storage::F32, layout: Layout::OutIn, outputs: 0, inputs: 3, bytes: &[] };
    let mut dx = vec![1.0; 6];
    multiply_backward_input(&machine, none, Precision::Single, &[], &mut dx);
    assert_eq!(dx, [1.0; 6]);
}
