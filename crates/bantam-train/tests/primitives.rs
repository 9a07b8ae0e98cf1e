//! The derivative of every primitive against finite differences of what it computes.
//!
//! Differences are taken in f32 with a step of 1/16, at four places; what they miss is the fifth derivative
//! times the fourth power of the step, and the rounding of the values. Tolerance: 5e-4 of the greatest entry
//! of the gradient, or of one where that is smaller.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::BTreeMap;

use bantam_model::description::{Activation, Attention, Bias, NormKind, Pairing, PositionScale, Projections};
use bantam_model::rope::{Frequencies, Rope};
use bantam_model::weights::{Matrix, NormWeights, Vector};
use bantam_model::{Batch, Isa, Machine, Ops, Want};
use bantam_tensor::kernels::matmul::Layout;
use bantam_tensor::{Storage, Tensor};
use bantam_train::{Tape, Var, Wanted};
use common::{numbers, slope};

const STEP: f64 = 1.0 / 16.0;
const TOLERANCE: f64 = 5e-4;

/// Eight rows in two sequences of odd lengths; row `i` has token `i`.
const ROWS: usize = 8;

fn batch() -> Batch {
    let mut batch = Batch::default();
    batch.push(&[0, 1, 2], 0, 3, Want::Last);
    batch.push(&[3, 4, 5, 6, 7], 0, 5, Want::Last);
    batch.wanted.push(4);
    batch
}

/// Named tensors whose gradients are looked at.
#[derive(Clone, Default)]
struct Numbers(BTreeMap<&'static str, (Vec<usize>, Vec<f32>)>);

impl Numbers {
    fn with(mut self, name: &'static str, shape: &[usize]) -> Self {
        let count = shape.iter().product();
        let values = numbers(self.0.len() as u64 + 1, count);
        self.0.insert(name, (shape.to_vec(), values));
        self
    }

    /// `x`, one row for each token, so that [`Ops::embed`] gives it.
    fn rows(width: usize) -> Self {
        Numbers::default().with("x", &[ROWS, width])
    }

    fn matrix(&self, name: &str, layout: Layout) -> Matrix {
        let (shape, values) = &self.0[name];
        let tensor = Tensor::from_f32(name, shape.clone(), values).unwrap();
        let (outputs, inputs) = match layout {
            Layout::OutIn => (shape[0], shape[1]),
            Layout::InOut => (shape[1], shape[0]),
        };
        Matrix { tensor, layout, outputs, inputs }
    }

    fn vector(&self, names: &[&str]) -> Vector {
        let values: Vec<f32> = names.iter().flat_map(|name| self.0[name].1.clone()).collect();
        Vector { values: values.into(), names: names.iter().map(|&name| name.to_owned()).collect() }
    }

    /// Puts the rows under a name on the tape.
    fn put(&self, tape: &mut Tape<'_>, name: &str) -> Var {
        tape.embed(&self.matrix(name, Layout::OutIn))
    }
}

/// Checks the gradients of all numbers that `graph` uses.
fn check(numbers: Numbers, graph: impl Fn(&mut Tape<'_>, &Numbers) -> Var) {
    let (machine, batch) = (Machine::new(Isa::best(), 2), batch());
    let mut tape = Tape::new(&machine, &batch, &Wanted::All).unwrap();
    let y = graph(&mut tape, &numbers);
    let dy = common::numbers(99, tape.values(&y).len());
    let gradients = tape.backward(y, dy.clone());
    let weighted = |numbers: &Numbers| {
        let mut tape = Tape::new(&machine, &batch, &Wanted::All).unwrap();
        let y = graph(&mut tape, numbers);
        tape.values(&y).iter().zip(&dy).map(|(y, dy)| f64::from(*y) * f64::from(*dy)).sum::<f64>()
    };
    for (name, (_, values)) in &numbers.0 {
        let found = &gradients[*name];
        assert_eq!(found.len(), values.len(), "{name}");
        let expected: Vec<f64> = (0..values.len())
            .map(|i| {
                let mut moved = numbers.clone();
                slope(STEP, |h| {
                    moved.0.get_mut(name).unwrap().1[i] = values[i] + h as f32;
                    weighted(&moved)
                })
            })
            .collect();
        assert_near(name, found, &expected);
    }
}

fn assert_near(name: &str, found: &[f32], expected: &[f64]) {
    let greatest = expected.iter().fold(0.0, |most, x| x.abs().max(most));
    assert!(greatest > 0.01, "{name}: nothing to see");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(
            difference <= TOLERANCE * greatest.max(1.0),
            "{name}[{i}]: {found}, by differences {expected}"
        );
    }
}

#[test]
fn embed() {
    check(Numbers::rows(5), |tape, n| n.put(tape, "x"));
}

#[test]
fn embed_of_a_token_that_comes_twice() {
    let machine = Machine::new(Isa::best(), 1);
    let mut batch = Batch::default();
    batch.push(&[2, 0, 2], 0, 3, Want::All);
    let mut tape = Tape::new(&machine, &batch, &Wanted::All).unwrap();
    let y = Numbers::default().with("x", &[3, 2]).put(&mut tape, "x");
    let gradients = tape.backward(y, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(gradients["x"], [3.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
}

#[test]
fn embed_positions() {
    let n = Numbers::default().with("positions", &[5, 3]);
    check(n, |tape, n| tape.embed_positions(&n.matrix("positions", Layout::OutIn)));
}

#[test]
fn product() {
    for (layout, shape) in [(Layout::OutIn, [7, 37]), (Layout::InOut, [37, 7])] {
        check(Numbers::rows(37).with("w", &shape), |tape, n| {
            let x = n.put(tape, "x");
            tape.product(&x, &n.matrix("w", layout))
        });
    }
}

#[test]
fn a_matrix_used_twice_has_one_gradient() {
    check(Numbers::rows(5), |tape, n| {
        let x = n.put(tape, "x");
        tape.product(&x, &n.matrix("x", Layout::OutIn))
    });
}

#[test]
fn product_with_weights_in_any_storage() {
    const WIDTH: usize = 256;
    let weights = numbers(5, 3 * WIDTH);
    let storages = [Storage::F16, Storage::BF16, Storage::Q8_0, Storage::Q4_0];
    for storage in storages {
        let bytes = bantam_tensor::quant::quantize(storage, &weights).unwrap();
        let stored = Tensor::new("w", vec![3, WIDTH], storage, bytes.into()).unwrap();
        let same = Tensor::from_f32("w", vec![3, WIDTH], &stored.to_f32()).unwrap();
        let [found, expected] = [stored, same].map(|tensor| {
            let (machine, batch) = (Machine::new(Isa::best(), 2), batch());
            let mut tape = Tape::new(&machine, &batch, &Wanted::All).unwrap();
            let x = Numbers::rows(WIDTH).put(&mut tape, "x");
            let y = tape.product(&x, &Matrix { tensor, layout: Layout::OutIn, outputs: 3, inputs: WIDTH });
            tape.backward(y, numbers(6, ROWS * 3))
        });
        assert_eq!(found, expected, "{storage}");
        assert!(found["x"].iter().any(|x| *x != 0.0) && found["w"].iter().any(|x| *x != 0.0));
    }
}

#[test]
fn add_vector() {
    check(Numbers::rows(5).with("b", &[5]), |tape, n| {
        let x = n.put(tape, "x");
        tape.add_vector(x, &n.vector(&["b"]))
    });
}

#[test]
fn add_multiply_scale() {
    let n = Numbers::rows(5).with("z", &[ROWS, 5]);
    check(n, |tape, n| {
        let [x, again, z] = ["x", "x", "z"].map(|name| n.put(tape, name));
        let sum = tape.add(x, &z, -0.3);
        let product = tape.multiply(sum, &again);
        let other = tape.multiply(again, &product);
        let square = tape.multiply(product, &other);
        tape.scale(square, 1.7)
    });
}

#[test]
fn scale_by_position() {
    check(Numbers::rows(5), |tape, n| {
        let x = n.put(tape, "x");
        tape.scale_by_position(x, &PositionScale { beta: 0.7, original: 2.0 })
    });
}

#[test]
fn clamp() {
    const LIMIT: f32 = 0.5;
    let mut n = Numbers::rows(5);
    let values = &mut n.0.get_mut("x").unwrap().1;
    for x in values.iter_mut().filter(|x| (x.abs() - LIMIT).abs() <= 2.0 * STEP as f32) {
        // Away from the bend, where there is no derivative.
        *x *= 2.0;
    }
    check(n, |tape, n| {
        let x = n.put(tape, "x");
        tape.clamp(x, LIMIT)
    });
}

#[test]
fn soft_cap() {
    check(Numbers::rows(5), |tape, n| {
        let x = n.put(tape, "x");
        let x = tape.scale(x, 2.0);
        tape.soft_cap(x, 3.0)
    });
}

#[test]
fn columns_and_wanted_rows() {
    check(Numbers::rows(7), |tape, n| {
        let x = n.put(tape, "x");
        let (left, right) = (tape.columns(&x, 0, 3), tape.columns(&x, 2, 3));
        let both = tape.multiply(left, &right);
        tape.wanted_rows(both)
    });
}

#[test]
fn activate() {
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf] {
        check(Numbers::rows(17), |tape, n| {
            let x = n.put(tape, "x");
            let x = tape.scale(x, 2.5);
            tape.activate(x, activation)
        });
        check(Numbers::rows(5).with("z", &[ROWS, 5]), |tape, n| {
            let (x, z) = (n.put(tape, "x"), n.put(tape, "z"));
            tape.activate_gated(x, &z, activation)
        });
    }
}

#[test]
fn norm() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        let plain = NormWeights { kind, eps: 0.1, width: 13, weight: None, bias: None };
        check(Numbers::rows(13), |tape, n| {
            let x = n.put(tape, "x");
            tape.norm(&x, &plain)
        });
        check(Numbers::rows(13).with("w", &[13]).with("b", &[13]), |tape, n| {
            let x = n.put(tape, "x");
            let (weight, bias) = (Some(n.vector(&["w"])), Some(n.vector(&["b"])));
            tape.norm(&x, &NormWeights { weight, bias, ..plain.clone() })
        });
    }
}

/// Heads that share a vector, and heads with one each, which lie in tensors of their own.
#[test]
fn norm_of_heads() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        let heads = NormWeights { kind, eps: 0.1, width: 5, weight: None, bias: None };
        let n = Numbers::rows(15).with("w", &[5]).with("w0", &[5]).with("w1", &[5]).with("w2", &[5]);
        check(n, |tape, n| {
            let x = n.put(tape, "x");
            let each = Some(n.vector(&["w0", "w1", "w2"]));
            let x = tape.norm(&x, &NormWeights { weight: Some(n.vector(&["w"])), ..heads.clone() });
            tape.norm(&x, &NormWeights { weight: each, ..heads.clone() })
        });
    }
}

#[test]
fn rope() {
    for pairing in [Pairing::HalfSplit, Pairing::Interleaved] {
        let frequencies = Frequencies::Fixed(vec![1.0, 0.3]);
        let rope = Rope { pairing, frequencies, attention_factor: 1.3 };
        // Two heads of seven, of which four numbers turn.
        check(Numbers::rows(14), |tape, n| {
            let x = n.put(tape, "x");
            tape.rope(x, 7, &rope)
        });
    }
}

fn attention() -> Attention {
    Attention {
        num_heads: 6,
        num_kv_heads: 2,
        head_dim: 5,
        projections: Projections::Separate,
        qkv_bias: Bias::Absent,
        output_bias: Bias::Absent,
        clip: None,
        qk_norm: None,
        rope: None,
        position_scale: None,
        window: None,
        scale: 0.6,
        soft_cap: None,
    }
}

#[test]
fn attend() {
    let windowed = Attention { window: Some(2), ..attention() };
    let capped = Attention { soft_cap: Some(1.5), scale: 1.1, ..attention() };
    let single = Attention { num_kv_heads: 6, window: Some(1), ..attention() };
    for attention in [attention(), windowed, capped] {
        check_attention(&attention, &["q", "k", "v"]);
    }
    // Where a query sees itself alone, only its value counts.
    check_attention(&single, &["v"]);
}

fn check_attention(attention: &Attention, moving: &[&str]) {
    let all = Numbers::default()
        .with("q", &[ROWS, attention.query_width()])
        .with("k", &[ROWS, attention.kv_width()])
        .with("v", &[ROWS, attention.kv_width()]);
    let mut n = all.clone();
    n.0.retain(|name, _| moving.contains(name));
    check(n, |tape, n| {
        let mut every = all.clone();
        every.0.extend(n.0.clone());
        let [q, k, v] = ["q", "k", "v"].map(|name| every.put(tape, name));
        tape.attend(0, attention, &q, &k, &v)
    });
}

/// Across the pages in which the kernel keeps keys and values.
#[test]
fn attend_over_many_positions() {
    const LONG: usize = 131;
    let tokens: Vec<u32> = (0..LONG as u32).collect();
    let machine = Machine::new(Isa::best(), 2);
    let mut batch = Batch::default();
    batch.push(&tokens, 0, LONG, Want::All);
    let attention = Attention { window: Some(70), ..attention() };
    let n = Numbers::default()
        .with("q", &[LONG, attention.query_width()])
        .with("k", &[LONG, attention.kv_width()])
        .with("v", &[LONG, attention.kv_width()]);
    let record = |n: &Numbers| {
        let mut tape = Tape::new(&machine, &batch, &Wanted::All).unwrap();
        let [q, k, v] = ["q", "k", "v"].map(|name| n.put(&mut tape, name));
        let y = tape.attend(0, &attention, &q, &k, &v);
        (tape, y)
    };
    let (mut tape, y) = record(&n);
    let dy = numbers(98, tape.values(&y).len());
    let gradients = tape.backward(y, dy.clone());
    for name in ["q", "k", "v"] {
        let direction = numbers(97, n.0[name].1.len());
        let expected = slope(STEP / 4.0, |h| {
            let mut moved = n.clone();
            let values = &mut moved.0.get_mut(name).unwrap().1;
            values.iter_mut().zip(&direction).for_each(|(x, d)| *x += h as f32 * d);
            let (tape, y) = record(&moved);
            tape.values(&y).iter().zip(&dy).map(|(y, dy)| f64::from(*y) * f64::from(*dy)).sum()
        });
        let found: f64 =
            gradients[name].iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        assert!((found - expected).abs() <= 1e-3 * expected.abs().max(1.0), "{name}: {found}, {expected}");
    }
}
