//! How far a student's predictions are from a teacher's, and the derivative by the student's logits.

use super::cross_entropy::log_softmax_row;
use crate::Machine;
use crate::machine::Isa;
use crate::share::Shared;

/// A measure of the distance between the teacher's distribution `p` and the student's `q`, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divergence {
    /// `sum p ln(p / q)`: the student covers all that the teacher does (Hinton et al., 2015).
    Forward,
    /// `sum q ln(q / p)`: the student keeps to what the teacher finds likely (Gu et al., 2024).
    Reverse,
    /// `share KL(p | m) + (1 - share) KL(q | m)` with `m = share p + (1 - share) q` (Agarwal et al., 2024).
    JensenShannon {
        /// Between 0 and 1.
        share: f32,
    },
}

/// The rows of a distillation.
pub struct Rows<'a> {
    /// Logits, `[rows][vocab_size]`; they become `ln p`.
    pub teacher: &'a mut [f32],
    /// Logits; they become the derivative of the sum of all losses, each times its weight.
    pub student: &'a mut [f32],
    /// One for each row.
    pub weights: &'a [f32],
    /// The divergences.
    pub losses: &'a mut [f64],
}

/// Compares predictions whose logits are first divided by `temperature`. Losses and derivatives are multiplied with
/// its square, so that they stay as large.
///
/// # Panics
///
/// Where the lengths do not fit each other.
pub fn divergence(machine: &Machine, divergence: Divergence, temperature: f32, of: Rows<'_>) {
    let Rows { teacher, student, weights, losses } = of;
    let rows = weights.len();
    let width = student.len() / rows.max(1);
    assert!(teacher.len() == student.len() && width * rows == student.len(), "rows of one width");
    assert_eq!(losses.len(), rows, "a place for each row");
    let (teacher, student, losses) = (Shared::new(teacher), Shared::new(student), Shared::new(losses));
    machine.split(rows, 1, |range| {
        for row in range {
            // SAFETY: each row is one thread's.
            let (teacher, student, loss) = unsafe {
                (
                    teacher.slice_mut(row * width, width),
                    student.slice_mut(row * width, width),
                    losses.slice_mut(row, 1),
                )
            };
            let (isa, weight) = (machine.isa(), f64::from(weights[row]));
            loss[0] = one_row(isa, divergence, f64::from(temperature), teacher, student, weight);
        }
    });
}

fn one_row(
    isa: Isa,
    divergence: Divergence,
    temperature: f64,
    teacher: &mut [f32],
    student: &mut [f32],
    weight: f64,
) -> f64 {
    for logits in [&mut *teacher, &mut *student] {
        logits.iter_mut().for_each(|x| *x = (f64::from(*x) / temperature) as f32);
        log_softmax_row(isa, logits);
    }
    let pairs = || teacher.iter().zip(&*student).map(|(p, q)| (f64::from(*p), f64::from(*q)));
    let loss: f64 = pairs().map(|(p, q)| term(divergence, p, q)).sum();
    // What the student's distribution gains as a whole, it loses again.
    let shared: f64 = pairs().map(|(p, q)| q.exp() * slope(divergence, p, q)).sum();
    let size = weight * temperature;
    for (p, q) in teacher.iter().zip(student) {
        let (p, log_q) = (f64::from(*p), f64::from(*q));
        *q = (size * log_q.exp() * (slope(divergence, p, log_q) - shared)) as f32;
    }
    loss * temperature * temperature
}

/// What one token adds to a divergence; `p` and `q` are logarithms.
fn term(divergence: Divergence, p: f64, q: f64) -> f64 {
    match divergence {
        Divergence::Forward => p.exp() * (p - q),
        Divergence::Reverse => q.exp() * (q - p),
        Divergence::JensenShannon { share } => {
            let share = f64::from(share);
            let m = log_mean(share, p, q);
            share * p.exp() * (p - m) + (1.0 - share) * q.exp() * (q - m)
        }
    }
}

/// The derivative of a divergence by the student's probability of one token, but for what all have in common.
fn slope(divergence: Divergence, p: f64, q: f64) -> f64 {
    match divergence {
        Divergence::Forward => -(p - q).exp(),
        Divergence::Reverse => q - p,
        Divergence::JensenShannon { share } => {
            let share = f64::from(share);
            (1.0 - share) * (q - log_mean(share, p, q))
        }
    }
}

/// `ln(share e^p + (1 - share) e^q)`
fn log_mean(share: f64, p: f64, q: f64) -> f64 {
    let greatest = p.max(q);
    greatest + (share * (p - greatest).exp() + (1.0 - share) * (q - greatest).exp()).ln()
}
