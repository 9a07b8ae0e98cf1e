//! Normalisation of rows.

use crate::Machine;
use crate::lanes::{Kernel, Lanes, dispatch, map, map2, reduce};

/// What a row is divided by, and whether its mean is taken away first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `x / sqrt(mean(x^2) + eps)` (Zhang and Sennrich, 2019).
    Rms,
    /// `(x - mean) / sqrt(variance + eps)` (Ba et al., 2016).
    Layer,
}

/// A normalisation: `normalised * weight + bias`.
#[derive(Clone, Copy, Debug)]
pub struct NormSpec<'a> {
    /// The kind.
    pub kind: NormKind,
    /// Numbers that are normalised together; a row may hold several such groups.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
    /// `[width]`, or one after the other for the groups of a row.
    pub weight: Option<&'a [f32]>,
    /// As `weight`.
    pub bias: Option<&'a [f32]>,
}

/// Normalises each group of `spec.width` numbers of `x` into `y`.
pub fn normalize(machine: &Machine, spec: NormSpec<'_>, x: &[f32], y: &mut [f32]) {
    let width = spec.width;
    assert!(width > 0 && x.len().is_multiple_of(width), "groups of the norm's width");
    assert!(y.len() == x.len(), "a number for each");
    for part in [spec.weight, spec.bias].into_iter().flatten() {
        assert!(!part.is_empty() && part.len().is_multiple_of(width), "a weight for each number");
    }
    machine.split_rows_mut(y, width, |first, y| {
        let x = &x[first * width..][..y.len()];
        dispatch(machine.isa(), Normalize { spec, x, y, first });
    });
}

struct Normalize<'a> {
    spec: NormSpec<'a>,
    x: &'a [f32],
    y: &'a mut [f32],
    first: usize,
}

impl Kernel for Normalize<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let NormSpec { kind, width, eps, weight, bias } = self.spec;
        for (i, (y, x)) in self.y.chunks_exact_mut(width).zip(self.x.chunks_exact(width)).enumerate() {
            y.copy_from_slice(x);
            let x = y;
            if kind == NormKind::Layer {
                let mean = L::splat(reduce!(L, x, |sums, x| sums.add(x)) / width as f32);
                map!(L, x, |x| x.sub(mean));
            }
            let mean_square = reduce!(L, x, |sums, x| x.mul_add(x, sums)) / width as f32;
            let factor = L::splat(1.0 / (mean_square + eps).sqrt());
            map!(L, x, |x| x.mul(factor));
            let part = |of: &[f32]| (self.first + i) % (of.len() / width) * width;
            if let Some(weight) = weight {
                map2!(L, x, &weight[part(weight)..][..width], |x, w| x.mul(w));
            }
            if let Some(bias) = bias {
                map2!(L, x, &bias[part(bias)..][..width], |x, b| x.add(b));
            }
        }
    }
}
