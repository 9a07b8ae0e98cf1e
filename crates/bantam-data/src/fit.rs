//! What does not fit the longest sequence.

use serde::Serialize;

use crate::encode::Encoded;

/// What happens to an example that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TooLong {
    /// It is learnt in pieces, each of which begins with the last id of the one before. Right for texts.
    Split,
    /// Its beginning is kept. Right for chats: the prompt stays.
    KeepStart,
    /// Its end is kept.
    KeepEnd,
    /// It is left out.
    Drop,
}

/// What became of an example.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fitted {
    Whole(Encoded),
    Split(Vec<Encoded>),
    /// One end is left; this many ids are not.
    Cut(Encoded, usize),
    /// Nothing is left that could be learnt.
    Dropped,
}

/// Fits an example into `length_max` ids, which are at least 2.
pub(crate) fn fit(mut encoded: Encoded, length_max: usize, too_long: TooLong) -> Fitted {
    let length = encoded.ids.len();
    if length <= length_max {
        return Fitted::Whole(encoded);
    }
    match too_long {
        TooLong::Drop => return Fitted::Dropped,
        TooLong::Split => return Fitted::Split(pieces(&encoded, length_max)),
        TooLong::KeepStart => {
            encoded.ids.truncate(length_max);
            encoded.learn.truncate(length_max);
        }
        TooLong::KeepEnd => {
            encoded.ids.drain(..length - length_max);
            encoded.learn.drain(..length - length_max);
            encoded.learn[0] = false;
        }
    }
    if encoded.learn.contains(&true) { Fitted::Cut(encoded, length - length_max) } else { Fitted::Dropped }
}

/// Pieces that share one id with the one before, so that every id learnt is learnt once.
fn pieces(encoded: &Encoded, length_max: usize) -> Vec<Encoded> {
    let begins = (0..encoded.ids.len() - 1).step_by(length_max - 1);
    let piece = |begin: usize| {
        let end = encoded.ids.len().min(begin + length_max);
        let (ids, mut learn) = (encoded.ids[begin..end].to_vec(), encoded.learn[begin..end].to_vec());
        learn[0] = false;
        Encoded { ids, learn, ..Encoded::default() }
    };
    begins.map(piece).filter(|piece| piece.learn.contains(&true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids that count up, learnt from `from` on.
    fn encoded(length: u32, from: usize) -> Encoded {
        let learn = (0..length as usize).map(|i| i >= from).collect();
        Encoded { ids: (0..length).collect(), learn, ..Encoded::default() }
    }

    #[test]
    fn pieces_teach_every_id_once_after_the_id_before_it() {
        for length in 2..40 {
            for length_max in 2..12 {
                let pieces = pieces(&encoded(length, 1), length_max);
                let mut learnt = Vec::new();
                for piece in &pieces {
                    assert!(piece.ids.len() <= length_max && !piece.learn[0]);
                    assert!(piece.ids.windows(2).all(|pair| pair[0] + 1 == pair[1]));
                    let targets = piece.ids.iter().zip(&piece.learn).filter(|(_, learn)| **learn);
                    learnt.extend(targets.map(|(id, _)| *id));
                }
                assert_eq!(learnt, (1..length).collect::<Vec<u32>>());
            }
        }
    }

    #[test]
    fn an_end_is_kept_if_something_is_left_to_learn() {
        let Fitted::Cut(start, lost) = fit(encoded(10, 5), 7, TooLong::KeepStart) else { panic!() };
        assert_eq!((start.ids.len(), start.ids[0], lost), (7, 0, 3));
        let Fitted::Cut(end, lost) = fit(encoded(10, 1), 7, TooLong::KeepEnd) else { panic!() };
        assert_eq!((end.ids[0], end.learn[0], end.learn[1], lost), (3, false, true, 3));
        assert_eq!(fit(encoded(10, 7), 7, TooLong::KeepStart), Fitted::Dropped);
        assert_eq!(fit(encoded(10, 1), 7, TooLong::Drop), Fitted::Dropped);
        assert_eq!(fit(encoded(7, 1), 7, TooLong::Drop), Fitted::Whole(encoded(7, 1)));
    }
}
