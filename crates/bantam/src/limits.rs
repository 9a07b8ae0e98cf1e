//! What the machine allows for a model, measured when it is asked for.

use std::time::{Duration, Instant};

use bantam_model::Model;
use bantam_tensor::kernels::{Machine, limits};

/// The best of some passes.
const PASSES: usize = 5;
/// No pass begins later than this: a large model takes long to read.
const ENOUGH: Duration = Duration::from_millis(300);

/// Gigabytes a second at which all threads read the model's own bytes and do nothing else: what a token has to read,
/// and no memory beside it.
pub(crate) fn read_gb_s(machine: &Machine, model: &Model) -> f64 {
    let tensors = model.tensors();
    best(|| {
        tensors.values().for_each(|tensor| limits::read_once(machine, tensor.bytes()));
        model.weights_bytes() as f64
    }) / 1e9
}

/// Floating-point or integer operations in a second, in units of 10^12, whichever are more.
pub(crate) fn matrix_tflop_s(machine: &Machine) -> f64 {
    let floats = best(|| limits::multiply_add(machine, 2_000_000) as f64);
    let codes = best(|| limits::multiply_codes(machine, 2_000_000) as f64);
    let tiles = best(|| limits::multiply_tiles(machine, 20_000) as f64);
    floats.max(codes).max(tiles) / 1e12
}

/// The highest amount of work in a second.
fn best(work: impl Fn() -> f64) -> f64 {
    let first = Instant::now();
    let pass = || {
        let begin = Instant::now();
        work() / begin.elapsed().as_secs_f64()
    };
    let mut best = pass();
    for _ in 1..PASSES {
        if first.elapsed() < ENOUGH {
            best = best.max(pass());
        }
    }
    best
}
