//! How a text is cut into windows, and which positions of a window are scored.

use crate::Error;

/// Windows of a text, one after the other without overlap; what is left at the end is not scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Tokens in a window.
    pub length: usize,
    /// Which of its tokens are predicted and scored.
    pub scored: Scored,
    /// Takes the place of each window's first token, where the model begins texts with one.
    pub bos: Option<u32>,
    /// At most so many windows; all if `None`.
    pub count_max: Option<usize>,
}

/// Which tokens of a window are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scored {
    /// Those of the second half, as llama.cpp does: the positions `length / 2` to `length - 2` predict.
    SecondHalf,
    /// All but the first, as most papers do.
    Whole,
}

/// A window needs one position that predicts and is in its second half.
pub(crate) const LENGTH_MIN: usize = 4;

impl Windows {
    /// The tokens of each window.
    ///
    /// # Errors
    ///
    /// A window too short to be scored, or a text shorter than one window.
    pub fn cut(&self, tokens: &[u32]) -> Result<Vec<Vec<u32>>, Error> {
        if self.length < LENGTH_MIN {
            return Err(Error::Window { length: self.length });
        }
        if tokens.len() < self.length {
            return Err(Error::TooShort { wanted: self.length, found: tokens.len() });
        }
        let windows = tokens.chunks_exact(self.length).take(self.count_max.unwrap_or(usize::MAX));
        let with_bos = windows.map(|window| {
            let mut window = window.to_vec();
            if let Some(bos) = self.bos {
                window[0] = bos;
            }
            window
        });
        Ok(with_bos.collect())
    }

    /// The positions whose logits are scored against the token behind them.
    pub fn predicting(&self) -> std::ops::Range<usize> {
        match self.scored {
            Scored::SecondHalf => self.length / 2..self.length - 1,
            Scored::Whole => 0..self.length - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_as_llama_cpp_does() {
        let tokens: Vec<u32> = (0..1100).collect();
        let windows = Windows { length: 512, scored: Scored::SecondHalf, bos: Some(9999), count_max: None };
        let cut = windows.cut(&tokens).unwrap();
        assert_eq!(cut.len(), 2);
        assert_eq!((cut[1][0], cut[1][1], cut[1][511]), (9999, 513, 1023));
        assert_eq!(windows.predicting(), 256..511);
    }

    #[test]
    fn a_text_shorter_than_a_window_is_refused_with_both_lengths() {
        let windows = Windows { length: 512, scored: Scored::Whole, bos: None, count_max: None };
        let message = windows.cut(&[1; 100]).unwrap_err().to_string();
        assert!(message.contains("512") && message.contains("100"));
    }
}
