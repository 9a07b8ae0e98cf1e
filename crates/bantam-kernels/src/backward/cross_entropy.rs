//! The cross entropy of predicted tokens, and its derivative.

use crate::Machine;
use crate::lanes::{Kernel, Lanes, dispatch, exp, groups, map};
use crate::machine::Isa;
use crate::share::Shared;

/// Writes `ln sum exp(logits) - logits[target]` of each row, in nats, to `losses`. The logits become the derivative
/// of the sum of all losses, each times its weight.
///
/// * `logits`: `[rows][vocab_size]`
/// * `targets`, `weights`, `losses`: one for each row
///
/// # Panics
///
/// Where the lengths do not fit each other, or a target is no column.
pub fn cross_entropy(
    machine: &Machine,
    logits: &mut [f32],
    targets: &[u32],
    weights: &[f32],
    losses: &mut [f64],
) {
    let rows = targets.len();
    assert!(weights.len() == rows && losses.len() == rows, "a weight and a place for each row");
    let width = logits.len() / rows.max(1);
    assert!(width * rows == logits.len(), "rows of one width");
    assert!(targets.iter().all(|target| (*target as usize) < width), "targets are columns");
    let (logits, losses) = (Shared::new(logits), Shared::new(losses));
    machine.split(rows, 1, |range| {
        for row in range {
            // SAFETY: each row is one thread's.
            let (logits, loss) = unsafe { (logits.slice_mut(row * width, width), losses.slice_mut(row, 1)) };
            let (target, weight) = (targets[row] as usize, weights[row]);
            loss[0] = dispatch(machine.isa(), Row { logits, target, weight });
        }
    });
}

/// Turns each row into `ln softmax` in place.
///
/// # Panics
///
/// If the logits are not whole rows of `width`.
pub fn log_softmax(machine: &Machine, logits: &mut [f32], width: usize) {
    assert!(width > 0 && logits.len().is_multiple_of(width), "whole rows");
    let rows = logits.len() / width;
    let logits = Shared::new(logits);
    machine.split(rows, 1, |range| {
        for row in range {
            // SAFETY: each row is one thread's.
            let logits = unsafe { logits.slice_mut(row * width, width) };
            log_softmax_row(machine.isa(), logits);
        }
    });
}

/// Turns one row into `ln softmax`.
pub(super) fn log_softmax_row(isa: Isa, logits: &mut [f32]) {
    dispatch(isa, LogSoftmax { logits });
}

struct Row<'a> {
    logits: &'a mut [f32],
    target: usize,
    weight: f32,
}

impl Kernel for Row<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<L: Lanes>(self) -> f64 {
        let greatest = greatest::<L>(self.logits);
        let of_target = f64::from(self.logits[self.target]) - f64::from(greatest);
        let sum = exponentials::<L>(self.logits, greatest);
        let factor = L::splat((f64::from(self.weight) / sum) as f32);
        map!(L, self.logits, |x| x.mul(factor));
        self.logits[self.target] -= self.weight;
        sum.ln() - of_target
    }
}

struct LogSoftmax<'a> {
    logits: &'a mut [f32],
}

impl Kernel for LogSoftmax<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let greatest = greatest::<L>(self.logits);
        let mut sum = 0.0;
        for part in self.logits.chunks(PART) {
            let mut part_of = [0.0; PART];
            let part_of = &mut part_of[..part.len()];
            part_of.copy_from_slice(part);
            sum += exponentials::<L>(part_of, greatest);
        }
        let shift = L::splat((f64::from(greatest) + sum.ln()) as f32);
        map!(L, self.logits, |x| x.sub(shift));
    }
}

/// Numbers whose sum is formed in single precision.
const PART: usize = 1024;

#[inline(always)]
fn greatest<L: Lanes>(x: &[f32]) -> f32 {
    let (whole, rest) = groups(x);
    let mut most = L::splat(f32::NEG_INFINITY);
    for group in whole {
        most = most.maximum(L::load(group));
    }
    rest.iter().copied().fold(most.greatest(), f32::max)
}

/// Replaces numbers by `exp(x - greatest)`; gives their sum.
#[inline(always)]
fn exponentials<L: Lanes>(x: &mut [f32], greatest: f32) -> f64 {
    let greatest = L::splat(greatest);
    let mut sum = 0.0;
    for part in x.chunks_mut(PART) {
        map!(L, part, |x| exp(x.sub(greatest)));
        let (whole, rest) = groups(part);
        let mut sums = L::load_part(rest);
        for group in whole {
            sums = sums.add(L::load(group));
        }
        sum += f64::from(sums.sum());
    }
    sum
}
