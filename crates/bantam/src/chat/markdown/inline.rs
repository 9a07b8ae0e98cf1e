//! Emphasis: which run of marks opens it, and which closes it.

use crate::chat::style::Style;

/// An emphasis that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Emphasis {
    mark: char,
    length: usize,
}

impl Emphasis {
    pub(super) fn style(self) -> Style {
        match (self.mark, self.length) {
            ('~', _) => Style::STRUCK,
            (_, 1) => Style::ITALIC,
            _ => Style::BOLD,
        }
    }
}

/// Equal marks, and what follows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) mark: char,
    /// One byte each.
    pub(super) length: usize,
    after: Option<char>,
}

/// The run at the front of `text`, once its end is seen.
pub(super) fn run_at(text: &str, is_end: bool) -> Option<Run> {
    let mark = text.chars().next()?;
    let length = text.chars().take_while(|&c| c == mark).count();
    let after = text[length..].chars().next();
    (after.is_some() || is_end).then_some(Run { mark, length, after })
}

impl Run {
    /// Opens and closes emphasis; false if the run is just text. Stricter than CommonMark within words, where `*` is
    /// more often a product than emphasis.
    pub(super) fn emphasis(self, before: Option<char>, open: &mut Vec<Emphasis>) -> bool {
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let within_word = is_word(self.after) && self.mark == '_';
        let can_close = !is_space(before) && !within_word;
        let can_open = !is_space(self.after) && !is_word(before);
        let mut left = self.length;
        while can_close
            && let Some(top) = open.last()
            && top.mark == self.mark
            && top.length <= left
        {
            left -= top.length;
            open.pop();
        }
        let closed = left < self.length;
        if can_open && !closed {
            let lengths: &[usize] = match (self.mark, left) {
                ('~', 2) | ('*' | '_', 2) => &[2],
                ('*' | '_', 1) => &[1],
                ('*' | '_', 3) => &[2, 1],
                _ => &[],
            };
            open.extend(lengths.iter().map(|&length| Emphasis { mark: self.mark, length }));
            return !lengths.is_empty();
        }
        closed
    }
}
