//! Times derivatives at the shapes of SmolLM2-135M beside the multiply-adds that the machine can do.
//!
//! `cargo run --release -p bantam-kernels --example backward_speed -- [threads] [rows]`
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use bantam_kernels::attention::{AttendSpec, KvShape};
use bantam_kernels::backward::{
    AttendGradients, AttendInputs, First, Precision, add_product, attend_backward, multiply_backward_input,
};
use bantam_kernels::matmul::{Layout, Weights};
use bantam_kernels::{Isa, Machine, Storage, limits};

/// Name, outputs and inputs of the matrices.
const SHAPES: [(&str, usize, usize); 4] =
    [("q/o", 576, 576), ("k/v", 192, 576), ("gate/up", 1536, 576), ("down", 576, 1536)];
const RANK: usize = 16;
const PRECISIONS: [(Precision, &str); 2] = [(Precision::Single, ""), (Precision::Bf16, " bf16")];

/// Least seconds of some runs.
fn time(mut work: impl FnMut()) -> f64 {
    let one = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        begin.elapsed().as_secs_f64()
    };
    (0..7).map(|_| one(&mut work)).fold(f64::INFINITY, f64::min)
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

/// Bytes that are no special numbers in any storage.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| 0x28 + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 16).collect()
}

fn print(name: &str, products: usize, seconds: f64, limit: f64) {
    let rate = products as f64 / seconds * 1e-9;
    println!("{name:36} {:9.3} ms {rate:7.1} G MAC/s {:5.0} %", seconds * 1e3, 100.0 * rate / limit);
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().ok());
    let machine = Machine::new(Isa::best(), arguments.next().flatten().unwrap_or(0));
    let rows = arguments.next().flatten().unwrap_or(1024);
    let operations = limits::multiply_add(&machine, 1_000_000) as f64 / 2.0;
    let limit = operations / time(|| _ = limits::multiply_add(&machine, 1_000_000)) * 1e-9;
    println!("{} on {} threads: {limit:.1} G MAC/s at most", machine.isa(), machine.threads());
    for (name, outputs, inputs) in SHAPES {
        let dy = numbers(rows * outputs);
        let mut dx = vec![0.0; rows * inputs];
        for storage in [Storage::F32, Storage::Q4_1, Storage::Q8_0] {
            let bytes = bytes(storage.bytes_of(inputs).map_or(0, |row| row * outputs));
            let weights = Weights { storage, layout: Layout::OutIn, outputs, inputs, bytes: &bytes };
            for (precision, named) in PRECISIONS {
                let seconds = time(|| multiply_backward_input(&machine, weights, precision, &dy, &mut dx));
                print(&format!("dX {name} {storage}{named}"), rows * outputs * inputs, seconds, limit);
            }
        }
        let (x, thin) = (numbers(rows * inputs), numbers(rows * RANK));
        let (across, wide) = (numbers(inputs * RANK), numbers(RANK * outputs));
        let products = [
            ("dW", First::Columns(&dy), &x, [outputs, inputs]),
            ("x A", First::Rows(&x), &across, [rows, RANK]),
            ("(x A) B", First::Rows(&thin), &wide, [rows, outputs]),
            ("dA", First::Columns(&thin), &x, [RANK, inputs]),
        ];
        for (what, first, second, [count, width]) in products {
            let (mut out, terms) = (vec![0.0; count * width], second.len() / width);
            for (precision, named) in PRECISIONS {
                let seconds =
                    time(|| add_product(&machine, precision, first, second, [count, width], &mut out));
                print(&format!("{what} {name}{named}"), count * width * terms, seconds, limit);
            }
        }
    }
    attention(&machine, rows, limit);
}

/// Spans of 256 rows.
fn attention(machine: &Machine, rows: usize, limit: f64) {
    let kv = KvShape { num_kv_heads: 3, head_dim: 64 };
    let spec = AttendSpec {
        kv,
        num_heads: 9,
        scale: 0.125,
        window: None,
        soft_cap: None,
        sinks: None,
        rounded: false,
    };
    let (width, kv_width) = (9 * 64, 3 * 64);
    let (q, k) = (numbers(rows * width), numbers(rows * kv_width));
    let spans: Vec<_> = (0..rows).step_by(256).map(|begin| begin..(begin + 256).min(rows)).collect();
    let (mut queries, mut keys, mut values) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; k.len()]);
    let seconds = time(|| {
        let of = AttendInputs { queries: &q, keys: &k, values: &k, y: &q, dy: &q };
        let gradients = AttendGradients { queries: &mut queries, keys: &mut keys, values: &mut values };
        attend_backward(machine, &spec, &spans, of, gradients);
    });
    // Five products of 64 numbers for each pair of positions that see each other.
    let pairs: usize = spans.iter().map(|span| span.len() * (span.len() + 1) / 2).sum();
    print("attention, spans of 256", 5 * 64 * 9 * pairs, seconds, limit);
}
