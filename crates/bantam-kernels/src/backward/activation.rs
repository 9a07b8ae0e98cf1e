//! Derivatives of the non-linear functions between two projections.

use std::ops::Range;

use crate::Machine;
use crate::activation::{Activation, erf};
use crate::lanes::{Kernel, LANES, Lanes, dispatch, exp, tanh};
use crate::share::Shared;

/// Multiplies derivatives `dy` by what [`activate`](crate::activation::activate) gave of `x` with its slopes, so
/// that they become derivatives by `x`.
///
/// # Panics
///
/// Where the lengths differ.
pub fn activate_backward(machine: &Machine, activation: Activation, x: &[f32], dy: &mut [f32]) {
    assert_eq!(x.len(), dy.len(), "a derivative for each number");
    let dy = Shared::new(dy);
    machine.split(x.len(), GRANULE, |range| {
        // SAFETY: the threads' ranges do not overlap.
        let dy = unsafe { dy.slice_mut(range.start, range.len()) };
        dispatch(machine.isa(), Plain { activation, x: &x[range], dy });
    });
}

/// As [`activate_backward`] of [`activate_gated`](crate::activation::activate_gated): `dy` becomes the derivative by
/// the gate, and the one by the factors is written to `factors_gradient`.
///
/// # Panics
///
/// Where the lengths differ.
pub fn activate_gated_backward(
    machine: &Machine,
    activation: Activation,
    gate: &[f32],
    factors: &[f32],
    dy: &mut [f32],
    factors_gradient: &mut [f32],
) {
    let len = gate.len();
    assert!(factors.len() == len && dy.len() == len && factors_gradient.len() == len, "slices of one length");
    let (dy, factors_gradient) = (Shared::new(dy), Shared::new(factors_gradient));
    machine.split(len, GRANULE, |range: Range<usize>| {
        let (begin, count) = (range.start, range.len());
        // SAFETY: the threads' ranges do not overlap.
        let (dy, dfactors) =
            unsafe { (dy.slice_mut(begin, count), factors_gradient.slice_mut(begin, count)) };
        let (gate, factors) = (&gate[range.clone()], &factors[range]);
        dispatch(machine.isa(), Gated { activation, gate, factors, dy, dfactors });
    });
}

/// Numbers that a thread takes at least.
const GRANULE: usize = 4096;

struct Plain<'a> {
    activation: Activation,
    x: &'a [f32],
    dy: &'a mut [f32],
}

impl Kernel for Plain<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (x, dy) in self.x.chunks(LANES).zip(self.dy.chunks_mut(LANES)) {
            let (_, slope) = value_and_slope::<L>(self.activation, L::load_part(x));
            store(L::load_part(dy).mul(slope), dy);
        }
    }
}

struct Gated<'a> {
    activation: Activation,
    gate: &'a [f32],
    factors: &'a [f32],
    dy: &'a mut [f32],
    dfactors: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let inputs = self.gate.chunks(LANES).zip(self.factors.chunks(LANES));
        let outputs = self.dy.chunks_mut(LANES).zip(self.dfactors.chunks_mut(LANES));
        for ((gate, factors), (dy, dfactors)) in inputs.zip(outputs) {
            let (value, slope) = value_and_slope::<L>(self.activation, L::load_part(gate));
            let derivative = L::load_part(dy);
            store(derivative.mul(value), dfactors);
            store(derivative.mul(L::load_part(factors)).mul(slope), dy);
        }
    }
}

/// Writes the first numbers of some lanes.
#[inline(always)]
fn store<L: Lanes>(lanes: L, to: &mut [f32]) {
    match <&mut [f32; LANES]>::try_from(&mut *to) {
        Ok(whole) => lanes.store(whole),
        Err(_) => {
            let mut whole = [0.0; LANES];
            lanes.store(&mut whole);
            to.copy_from_slice(&whole[..to.len()]);
        }
    }
}

/// What the function gives and its derivative.
#[inline(always)]
fn value_and_slope<L: Lanes>(activation: Activation, x: L) -> (L, L) {
    match activation {
        Activation::Silu => silu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::GeluErf => gelu_erf(x),
    }
}

/// `y = x s(x)`, where `s` is the logistic function.
#[inline(always)]
fn silu<L: Lanes>(x: L) -> (L, L) {
    let one = L::splat(1.0);
    let s = one.div(one.add(exp(L::splat(0.0).sub(x))));
    (x.mul(s), s.mul(x.mul_add(one.sub(s), one)))
}

/// `y = x / 2 (1 + tanh(u(x)))`
#[inline(always)]
fn gelu_tanh<L: Lanes>(x: L) -> (L, L) {
    const OUTER: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    let (one, half) = (L::splat(1.0), x.mul(L::splat(0.5)));
    let square = x.mul(x);
    let bent = tanh(square.mul(x).mul_add(L::splat(CUBIC), x).mul(L::splat(OUTER)));
    let inner = square.mul_add(L::splat(3.0 * CUBIC * OUTER), L::splat(OUTER));
    let rising = one.sub(bent.mul(bent)).mul(inner);
    (bent.mul_add(half, half), rising.mul_add(half, one.add(bent).mul(L::splat(0.5))))
}

/// `y = x P(x)`, where `P` is the distribution function of the standard normal.
#[inline(always)]
fn gelu_erf<L: Lanes>(x: L) -> (L, L) {
    const DENSITY: f32 = 0.398_942_3;
    let half = L::splat(0.5);
    let distribution = erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))).mul_add(half, half);
    let density = exp(x.mul(x).mul(L::splat(-0.5))).mul(L::splat(DENSITY));
    (x.mul(distribution), x.mul_add(density, distribution))
}
