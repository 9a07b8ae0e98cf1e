//! The error of every kernel against f64 in one place: squared error over squared truth.
//!
//! A bound is at most ten times what is found, so that neither a loss nor a gain goes by unseen.
//! Weights are taken as their storage gives them; inputs are nearly normal.

use bantam_kernels::activation::{Activation, activate};
use bantam_kernels::attention::{KvShape, KvStorage};
use bantam_kernels::backward::{Precision, multiply_backward_input, multiply_backward_weights};
use bantam_kernels::matmul::{Layout, Rounding, Weights};
use bantam_kernels::norm::{NormKind, NormSpec, normalize};
use bantam_kernels::rope::{Pairing, rotate};
use bantam_kernels::{Isa, Machine, Storage};

use crate::attention::Sequence;
use crate::backward::naive_input;
use crate::ggml;
use crate::products::{Arithmetic, Product};
use crate::random::{Random, nmse, widened};
use crate::rows::{naive_norm, naive_rope};

/// The bound of each kernel.
const TABLE: [(&str, f64); 18] = [
    ("product, exact", 5e-14),
    ("product, coded", 2e-9),
    ("product, fastest", 5e-5),
    ("product, in pairs of BF16", 1e-5),
    ("product, derivative by x", 2e-13),
    ("product, derivative by w", 1e-13),
    ("attention over f32 pages", 2e-13),
    ("attention over f16 pages", 1e-7),
    ("attention over bf16 pages", 1e-5),
    ("attention over q8_0 pages", 1e-4),
    ("attention over q4_0 pages", 3e-2),
    ("attention, in tiles of BF16", 3e-5),
    ("norm, root mean square", 2e-14),
    ("norm, layer", 2e-14),
    ("rope", 5e-15),
    ("silu", 1e-14),
    ("gelu by tanh", 1e-14),
    ("gelu by erf", 5e-14),
];

fn check(kernel: &str, error: f64) {
    let (_, bound) = TABLE.iter().find(|(name, _)| *name == kernel).expect("a kernel of the table");
    eprintln!("{kernel:26} {error:.1e}, at most {bound:.0e}");
    assert!(error < *bound, "{kernel}: {error:e} where at most {bound:e} is promised");
    assert!(error > bound / 10.0, "{kernel}: {error:e} allows a tighter promise than {bound:e}");
}

fn machine() -> Machine {
    Machine::new(Isa::best(), 2)
}

#[test]
fn products() {
    for storage in Storage::ALL {
        let product = Product::new(storage, Layout::OutIn, 7, 64, 768);
        let truth = product.naive(&widened(&product.x));
        check("product, exact", nmse(&truth, &product.multiply(&machine(), Arithmetic::Exact, &product.x)));
        if storage.is_quantized() {
            for (kernel, rounding) in
                [("product, coded", Rounding::Bits16), ("product, fastest", Rounding::Bits8)]
            {
                let y = product.multiply(&machine(), Arithmetic::Coded(rounding), &product.x);
                check(kernel, nmse(&truth, &y));
            }
        }
        let error = nmse(&truth, &product.multiply(&machine(), Arithmetic::Pairs, &product.x));
        // Processors without pairs of BF16 multiply exactly.
        check(if error < 1e-12 { "product, exact" } else { "product, in pairs of BF16" }, error);
        if machine().isa().has_bf16_tiles() {
            let y = product.multiply(&machine(), Arithmetic::Tiles, &product.x);
            check("product, in pairs of BF16", nmse(&truth, &y));
        }
    }
}

#[test]
fn derivatives_of_products() {
    let (rows, outputs, inputs) = (96, 192, 256);
    let mut random = Random::new(1);
    let bytes = random.weights(Storage::Q4K, outputs * inputs);
    let (x, dy) = (random.normals(rows * inputs), random.normals(rows * outputs));
    let weights = Weights { storage: Storage::Q4K, layout: Layout::OutIn, outputs, inputs, bytes: &bytes };
    let mut dx = vec![0.0; rows * inputs];
    multiply_backward_input(&machine(), weights, Precision::Single, &dy, &mut dx);
    let zeros = vec![0.0; dx.len()];
    let truth = naive_input(&ggml::weights(Storage::Q4K, &bytes), &dy, &zeros, inputs, outputs);
    check("product, derivative by x", nmse(&truth, &dx));

    let mut dw = vec![0.0; inputs * outputs];
    multiply_backward_weights(
        &machine(),
        (Layout::InOut, Precision::Single),
        inputs,
        outputs,
        &x,
        &dy,
        &mut dw,
    );
    let zeros = vec![0.0; dw.len()];
    let across: Vec<f32> = (0..x.len()).map(|i| x[i % rows * inputs + i / rows]).collect();
    check("product, derivative by w", nmse(&naive_input(&dy, &across, &zeros, outputs, rows), &dw));
}

#[test]
fn attention() {
    let sequence = || Sequence::new(KvShape { num_kv_heads: 2, head_dim: 64 }, 3, &[100, 333, 511]);
    // Against keys and values as they were before rounding.
    let truth = sequence().naive();
    for storage in KvStorage::ALL {
        let out = sequence().keep_in(storage).attend(&machine());
        check(&format!("attention over {storage} pages"), nmse(&truth, &out));
    }
    if machine().isa().has_bf16_tiles() {
        check("attention, in tiles of BF16", nmse(&truth, &sequence().rounded().attend(&machine())));
    }
}

#[test]
fn norms() {
    let mut random = Random::new(2);
    let (weight, x) = (random.normals(576), random.normals(20 * 576));
    for (kernel, kind) in [("norm, root mean square", NormKind::Rms), ("norm, layer", NormKind::Layer)] {
        let spec = NormSpec { kind, width: 576, eps: 1e-5, weight: Some(&weight), bias: None };
        let mut y = vec![f32::NAN; x.len()];
        normalize(&machine(), spec, &x, &mut y);
        check(kernel, nmse(&naive_norm(&spec, &x), &y));
    }
}

#[test]
fn rope() {
    let mut random = Random::new(3);
    let x = random.normals(50 * 64);
    let angles: Vec<f64> = (0..50 * 32).map(|_| f64::from(random.normal()) * 100.0).collect();
    let part = |f: fn(f64) -> f64| angles.iter().map(|angle| f(*angle) as f32).collect::<Vec<_>>();
    let (mut y, machine) = (x.clone(), Machine::new(Isa::SCALAR, 1));
    rotate(&machine, &mut y, (64, 64), Pairing::HalfSplit, &part(f64::cos), &part(f64::sin));
    check("rope", nmse(&naive_rope(&x, 64, 64, Pairing::HalfSplit, &angles), &y));
}

#[test]
fn activations() {
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let gelu_tanh = |x: f64| {
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
        x / 2.0 * (1.0 + inner.tanh())
    };
    let gelu_erf = |x: f64| x / 2.0 * (1.0 + erf(x / 2f64.sqrt()));
    let x = Random::new(4).normals(10_000);
    let check = |kernel: &str, activation: Activation, truth: &dyn Fn(f64) -> f64| {
        let mut y = x.clone();
        activate(&machine(), activation, &mut y);
        check(kernel, nmse(&x.iter().map(|x| truth(f64::from(*x))).collect::<Vec<_>>(), &y));
    };
    check("silu", Activation::Silu, &silu);
    check("gelu by tanh", Activation::GeluTanh, &gelu_tanh);
    check("gelu by erf", Activation::GeluErf, &gelu_erf);
}

/// The series of positive terms (Abramowitz and Stegun 7.1.6), good to a few units of f64 up to |x| = 6.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
}
