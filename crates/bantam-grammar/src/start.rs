//! Where in an answer a grammar begins to hold: at once, or behind what the model thinks.

use std::sync::Arc;

use bantam_engine::{Allowed, Constraint, Error};
use bantam_text::{Parser, Shown, TextStream, Tokenizer};

use crate::constraint::Following;
use crate::vocabulary::Tables;

/// Where a grammar begins to hold. Before that, an answer cannot end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the beginning.
    #[default]
    Now,
    /// Behind this mark, which must come: the model is thinking already, and everything is allowed.
    After(Mark),
    /// At the beginning, or behind `close` where the model begins with the token `open`.
    MayThink {
        /// Begins thinking.
        open: u32,
        /// Ends it.
        close: Mark,
    },
}

impl Start {
    /// Behind the thinking of an answer that this parser is to read.
    pub fn behind(parser: &Parser, tokenizer: &Tokenizer) -> Self {
        if let Some(close) = parser.thinking_close() {
            return Start::After(Mark::of(close, tokenizer));
        }
        let pair =
            parser.thinking_marks().find_map(|(open, close)| Some((tokenizer.special_id(open)?, close)));
        pair.map_or(Start::Now, |(open, close)| Start::MayThink { open, close: Mark::of(close, tokenizer) })
    }
}

/// What a grammar waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A token.
    Token(u32),
    /// A text, however it is cut into tokens. White space behind it in the same token is left out.
    Text(String),
}

impl Mark {
    /// The mark that a text is: its token where it has one of its own.
    pub fn of(text: &str, tokenizer: &Tokenizer) -> Self {
        tokenizer.special_id(text).map_or_else(|| Mark::Text(text.to_owned()), Mark::Token)
    }
}

/// An answer that the grammar does not hold for yet.
#[derive(Clone)]
pub(crate) struct Waiting {
    state: State,
    mark: Mark,
    following: Following,
    tables: Arc<Tables>,
    text: TextStream,
    /// The end of the text so far, as long as it may be the beginning of the mark.
    tail: String,
    words: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Thinking may begin with this token.
    MayThink(u32),
    Thinking,
    Following,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Clone for Following {
    fn clone(&self) -> Self {
        self.another()
    }
}

impl Waiting {
    pub(crate) fn new(
        following: Following,
        start: &Start,
        tables: Arc<Tables>,
        tokenizer: &Tokenizer,
    ) -> Self {
        let (state, mark) = match start {
            Start::Now => (State::Following, Mark::Text(String::new())),
            Start::After(mark) => (State::Thinking, mark.clone()),
            Start::MayThink { open, close } => (State::MayThink(*open), close.clone()),
        };
        let text = tokenizer.stream(Shown::All).continuing();
        let (tail, words) = (String::new(), Vec::new());
        Waiting { state, mark, following, tables, text, tail, words }
    }

    fn think(&mut self, token: u32) -> Result<(), Error> {
        match &self.mark {
            Mark::Token(mark) if *mark == token => self.state = State::Following,
            Mark::Token(_) => {}
            Mark::Text(mark) => {
                self.tail.push_str(&self.text.push(token));
                if let Some(place) = self.tail.find(mark.as_str()) {
                    let behind = self.tail[place + mark.len()..].trim_start().to_owned();
                    self.state = State::Following;
                    return self.following.commit_text(&behind);
                }
                let kept = self.tail.len().saturating_sub(mark.len());
                let kept = (0..=kept).rev().find(|at| self.tail.is_char_boundary(*at)).unwrap_or(0);
                self.tail.drain(..kept);
            }
        }
        Ok(())
    }
}

impl Constraint for Waiting {
    fn allowed(&mut self) -> Result<Allowed<'_>, Error> {
        match self.state {
            State::Following => self.following.allowed(),
            State::Thinking => Ok(Allowed::Set(&self.tables.unstopped)),
            State::MayThink(open) => {
                let Allowed::Set(words) = self.following.allowed()? else { return Ok(Allowed::All) };
                self.words.clear();
                self.words.extend_from_slice(words);
                if let Some(word) = self.words.get_mut(open as usize / 32) {
                    *word |= 1 << (open % 32);
                }
                Ok(Allowed::Set(&self.words))
            }
        }
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        match self.state {
            State::MayThink(open) if open == token => self.state = State::Thinking,
            State::MayThink(_) | State::Following => {
                self.state = State::Following;
                return self.following.commit(token);
            }
            State::Thinking => return self.think(token),
        }
        Ok(())
    }

    fn forced(&mut self) -> Result<Vec<u32>, Error> {
        match self.state {
            State::Following => self.following.forced(),
            State::MayThink(_) | State::Thinking => Ok(Vec::new()),
        }
    }

    fn is_complete(&self) -> bool {
        self.state == State::Following && self.following.is_complete()
    }

    fn close_soon(&mut self) {
        self.following.close_soon();
    }

    fn is_cut_short(&self) -> bool {
        self.following.is_cut_short()
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}
