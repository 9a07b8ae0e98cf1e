//! Stop strings in a stream of text: found across any split, and never given out.
//!
//! Invariant: what was given out so far is the text so far without its longest end that may still become a stop
//! string, so however the text is split, the same text comes out.

/// Looks for stop strings in a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What is certain after some more text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Text that is no part of a stop string.
    pub(crate) text: String,
    /// The stop string that ended the text; what follows it is not wanted.
    pub(crate) found: Option<String>,
}

impl StopStrings {
    /// Looks for these; empty ones are left out.
    pub(crate) fn new(stops: impl IntoIterator<Item = String>) -> Self {
        StopStrings {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Adds text. The stop string that is complete first wins; of several complete at once, the longest.
    pub(crate) fn push(&mut self, text: &str) -> Scanned {
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
    pub(crate) fn finish(&mut self) -> String {
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
