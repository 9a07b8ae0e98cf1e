//! The non-linear functions between two projections.

use bantam_model::description::Activation;
use bantam_tensor::kernels::activation;
use bantam_tensor::kernels::backward::{activate_backward, activate_gated_backward};

use crate::tape::{Derivative, Needs, Place, Rows, Sink, Step, Tape, Var};

/// Applies the function to each number.
pub(crate) fn activate(tape: &mut Tape<'_>, x: Var, activation: Activation) -> Var {
    let x = x.0;
    let width = tape.rows(x).width;
    let mut data = tape.copied(x);
    activation::activate(tape.machine, activation, &mut data);
    let y = tape.record(Rows { data, width }, Needs::of(&[x]).keeping(&[x]), Activate { x, activation });
    tape.done_with(Var(x));
    y
}

struct Activate {
    x: Place,
    activation: Activation,
}

impl Derivative for Activate {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        activate_backward(at.machine, self.activation, &at.rows(self.x).data, &mut dy);
        sink.give(at, self.x, dy);
    }
}

/// `activation(gate) * up`. The activated gate is formed again on the way back rather than kept.
pub(crate) fn activate_gated(tape: &mut Tape<'_>, gate: Var, up: &Var, activation: Activation) -> Var {
    let (gate, up) = (gate.0, up.0);
    let width = tape.rows(gate).width;
    let mut data = tape.copied(gate);
    activation::activate_gated(tape.machine, activation, &mut data, &tape.rows(up).data);
    let needs = [gate, up];
    let needs = Needs::of(&needs).keeping(&needs);
    let y = tape.record(Rows { data, width }, needs, ActivateGated { gate, up, activation });
    tape.done_with(Var(gate));
    y
}

struct ActivateGated {
    gate: Place,
    up: Place,
    activation: Activation,
}

impl Derivative for ActivateGated {
    fn backward(&self, at: &Step<'_>, mut dy: Vec<f32>, sink: &mut Sink<'_>) {
        let (gate, up) = (&at.rows(self.gate).data, &at.rows(self.up).data);
        let mut by_up = sink.pool.take(dy.len());
        activate_gated_backward(at.machine, self.activation, gate, up, &mut dy, &mut by_up);
        sink.give(at, self.gate, dy);
        sink.give(at, self.up, by_up);
    }
}
