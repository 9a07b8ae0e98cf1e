//! What a trainer gets: ids, and which of them are learnt.

use serde::Serialize;

/// Where an example comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// The file's place in [`Report::files`](crate::Report::files).
    pub file: usize,
    /// The line, from 1; the row of a table; in a text file the line where the document begins.
    pub line: usize,
}

/// A sequence of ids. `ids` and `learn` are equally long, `learn[0]` is false, and some other is true.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The ids.
    pub ids: Vec<u32>,
    /// Whether an id is a target: what the model, given the ids before it, is to say.
    pub learn: Vec<bool>,
    /// What the column to order by says; `None` where it says no number.
    pub rank: Option<f64>,
    /// Where it comes from. Several examples come from one line if it is long, or a chat that is learnt turn
    /// by turn.
    pub origin: Origin,
}

impl Example {
    /// How many ids are learnt.
    pub fn learnt(&self) -> usize {
        self.learn.iter().filter(|learn| **learn).count()
    }

    /// What it is ordered by.
    pub fn key(&self) -> Key {
        Key { length: self.ids.len(), rank: self.rank }
    }
}

/// What examples are ordered by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// How many ids there are.
    pub length: usize,
    /// The greater the later, or the better; examples without one are the last or the worst.
    pub rank: Option<f64>,
}

/// A better and a worse answer to the same prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The better one; what is learnt is the answer.
    pub chosen: Example,
    /// The worse one.
    pub rejected: Example,
}

impl Pair {
    /// How many ids both have at their beginning: the prompt, at least.
    pub fn shared(&self) -> usize {
        let both = self.chosen.ids.iter().zip(&self.rejected.ids);
        both.take_while(|(chosen, rejected)| chosen == rejected).count()
    }
}
