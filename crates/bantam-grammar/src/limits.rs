//! How great what is compiled may be.

use crate::error::Error;

/// Bytes of a specification, at most.
pub(crate) const BYTES_MAX: usize = 2 << 20;
/// Bytes of a pattern, at most.
pub(crate) const PATTERN_BYTES_MAX: usize = 16 << 10;

pub(crate) fn check_size(what: &'static str, found: usize, most: usize) -> Result<(), Error> {
    if found > most { Err(Error::TooLarge { what, found, most }) } else { Ok(()) }
}
