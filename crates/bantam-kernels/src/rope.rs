//! Rotary positions (Su et al., 2021).

use crate::Machine;

/// Which numbers of a head turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Number i with number i + dims / 2.
    HalfSplit,
    /// Number 2 i with number 2 i + 1.
    Interleaved,
}

/// Turns the first `2 * pairs` numbers of each head of a row by the row's angles.
///
/// * `x`: `[rows][heads][head_dim]`
/// * `cos`, `sin`: `[rows][pairs]`; turning back, for a derivative, is the same with `-sin`
pub fn rotate(
    machine: &Machine,
    x: &mut [f32],
    (head_dim, row_width): (usize, usize),
    pairing: Pairing,
    cos: &[f32],
    sin: &[f32],
) {
    let rows = x.len() / row_width.max(1);
    assert!(head_dim > 0 && row_width.is_multiple_of(head_dim) && rows * row_width == x.len());
    assert!(cos.len() == sin.len() && cos.len().is_multiple_of(rows.max(1)));
    let pairs = cos.len() / rows.max(1);
    assert!(2 * pairs <= head_dim, "no more angles than pairs");
    if x.is_empty() || pairs == 0 {
        return;
    }
    machine.split_rows_mut(x, row_width, |first, x| {
        let angles = cos.chunks_exact(pairs).zip(sin.chunks_exact(pairs)).skip(first);
        for (row, (cos, sin)) in x.chunks_exact_mut(row_width).zip(angles) {
            for head in row.chunks_exact_mut(head_dim) {
                match pairing {
                    Pairing::HalfSplit => half_split(&mut head[..2 * pairs], cos, sin),
                    Pairing::Interleaved => interleaved(&mut head[..2 * pairs], cos, sin),
                }
            }
        }
    });
}

fn half_split(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*a, *b) = turn(*a, *b, *cos, *sin);
    }
}

fn interleaved(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for ((pair, cos), sin) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
        (pair[0], pair[1]) = turn(pair[0], pair[1], *cos, *sin);
    }
}

#[inline(always)]
fn turn(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    (a * cos - b * sin, b * cos + a * sin)
}
