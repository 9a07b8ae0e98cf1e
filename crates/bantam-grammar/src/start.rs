//! Where in an answer a grammar begins to hold: at once, or behind what the model thinks.

use std::sync::Arc;

use bantam_engine::{Allowed, Constraint, Error};
use bantam_text::{Parser, Shown, TextStream, Tokenizer};

use crate::constraint::Following;
use crate::tables::Tables;

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
    /// Tokens of the shortest answer that is known, once it was looked for; none is where none was found.
    least: Option<Option<usize>>,
    /// What ends the thinking at once, the next one last; none before it has to.
    end: Vec<u32>,
    /// Whether thinking was ended, or left out, for want of tokens.
    is_cut: bool,
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
        let (tail, words, end) = (String::new(), Vec::new(), Vec::new());
        Waiting { state, mark, following, tables, text, tail, words, least: None, end, is_cut: false }
    }

    /// The tokens that end the thinking, whatever was thought.
    fn close(&self) -> Vec<u32> {
        match &self.mark {
            Mark::Token(id) => vec![*id],
            Mark::Text(text) => self.tables.words.tokenize_bytes(format!("\n{text}").as_bytes()),
        }
    }

    /// Tokens that the end of the thinking and the shortest answer that is known take; `None` where none is known.
    fn needed(&mut self) -> Option<usize> {
        let following = &self.following;
        let least = *self.least.get_or_insert_with(|| following.way_out(usize::MAX).map(|way| way.len()));
        Some(least? + self.close().len())
    }

    /// What comes where `token` begins the thinking: what begins the answer, if there is no time for both.
    fn thinking_or_not(&mut self, token: u32, left: usize) -> u32 {
        let is_short = self.needed().is_some_and(|needed| left <= needed + SPARE_TOKENS);
        let way = if is_short { self.following.way_out(left) } else { None };
        let first = way.and_then(|way| way.first().copied());
        self.is_cut |= first.is_some();
        first.unwrap_or(token)
    }

    /// What comes while the model thinks, where it chose `token`.
    fn still_thinking(&mut self, token: u32, left: usize) -> u32 {
        let is_time = |needed: usize| (needed..=needed + SPARE_TOKENS).contains(&left);
        if self.end.is_empty() && self.needed().is_some_and(is_time) {
            self.end = self.close();
            self.end.reverse();
            self.is_cut = true;
        }
        self.end.last().copied().unwrap_or(token)
    }

    fn think(&mut self, token: u32) -> Result<(), Error> {
        self.end.pop();
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

/// Thinking is ended a little before it has to be: something else may be ending it, too.
const SPARE_TOKENS: usize = 8;

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

    fn in_time(&mut self, token: u32, left: usize) -> Result<Option<u32>, Error> {
        match self.state {
            State::Following => self.following.in_time(token, left),
            State::MayThink(open) if open != token => self.following.in_time(token, left),
            State::MayThink(_) => Ok(Some(self.thinking_or_not(token, left))),
            State::Thinking => Ok(Some(self.still_thinking(token, left))),
        }
    }

    fn is_cut_short(&self) -> bool {
        self.is_cut || self.following.is_cut_short()
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}
