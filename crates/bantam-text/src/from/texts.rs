//! Lists of strings, as files hold them.

/// Strings in order, none of them copied: a list of slices, or an array of a GGUF file as it lies there.
#[derive(Clone, Debug)]
pub struct Texts<'a>(Form<'a>);

#[derive(Clone, Debug)]
enum Form<'a> {
    List(Vec<&'a [u8]>),
    /// Each behind its length.
    Packed {
        bytes: &'a [u8],
        count: usize,
    },
}

impl<'a> Texts<'a> {
    /// `count` strings, each behind its length in 64 bits with the low byte first. Bytes that are cut short give fewer.
    pub fn packed(bytes: &'a [u8], count: usize) -> Self {
        Self(Form::Packed { bytes, count })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::List(list) => list.len(),
            Form::Packed { count, .. } => *count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Form::List(list) => Iter::List(list.iter()),
            Form::Packed { bytes, count } => Iter::Packed { bytes, left: *count },
        }
    }
}

impl Default for Texts<'_> {
    fn default() -> Self {
        Self(Form::List(Vec::new()))
    }
}

impl<'a> From<Vec<&'a [u8]>> for Texts<'a> {
    fn from(list: Vec<&'a [u8]>) -> Self {
        Self(Form::List(list))
    }
}

impl<'a> FromIterator<&'a [u8]> for Texts<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(texts: I) -> Self {
        Self(Form::List(texts.into_iter().collect()))
    }
}

/// Walks over [`Texts`].
pub(crate) enum Iter<'a> {
    List(std::slice::Iter<'a, &'a [u8]>),
    Packed { bytes: &'a [u8], left: usize },
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::List(list) => list.next().copied(),
            Self::Packed { bytes, left } => {
                *left = left.checked_sub(1)?;
                let (len, rest) = bytes.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
                *bytes = rest;
                Some(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_same_strings() {
        let list = [&b"a"[..], b"", b"long enough for two"];
        let mut packed = Vec::new();
        for text in list {
            packed.extend((text.len() as u64).to_le_bytes());
            packed.extend(text);
        }
        let packed = Texts::packed(&packed, 3);
        assert_eq!((packed.len(), packed.is_empty()), (3, false));
        assert!(packed.iter().eq(list));
        assert!(Texts::from_iter(list).iter().eq(list));
    }

    #[test]
    fn what_is_cut_short_ends_early() {
        let packed = [3, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c', 9, 0, 0, 0, 0, 0, 0, 0, b'd'];
        for (len, expected) in [(20, 1), (12, 1), (11, 1), (10, 0), (3, 0)] {
            assert_eq!(Texts::packed(&packed[..len], 5).iter().count(), expected, "{len}");
        }
        let huge = u64::MAX.to_le_bytes();
        assert_eq!(Texts::packed(&huge, usize::MAX).iter().count(), 0);
    }
}
