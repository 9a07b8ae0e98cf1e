//! The mean cross entropy of the next tokens.

/// The mean of `ln sum exp(logits) - logits[target]` over all rows, in nats. `logits`, `[rows][vocab_size]`,
/// become its gradient. Sums are in f64, so that the mean does not depend on how many rows there are.
pub(crate) fn cross_entropy(logits: &mut [f32], targets: &[u32]) -> f64 {
    let vocab_size = logits.len() / targets.len().max(1);
    let share = 1.0 / targets.len().max(1) as f64;
    let mut total = 0.0;
    for (row, target) in logits.chunks_exact_mut(vocab_size.max(1)).zip(targets) {
        total += row_cross_entropy(row, *target as usize, share);
    }
    total * share
}

/// The cross entropy of one row, which becomes the gradient of `share` times it.
fn row_cross_entropy(row: &mut [f32], target: usize, share: f64) -> f64 {
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let above = |x: f32| f64::from(x) - f64::from(greatest);
    let sum: f64 = row.iter().map(|x| above(*x).exp()).sum();
    let loss = sum.ln() - above(row[target]);
    for (i, x) in row.iter_mut().enumerate() {
        let hit = f64::from(u8::from(i == target));
        *x = (share * (above(*x).exp() / sum - hit)) as f32;
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::cross_entropy;

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_count() {
        let mut logits = vec![80.0; 2 * 5];
        let loss = cross_entropy(&mut logits, &[3, 0]);
        assert!((loss - 5.0_f64.ln()).abs() < 1e-12);
        let expected = [0.1, 0.1, 0.1, -0.4, 0.1, -0.4, 0.1, 0.1, 0.1, 0.1];
        assert!(logits.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-7));
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let mut logits = vec![3e4, -3e4, 0.0];
        let loss = cross_entropy(&mut logits, &[1]);
        assert_eq!(loss, 6e4);
        assert_eq!(logits, [1.0, -1.0, 0.0]);
    }
}
