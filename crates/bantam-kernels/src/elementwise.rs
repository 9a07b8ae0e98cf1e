//! Sums, products and bounds of whole slices.

use crate::lanes::{Kernel, Lanes, dispatch, map, map2, tanh};
use crate::machine::Isa;

/// `x + y * factor`, in place.
pub fn add_scaled(isa: Isa, x: &mut [f32], y: &[f32], factor: f32) {
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
    dispatch(isa, AddScaled(x, y, factor));
}

/// `x * y`, in place.
pub fn multiply(isa: Isa, x: &mut [f32], y: &[f32]) {
    struct Multiply<'a>(&'a mut [f32], &'a [f32]);
    impl Kernel for Multiply<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            map2!(L, self.0, self.1, |x, y| x.mul(y));
        }
    }
    assert_eq!(x.len(), y.len(), "slices of one length");
    dispatch(isa, Multiply(x, y));
}

/// `x * factor`, in place.
pub fn scale(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|x| *x *= factor);
}

/// `x` held between `-limit` and `limit`, in place; a NaN stays one.
pub fn clamp(x: &mut [f32], limit: f32) {
    x.iter_mut().for_each(|x| *x = x.clamp(-limit, limit));
}

/// `cap * tanh(x / cap)`, in place.
pub fn soft_cap(isa: Isa, x: &mut [f32], cap: f32) {
    struct SoftCap<'a>(&'a mut [f32], f32);
    impl Kernel for SoftCap<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self) {
            let (cap, inverse) = (L::splat(self.1), L::splat(1.0 / self.1));
            map!(L, self.0, |x| tanh(x.mul(inverse)).mul(cap));
        }
    }
    dispatch(isa, SoftCap(x, cap));
}
