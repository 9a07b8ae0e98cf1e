//! The derivative of normalisation.

use super::sums::dot;
use crate::Machine;
use crate::lanes::{Kernel, Lanes, dispatch, map, map2, reduce};
use crate::norm::{NormKind, NormSpec};
use crate::share::Shared;

/// Derivatives of a normalisation, to be added to.
pub struct NormGradients<'a> {
    /// By what was normalised, as long.
    pub x: &'a mut [f32],
    /// By the weight; none where nobody asks.
    pub weight: Option<&'a mut [f32]>,
    /// By the bias.
    pub bias: Option<&'a mut [f32]>,
}

/// Adds to the derivatives of [`normalize`](crate::norm::normalize).
///
/// * `x`: what was normalised
/// * `dy`: the derivative by what came of it, as long
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn normalize_backward(
    machine: &Machine,
    spec: NormSpec<'_>,
    x: &[f32],
    dy: &[f32],
    gradients: NormGradients<'_>,
) {
    let width = spec.width;
    assert!(width > 0 && x.len().is_multiple_of(width), "groups of the norm's width");
    assert!(dy.len() == x.len() && gradients.x.len() == x.len(), "a derivative for each number");
    let count = x.len() / width;
    // For each group what was taken away and what the rest was multiplied with.
    let mut moments = vec![(0.0, 0.0); count];
    let (dx, shared_moments) = (Shared::new(gradients.x), Shared::new(&mut moments));
    machine.split(count, 8, |range| {
        // SAFETY: the threads' ranges do not overlap.
        let (dx, moments) = unsafe {
            (
                dx.slice_mut(range.start * width, range.len() * width),
                shared_moments.slice_mut(range.start, range.len()),
            )
        };
        let part = range.start * width..range.end * width;
        dispatch(
            machine.isa(),
            Groups { spec, x: &x[part.clone()], dy: &dy[part], dx, moments, first: range.start },
        );
    });
    if let Some(bias) = gradients.bias {
        add_columns(machine, bias, |row, column| dy[row * width + column], count, width);
    }
    if let Some(weight) = gradients.weight {
        let product = |row: usize, column: usize| {
            let (mean, factor) = moments[row];
            dy[row * width + column] * ((x[row * width + column] - mean) * factor)
        };
        add_columns(machine, weight, product, count, width);
    }
}

/// Adds terms to a vector of one or several groups of `width`, group after group; each column by one thread.
fn add_columns(
    machine: &Machine,
    sums: &mut [f32],
    term: impl Fn(usize, usize) -> f32 + Sync,
    count: usize,
    width: usize,
) {
    let heads = sums.len() / width;
    let sums = Shared::new(sums);
    machine.split(width, 16, |columns| {
        for row in 0..count {
            let begin = row % heads * width + columns.start;
            // SAFETY: the threads' columns do not overlap.
            let sums = unsafe { sums.slice_mut(begin, columns.len()) };
            for (sum, column) in sums.iter_mut().zip(columns.clone()) {
                *sum += term(row, column);
            }
        }
    });
}

/// Some groups of numbers.
struct Groups<'a> {
    spec: NormSpec<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    moments: &'a mut [(f32, f32)],
    /// Of the first group.
    first: usize,
}

impl Kernel for Groups<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let NormSpec { kind, width, eps, weight, .. } = self.spec;
        let share = 1.0 / width as f32;
        let (mut normalised, mut gradient) = (vec![0.0; width], vec![0.0; width]);
        let groups_of = self.x.chunks_exact(width).zip(self.dy.chunks_exact(width));
        for (i, ((x, dy), dx)) in groups_of.zip(self.dx.chunks_exact_mut(width)).enumerate() {
            normalised.copy_from_slice(x);
            let mut mean = 0.0;
            if kind == NormKind::Layer {
                mean = reduce!(L, x, |sums, x| sums.add(x)) * share;
                let mean = L::splat(mean);
                map!(L, &mut normalised, |x| x.sub(mean));
            }
            let square = reduce!(L, &normalised, |sums, x| x.mul_add(x, sums)) * share;
            let factor = 1.0 / (square + eps).sqrt();
            self.moments[i] = (mean, factor);
            let factor = L::splat(factor);
            map!(L, &mut normalised, |x| x.mul(factor));
            gradient.copy_from_slice(dy);
            if let Some(weight) = weight {
                let part = (self.first + i) % (weight.len() / width) * width;
                map2!(L, &mut gradient, &weight[part..][..width], |g, w| g.mul(w));
            }
            // What would only move the mean, if that is taken away, or the length, is lost.
            let lost = match kind {
                NormKind::Rms => 0.0,
                NormKind::Layer => reduce!(L, &gradient, |sums, g| sums.add(g)) * share,
            };
            let along = L::splat(0.0 - dot::<L>(&gradient, &normalised) * share);
            let lost = L::splat(lost);
            map2!(L, &mut gradient, &normalised, |g, x| x.mul_add(along, g.sub(lost)));
            map2!(L, dx, &gradient, |dx, g| g.mul_add(factor, dx));
        }
    }
}
