//! One vector for a whole prompt.

/// What of the last hidden states stands for a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all.
    #[default]
    Mean,
    /// The last token's.
    Last,
    /// The first token's, which encoders make for this (`[CLS]`).
    First,
}

/// A vector in the making. It does not depend on how the rows are cut into steps: they are added one by one, in their
/// order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    sum: Vec<f64>,
    rows: usize,
}

impl Pool {
    /// Takes in rows of `width` numbers.
    pub(crate) fn take(&mut self, pooling: Pooling, rows: &[f32], width: usize) {
        self.sum.resize(width, 0.0);
        for row in rows.chunks_exact(width) {
            self.rows += 1;
            let numbers = self.sum.iter_mut().zip(row);
            match pooling {
                Pooling::Mean => numbers.for_each(|(sum, x)| *sum += f64::from(*x)),
                Pooling::First if self.rows > 1 => {}
                Pooling::Last | Pooling::First => numbers.for_each(|(sum, x)| *sum = f64::from(*x)),
            }
        }
    }

    /// The vector.
    pub(crate) fn finish(&mut self, pooling: Pooling) -> Vec<f32> {
        let count = if pooling == Pooling::Mean { self.rows.max(1) as f64 } else { 1.0 };
        std::mem::take(&mut self.sum).into_iter().map(|sum| (sum / count) as f32).collect()
    }
}
