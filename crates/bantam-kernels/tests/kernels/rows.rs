//! What is computed row by row: norms, rope, activations, sums.

use bantam_kernels::activation::{Activation, activate, activate_gated};
use bantam_kernels::elementwise::{add_scaled, add_vector, clamp, multiply, scale, soft_cap};
use bantam_kernels::norm::{NormKind, NormSpec, normalize};
use bantam_kernels::rope::{Pairing, rotate};
use bantam_kernels::{Isa, Machine};

use crate::random::{Random, assert_same, machines, nmse, same_on_all, widened};

pub(crate) fn naive_norm(spec: &NormSpec<'_>, x: &[f32]) -> Vec<f64> {
    let mut out = Vec::new();
    for (i, group) in x.chunks_exact(spec.width).enumerate() {
        let mut group = widened(group);
        if spec.kind == NormKind::Layer {
            let mean = group.iter().sum::<f64>() / spec.width as f64;
            group.iter_mut().for_each(|x| *x -= mean);
        }
        let mean_square = group.iter().map(|x| x * x).sum::<f64>() / spec.width as f64;
        let factor = 1.0 / (mean_square + f64::from(spec.eps)).sqrt();
        let of = |part: Option<&[f32]>, default: f64, k: usize| {
            part.map_or(default, |part| f64::from(part[(i * spec.width + k) % part.len()]))
        };
        let normal = |(k, x): (usize, &f64)| x * factor * of(spec.weight, 1.0, k) + of(spec.bias, 0.0, k);
        out.extend(group.iter().enumerate().map(normal));
    }
    out
}

#[test]
fn norms_of_any_width() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        // The last is large enough that threads share it.
        for (width, groups, count) in
            [(1, 1, 3), (5, 2, 6), (16, 1, 1), (24, 3, 9), (576, 1, 4), (64, 9, 270), (17, 1, 1000)]
        {
            let mut random = Random::new(width as u64);
            let (weight, bias) = (random.normals(width * groups), random.normals(width * groups));
            let mut x = random.normals(width * count);
            x.iter_mut().for_each(|x| *x = *x * 3.0 + 1.0);
            for (weight, bias) in
                [(None, None), (Some(&weight[..]), None), (Some(&weight[..]), Some(&bias[..]))]
            {
                let spec = NormSpec { kind, width, eps: 1e-5, weight, bias };
                let what = format!("{kind:?} of {count} times {width}");
                let found = same_on_all(&what, |machine| {
                    let mut y = vec![f32::NAN; x.len()];
                    normalize(machine, spec, &x, &mut y);
                    y
                });
                let truth = naive_norm(&spec, &x);
                let far =
                    truth.iter().zip(&found).map(|(t, f)| (t - f64::from(*f)).abs()).fold(0.0, f64::max);
                assert!(far < 2e-5, "{what}: off by {far:e}");
            }
        }
    }
}

#[test]
fn norms_let_what_is_not_a_number_through() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        for poison in [f32::NAN, f32::INFINITY] {
            let mut x = vec![1.0; 3 * 40];
            x[45] = poison;
            let spec = NormSpec { kind, width: 40, eps: 1e-6, weight: None, bias: None };
            let y = same_on_all("norm", |machine| {
                let mut y = vec![f32::NAN; x.len()];
                normalize(machine, spec, &x, &mut y);
                y
            });
            assert!(!y[45].is_finite() && y[..40].iter().chain(&y[80..]).all(|y| y.is_finite()));
        }
    }
}

/// Turns by complex numbers in f64.
pub(crate) fn naive_rope(
    x: &[f32],
    head_dim: usize,
    row_width: usize,
    pairing: Pairing,
    angles: &[f64],
) -> Vec<f64> {
    let mut y = widened(x);
    let pairs = angles.len() / (x.len() / row_width);
    for (i, head) in y.chunks_exact_mut(head_dim).enumerate() {
        let row = i * head_dim / row_width;
        for (pair, angle) in angles[row * pairs..][..pairs].iter().enumerate() {
            let (a, b) = match pairing {
                Pairing::HalfSplit => (pair, pair + pairs),
                Pairing::Interleaved => (2 * pair, 2 * pair + 1),
            };
            let (sin, cos) = angle.sin_cos();
            (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
        }
    }
    y
}

#[test]
fn rope_turns_pairs_and_back() {
    machines().iter().for_each(rope_turns_on);
}

fn rope_turns_on(machine: &Machine) {
    for pairing in [Pairing::HalfSplit, Pairing::Interleaved] {
        for (rows, heads, head_dim, pairs) in
            [(1, 1, 2, 1), (3, 2, 64, 32), (4, 3, 24, 12), (5, 1, 80, 16), (90, 3, 64, 32)]
        {
            let mut random = Random::new(head_dim as u64);
            let x = random.normals(rows * heads * head_dim);
            let angles = widened(&random.normals(rows * pairs));
            let cos: Vec<f32> = angles.iter().map(|a| a.cos() as f32).collect();
            let sin: Vec<f32> = angles.iter().map(|a| a.sin() as f32).collect();
            let mut y = x.clone();
            rotate(machine, &mut y, (head_dim, heads * head_dim), pairing, &cos, &sin);
            let error = nmse(&naive_rope(&x, head_dim, heads * head_dim, pairing, &angles), &y);
            assert!(error < 1e-13, "{pairing:?} {head_dim}: {error:e}");
            let minus: Vec<f32> = sin.iter().map(|sin| -sin).collect();
            rotate(machine, &mut y, (head_dim, heads * head_dim), pairing, &cos, &minus);
            assert!(nmse(&widened(&x), &y) < 1e-13, "{pairing:?} {head_dim} and back");
        }
    }
}

#[test]
fn rope_of_nothing() {
    let machine = Machine::new(Isa::SCALAR, 1);
    rotate(&machine, &mut [], (64, 64), Pairing::HalfSplit, &[], &[]);
    let mut x = [1.0, 2.0];
    rotate(&machine, &mut x, (2, 2), Pairing::Interleaved, &[], &[]);
    assert_eq!(x, [1.0, 2.0]);
}

#[test]
fn activations_are_the_same_on_all_machines_and_gate() {
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf] {
        for len in [1, 15, 16, 17, 100, 20_000] {
            let mut random = Random::new(len as u64);
            let (mut x, factors) = (random.normals(len), random.normals(len));
            x[len / 2] = f32::NAN;
            let plain = same_on_all("activation", |machine| {
                let mut x = x.clone();
                activate(machine, activation, &mut x);
                x
            });
            let gated = same_on_all("gated", |machine| {
                let mut x = x.clone();
                activate_gated(machine, activation, &mut x, &factors);
                x
            });
            assert!(plain[len / 2].is_nan());
            let products: Vec<f32> = plain.iter().zip(&factors).map(|(x, f)| x * f).collect();
            assert_same("gated", &products, &gated);
        }
    }
}

#[test]
fn sums_products_and_bounds() {
    for (len, width) in [(1, 1), (16, 8), (35, 7), (20_000, 50)] {
        let mut random = Random::new(len as u64);
        let (x, y) = (random.normals(len), random.normals(len));
        let each = |f: &dyn Fn(f32, f32) -> f32| x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect::<Vec<_>>();
        for machine in &machines() {
            let run = |work: &dyn Fn(&mut [f32])| {
                let mut x = x.clone();
                work(&mut x);
                x
            };
            let fused = each(&|x, y| y.mul_add(0.3, x));
            assert_same("add", &fused, &run(&|x| add_scaled(machine, x, &y, 0.3)));
            assert_same("multiply", &each(&|x, y| x * y), &run(&|x| multiply(machine, x, &y)));
            assert_same("scale", &each(&|x, _| x * 0.7), &run(&|x| scale(machine, x, 0.7)));
            let rows: Vec<f32> = x.iter().enumerate().map(|(i, x)| x + y[i % width]).collect();
            assert_same("vector", &rows, &run(&|x| add_vector(machine, x, &y[..width])));
        }
    }
    let (mut x, machine) = ([1.0, -3.0, f32::NAN, f32::INFINITY], Machine::new(Isa::SCALAR, 1));
    scale(&machine, &mut x, 2.0);
    clamp(&machine, &mut x, 4.0);
    assert_same("clamped", &[2.0, -4.0, f32::NAN, 4.0], &x);
}

#[test]
fn soft_caps_bound_and_keep_what_is_not_a_number() {
    let capped = same_on_all("soft cap", |machine: &Machine| {
        let mut x = [0.0, 1e-3, -40.0, 1e30, f32::NEG_INFINITY, f32::NAN];
        soft_cap(machine, &mut x, 30.0);
        x.to_vec()
    });
    let tanh = |x: f64| (30.0 * (x / 30.0).tanh()) as f32;
    for (x, found) in [0.0, 1e-3, -40.0, 1e30, f64::NEG_INFINITY].iter().zip(&capped) {
        assert!((tanh(*x) - found).abs() <= 4e-7 * tanh(*x).abs(), "{x} becomes {found}");
    }
    assert!(capped[5].is_nan());
}
