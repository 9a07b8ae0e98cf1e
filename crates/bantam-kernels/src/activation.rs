//! The non-linear functions between two projections.

use crate::Machine;
use crate::lanes::{Kernel, Lanes, dispatch, exp, map, map2, tanh};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`
    Silu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel, 2016)
    GeluTanh,
    /// `x / 2 (1 + erf(x / sqrt(2)))`
    GeluErf,
}

/// Applies the function to each number in place.
pub fn activate(machine: &Machine, activation: Activation, x: &mut [f32]) {
    machine.split_mut(x, |_, x| dispatch(machine.isa(), Activate { activation, x, factors: None }));
}

/// `activation(x) * factors`, in place: the gated form (Shazeer, 2020).
pub fn activate_gated(machine: &Machine, activation: Activation, x: &mut [f32], factors: &[f32]) {
    assert_eq!(x.len(), factors.len(), "a factor for each number");
    machine.split_mut(x, |begin, x| {
        let factors = Some(&factors[begin..][..x.len()]);
        dispatch(machine.isa(), Activate { activation, x, factors });
    });
}

struct Activate<'a> {
    activation: Activation,
    x: &'a mut [f32],
    factors: Option<&'a [f32]>,
}

/// One function for the whole of an [`Activate`].
macro_rules! apply {
    ($lanes:ident, $work:ident, $f:ident) => {
        match $work.factors {
            Some(factors) => map2!($lanes, $work.x, factors, |x, y| $f(x).mul(y)),
            None => map!($lanes, $work.x, |x| $f(x)),
        }
    };
}

impl Kernel for Activate<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        match self.activation {
            Activation::Silu => apply!(L, self, silu),
            Activation::GeluTanh => apply!(L, self, gelu_tanh),
            Activation::GeluErf => apply!(L, self, gelu_erf),
        }
    }
}

#[inline(always)]
fn silu<L: Lanes>(x: L) -> L {
    x.div(L::splat(1.0).add(exp(L::splat(0.0).sub(x))))
}

#[inline(always)]
fn gelu_tanh<L: Lanes>(x: L) -> L {
    let cubic = x.mul(x).mul(L::splat(0.044_715)).mul_add(x, x);
    let half = x.mul(L::splat(0.5));
    tanh(cubic.mul(L::splat(0.797_884_6))).mul_add(half, half)
}

#[inline(always)]
fn gelu_erf<L: Lanes>(x: L) -> L {
    let half = x.mul(L::splat(0.5));
    erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))).mul_add(half, half)
}

/// Abramowitz and Stegun 7.1.26, to 1.5e-7.
#[inline(always)]
pub(crate) fn erf<L: Lanes>(x: L) -> L {
    let (zero, one) = (L::splat(0.0), L::splat(1.0));
    let magnitude = zero.sub(x).maximum(x);
    let t = one.div(magnitude.mul_add(L::splat(0.327_591_1), one));
    let mut p = L::splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_8, -0.284_496_74, 0.254_829_6] {
        p = p.mul_add(t, L::splat(c));
    }
    let y = one.sub(p.mul(t).mul(exp(zero.sub(magnitude.mul(magnitude)))));
    x.select_less(zero, zero.sub(y), y)
}
