//! Stop strings in a stream of text: found across any split, and never given out.
//!
//! Invariant: what was given out so far is the text so far without its longest end that may still become a stop
//! string, so however the text is split, the same text comes out.

/// Looks for stop strings in a stream.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What is certain after some more text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Text that is no part of a stop string.
    pub text: String,
    /// The stop string that ended the text; what follows it is not wanted.
    pub found: Option<String>,
}

impl StopStrings {
    /// Looks for these; empty ones are left out.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        StopStrings {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Adds text. The stop string that is complete first wins; of several complete at once, the longest.
    pub fn push(&mut self, text: &str) -> Scanned {
        self.held.push_str(text);
        if let Some((begin, stop)) = self.first() {
            let found = Some(stop.to_owned());
            let text = self.held[..begin].to_owned();
            self.held.clear();
            return Scanned { text, found };
        }
        let certain =
            self.held.len() - self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        Scanned { text: self.held.drain(..certain).collect(), found: None }
    }

    /// What is left when the text is over.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the first complete stop string begins.
    fn first(&self) -> Option<(usize, &str)> {
        let complete = self.stops.iter().filter_map(|stop| self.held.find(stop).map(|begin| (begin, stop)));
        let first = complete.min_by_key(|(begin, stop)| (begin + stop.len(), *begin));
        first.map(|(begin, stop)| (begin, stop.as_str()))
    }
}

/// Length of the longest end of `text` that is a beginning of `stop`, but not all of it.
fn overlap(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).rev();
    ends.into_iter().find(|&end| text.ends_with(&stop[..end])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, pieces};

    fn scan(stops: &[&str], parts: &[String]) -> (String, Option<String>) {
        let mut scanner = StopStrings::new(stops.iter().map(|&stop| stop.to_owned()));
        let mut out = String::new();
        for part in parts {
            let scanned = scanner.push(part);
            out.push_str(&scanned.text);
            if scanned.found.is_some() {
                return (out, scanned.found);
            }
        }
        (out + &scanner.finish(), None)
    }

    /// By definition: the shortest beginning of the text that ends with a stop string.
    fn expected(stops: &[&str], text: &str) -> (String, Option<String>) {
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        for end in ends {
            let matching = stops.iter().filter(|stop| !stop.is_empty() && text[..end].ends_with(**stop));
            if let Some(stop) = matching.max_by_key(|stop| stop.len()) {
                return (text[..end - stop.len()].to_owned(), Some((*stop).to_owned()));
            }
        }
        (text.to_owned(), None)
    }

    #[test]
    fn any_split_gives_what_the_definition_gives() {
        let mut random = Random::new(1);
        for _ in 0..4000 {
            let count = random.below(4);
            let stops: Vec<String> = (0..count).map(|_| random.text("abé", 4)).collect();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let text = random.text("abé", 12);
            let parts = pieces(&mut random, &text);
            assert_eq!(scan(&stops, &parts), expected(&stops, &text), "{stops:?} in {parts:?}");
        }
    }

    #[test]
    fn what_may_become_a_stop_is_held_back() {
        let mut scanner = StopStrings::new(["</end>".to_owned()]);
        assert_eq!(scanner.push("a < b </e"), Scanned { text: "a < b ".into(), found: None });
        assert_eq!(scanner.push("nd"), Scanned::default());
        assert_eq!(scanner.push(">c").found.as_deref(), Some("</end>"));
        assert_eq!(scanner.finish(), "");
    }
}
