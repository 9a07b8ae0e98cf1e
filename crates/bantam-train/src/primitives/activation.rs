//! The non-linear functions between two projections.

use std::f64::consts::PI;

use bantam_model::description::Activation;
use bantam_tensor::kernels::activation;

use crate::tape::{Derivative, Sink, Step, Tape, Var};

/// Applies the function to each number.
pub(crate) fn activate(tape: &mut Tape<'_>, x: Var, activation: Activation) -> Var {
    let mut y = tape.rows(x).clone();
    activation::activate(tape.machine, activation, &mut y.data);
    tape.record(y, Activate { x, activation })
}

struct Activate {
    x: Var,
    activation: Activation,
}

impl Derivative for Activate {
    fn backward(&self, at: &Step<'_>, sink: &mut Sink) {
        let slope = match self.activation {
            Activation::Silu => silu_slope,
            Activation::GeluTanh => gelu_tanh_slope,
            Activation::GeluErf => gelu_erf_slope,
        };
        let points = at.rows(self.x).data.iter().zip(&at.y.data);
        for ((dx, dy), (x, y)) in sink.of(at, self.x).iter_mut().zip(at.dy).zip(points) {
            *dx += dy * slope(f64::from(*x), f64::from(*y)) as f32;
        }
    }
}

/// The derivative of `y = x s(x)`, where `s` is the logistic function.
fn silu_slope(x: f64, _y: f64) -> f64 {
    let s = 1.0 / (1.0 + (-x).exp());
    s * (1.0 + x * (1.0 - s))
}

/// The derivative of `y = x / 2 (1 + tanh(u(x)))`.
fn gelu_tanh_slope(x: f64, _y: f64) -> f64 {
    const CUBIC: f64 = 0.044_715;
    let outer = (2.0 / PI).sqrt();
    let tanh = (outer * (x + CUBIC * x * x * x)).tanh();
    let inner = outer * (1.0 + 3.0 * CUBIC * x * x);
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
}

/// The derivative of `y = x P(x)`, where `P` is the distribution function of the standard normal.
fn gelu_erf_slope(x: f64, y: f64) -> f64 {
    let distribution = if x == 0.0 { 0.5 } else { y / x };
    distribution + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}
