//! Sums, products and bounds of whole slices.

use crate::Machine;
use crate::lanes::{Kernel, Lanes, dispatch, map, map2, tanh};

/// `x + y * factor`, in place.
pub fn add_scaled(machine: &Machine, x: &mut [f32], y: &[f32], factor: f32) {
    struct AddScaled<'a>(&'a mut [f32], &'a [f32], f32);
    impl Kernel for AddScaled<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            let factor = L::splat(self.2);
            map2!(L, self.0, self.1, |x, y| y.mul_add(factor, x));
        }
    }
    assert_eq!(x.len(), y.len(), "slices of one length");
    machine.split_mut(x, |begin, x| dispatch(machine.isa(), AddScaled(x, &y[begin..][..x.len()], factor)));
}

/// `x * y`, in place.
pub fn multiply(machine: &Machine, x: &mut [f32], y: &[f32]) {
    struct Multiply<'a>(&'a mut [f32], &'a [f32]);
    impl Kernel for Multiply<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            map2!(L, self.0, self.1, |x, y| x.mul(y));
        }
    }
    assert_eq!(x.len(), y.len(), "slices of one length");
    machine.split_mut(x, |begin, x| dispatch(machine.isa(), Multiply(x, &y[begin..][..x.len()])));
}

/// `x * factor`, in place.
pub fn scale(machine: &Machine, x: &mut [f32], factor: f32) {
    machine.split_mut(x, |_, x| x.iter_mut().for_each(|x| *x *= factor));
}

/// `x` held between `-limit` and `limit`, in place; a NaN stays one.
pub fn clamp(machine: &Machine, x: &mut [f32], limit: f32) {
    machine.split_mut(x, |_, x| x.iter_mut().for_each(|x| *x = x.clamp(-limit, limit)));
}

/// `cap * tanh(x / cap)`, in place.
pub fn soft_cap(machine: &Machine, x: &mut [f32], cap: f32) {
    struct SoftCap<'a>(&'a mut [f32], f32);
    impl Kernel for SoftCap<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            let (cap, inverse) = (L::splat(self.1), L::splat(1.0 / self.1));
            map!(L, self.0, |x| tanh(x.mul(inverse)).mul(cap));
        }
    }
    machine.split_mut(x, |_, x| dispatch(machine.isa(), SoftCap(x, cap)));
}

/// Adds a vector to each row, in place.
pub fn add_vector(machine: &Machine, x: &mut [f32], vector: &[f32]) {
    struct AddVector<'a>(&'a mut [f32], &'a [f32]);
    impl Kernel for AddVector<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            for row in self.0.chunks_exact_mut(self.1.len()) {
                map2!(L, row, self.1, |x, y| x.add(y));
            }
        }
    }
    assert!(!vector.is_empty() && x.len().is_multiple_of(vector.len()), "rows as wide as the vector");
    dispatch(machine.isa(), AddVector(x, vector));
}
