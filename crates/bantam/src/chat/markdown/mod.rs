//! Markdown as it streams: styles are added, nothing is taken away and nothing is drawn twice.
//!
//! Invariants, both tested: without its escape sequences the output is the input, markers included (they are dimmed);
//! and however the input is split, the output is the same. The second holds because a decision is only made when no
//! text that may follow could change it; until then a few characters are held back.

mod block;
mod inline;

use super::style::{Painter, Style};
use block::{Block, block_at};
use inline::{Emphasis, run_at};

/// Where in a line we are.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// Only indentation and markers came before.
    LineStart,
    Text,
    /// In a code span that so many backticks opened.
    Code(usize),
    /// In a fenced block, at the start of a line.
    FenceStart(Fence),
    FenceText(Fence),
}

/// What opened a fenced block.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fence {
    mark: char,
    length: usize,
}

/// Markdown in, styled text out.
pub(crate) struct Markdown {
    held: String,
    place: Place,
    /// Of the line: heading, quote.
    base: Style,
    open: Vec<Emphasis>,
    /// The character before, in this line.
    before: Option<char>,
    painter: Painter,
}

impl Markdown {
    pub(crate) fn new() -> Self {
        Markdown {
            held: String::new(),
            place: Place::LineStart,
            base: Style::PLAIN,
            open: Vec::new(),
            before: None,
            painter: Painter::default(),
        }
    }

    /// Adds text; gives what can be written now.
    pub(crate) fn push(&mut self, text: &str) -> String {
        self.held.push_str(text);
        while self.step(false) {}
        self.painter.take()
    }

    /// The rest, when the text is over; the next text begins anew.
    pub(crate) fn finish(&mut self) -> String {
        while self.step(true) {}
        self.painter.reset();
        let rest = self.painter.take();
        *self = Markdown::new();
        rest
    }

    /// Takes something off the front of what is held; false if that must wait.
    fn step(&mut self, is_end: bool) -> bool {
        if self.held.is_empty() {
            return false;
        }
        if self.held.starts_with('\n') {
            self.end_line();
            return true;
        }
        match self.place.clone() {
            Place::LineStart => self.start_line(is_end),
            Place::Text => self.text(is_end),
            Place::Code(length) => self.code(length, is_end),
            Place::FenceStart(fence) => self.fence_start(fence, is_end),
            Place::FenceText(_) => {
                let end = self.held.find('\n').unwrap_or(self.held.len());
                self.emit(end, Style::CYAN);
                true
            }
        }
    }

    fn end_line(&mut self) {
        self.painter.reset();
        self.emit(1, Style::PLAIN);
        self.place = match self.place {
            Place::FenceStart(fence) | Place::FenceText(fence) => Place::FenceStart(fence),
            _ => Place::LineStart,
        };
        self.base = Style::PLAIN;
        self.open.clear();
        self.before = None;
    }

    fn start_line(&mut self, is_end: bool) -> bool {
        match block_at(&self.held, is_end) {
            Block::Undecided => return false,
            Block::Indent => self.emit(1, Style::PLAIN),
            Block::Quote => {
                self.base = Style::ITALIC;
                self.emit(1, Style::DIM);
            }
            Block::Heading(marks) => {
                self.base = Style::BOLD;
                self.emit(marks, Style::DIM);
                self.place = Place::Text;
            }
            Block::Item(bytes) => {
                self.emit(bytes, Style::YELLOW);
                self.place = Place::Text;
            }
            Block::Rule(bytes) => {
                self.emit(bytes, Style::DIM);
                self.place = Place::Text;
            }
            Block::Fence { mark, length, bytes } => {
                self.emit(bytes, Style::DIM);
                self.place = Place::FenceText(Fence { mark, length });
            }
            Block::Text => self.place = Place::Text,
        }
        true
    }

    /// A line of a fenced block ends it if it holds only a fence at least as long (CommonMark 4.5).
    fn fence_start(&mut self, fence: Fence, is_end: bool) -> bool {
        let line = self.held.split('\n').next().unwrap_or_default();
        let marks = line.trim_matches([' ', '\t']);
        let may_close = marks.chars().all(|c| c == fence.mark);
        if !may_close {
            self.place = Place::FenceText(fence);
        } else if line.len() < self.held.len() || is_end {
            if marks.len() >= fence.length {
                self.emit(line.len(), Style::DIM);
                self.place = Place::Text;
            } else {
                self.place = Place::FenceText(fence);
            }
        } else {
            return false;
        }
        true
    }

    fn text(&mut self, is_end: bool) -> bool {
        let plain = self.held.find(['\n', '\\', '`', '*', '_', '~']).unwrap_or(self.held.len());
        if plain > 0 {
            self.emit(plain, self.style());
            return true;
        }
        if self.held.starts_with('\\') {
            return self.escape(is_end);
        }
        let Some(run) = run_at(&self.held, is_end) else { return false };
        match run.mark {
            '`' => {
                self.emit(run.length, self.style().and(Style::DIM));
                self.place = Place::Code(run.length);
            }
            _ => {
                let changes = run.emphasis(self.before, &mut self.open);
                let style = if changes { self.style().and(Style::DIM) } else { self.style() };
                self.emit(run.length, style);
            }
        }
        true
    }

    /// A backslash takes the meaning from punctuation.
    fn escape(&mut self, is_end: bool) -> bool {
        let escaped = self.held[1..].chars().next();
        match escaped {
            None if !is_end => return false,
            Some(c) if c.is_ascii_punctuation() => {
                self.emit(1, self.style().and(Style::DIM));
                self.emit(1, self.style());
            }
            _ => self.emit(1, self.style()),
        }
        true
    }

    fn code(&mut self, length: usize, is_end: bool) -> bool {
        let plain = self.held.find(['\n', '`']).unwrap_or(self.held.len());
        if plain > 0 {
            self.emit(plain, self.style().and(Style::CYAN));
            return true;
        }
        let Some(run) = run_at(&self.held, is_end) else { return false };
        if run.length == length {
            self.emit(run.length, self.style().and(Style::DIM));
            self.place = Place::Text;
        } else {
            self.emit(run.length, self.style().and(Style::CYAN));
        }
        true
    }

    fn style(&self) -> Style {
        self.open.iter().fold(self.base, |style, emphasis| style.and(emphasis.style()))
    }

    /// Paints so many bytes off the front.
    fn emit(&mut self, bytes: usize, style: Style) {
        let text: String = self.held.drain(..bytes).collect();
        self.before = text.chars().next_back();
        self.painter.paint(&text, style);
    }
}

#[cfg(test)]
mod tests;
