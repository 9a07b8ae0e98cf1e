//! What an answer may be: which tokens may come next, by those that came.
//!
//! The engine knows nothing of schemas or grammars: it asks a [`Constraint`] before each choice, and tells it each
//! token. A constraint that fails ends its own request and no other.

use std::borrow::Cow;
use std::fmt::Debug;

use crate::Error;

/// Which tokens one answer may consist of; it stands behind those that were committed.
///
/// What it says must follow from the committed tokens alone, so that a request has the same tokens in any company.
pub trait Constraint: Debug + Send {
    /// The tokens that may come next. Those that end the answer are among them where it may end.
    ///
    /// # Errors
    ///
    /// [`Error::Constraint`] where nothing may follow, or where finding out takes too much.
    fn allowed(&mut self) -> Result<Allowed<'_>, Error>;

    /// Goes one token further: one that was allowed, or forced. Tokens that end the answer are not told.
    ///
    /// # Errors
    ///
    /// [`Error::Constraint`] for a token that may not come.
    fn commit(&mut self, token: u32) -> Result<(), Error>;

    /// The tokens that must come next whatever the model says, in order; most often none. Each would be the only one
    /// allowed in its place. Nothing is committed.
    ///
    /// # Errors
    ///
    /// [`Error::Constraint`] where finding out takes too much.
    fn forced(&mut self) -> Result<Vec<u32>, Error>;

    /// Whether it is met, and nothing more may come.
    fn is_complete(&self) -> bool;

    /// What comes next where `token` was chosen and `left` tokens may still come, with this one: the token itself; another
    /// one that is allowed, where it could not be met in time behind that one; or nothing, where it is met and can end
    /// here. Asked before each token that is chosen, and not before those that are forced. Nothing is committed.
    ///
    /// # Errors
    ///
    /// [`Error::Constraint`] where finding out takes too much.
    fn in_time(&mut self, token: u32, left: usize) -> Result<Option<u32>, Error> {
        let _ = left;
        Ok(Some(token))
    }

    /// Whether another token has come than was chosen, or the end: the answer is shorter than it might have been.
    fn is_cut_short(&self) -> bool {
        false
    }

    /// Another one that stands at the same place and goes its own way.
    fn fork(&self) -> Box<dyn Constraint>;
}

impl Clone for Box<dyn Constraint> {
    fn clone(&self) -> Self {
        (**self).fork()
    }
}

/// Tokens that may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// Any.
    All,
    /// Those whose bits are set: bit `id % 32`, from the lowest, of word `id / 32`. What has no word is not allowed.
    Set(&'a [u32]),
}

impl Allowed<'_> {
    /// The token that must come, if it is a single one.
    pub(crate) fn only(&self) -> Option<u32> {
        let Allowed::Set(words) = self else { return None };
        let mut set = words.iter().enumerate().filter(|(_, word)| **word != 0);
        let (place, word) = set.next()?;
        let is_single = word.is_power_of_two() && set.next().is_none();
        is_single.then(|| place as u32 * 32 + word.trailing_zeros())
    }

    /// Makes all other tokens impossible.
    pub(crate) fn restrict(&self, logits: &mut Cow<'_, [f32]>) {
        let Allowed::Set(words) = self else { return };
        let words = words.iter().copied().chain(std::iter::repeat(0));
        for (logits, word) in logits.to_mut().chunks_mut(32).zip(words) {
            match word {
                u32::MAX => {}
                0 => logits.fill(f32::NEG_INFINITY),
                _ => restrict_word(logits, word),
            }
        }
    }
}

fn restrict_word(logits: &mut [f32], word: u32) {
    for (bit, logit) in logits.iter_mut().enumerate() {
        if word >> bit & 1 == 0 {
            *logit = f32::NEG_INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_bit_becomes_impossible() {
        let words = [u32::MAX, 0, 0b101];
        let mut logits = Cow::Owned(vec![1.0; 130]);
        Allowed::Set(&words).restrict(&mut logits);
        let left: Vec<usize> = (0..130).filter(|id| logits[*id] == 1.0).collect();
        assert_eq!(left, (0..32).chain([64, 66]).collect::<Vec<_>>());
        let mut logits = Cow::Borrowed(&[1.0; 3][..]);
        Allowed::All.restrict(&mut logits);
        assert!(matches!(logits, Cow::Borrowed(_)));
    }

    #[test]
    fn a_single_token_is_told_from_several() {
        assert_eq!(Allowed::Set(&[0, 0, 1 << 7]).only(), Some(71));
        assert_eq!(Allowed::Set(&[0, 3]).only(), None);
        assert_eq!(Allowed::Set(&[1, 1]).only(), None);
        assert_eq!(Allowed::Set(&[0, 0]).only(), None);
        assert_eq!(Allowed::All.only(), None);
    }
}
