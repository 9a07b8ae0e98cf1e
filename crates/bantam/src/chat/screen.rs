//! Text and thinking as they are printed.
//!
//! In a pipe, what is printed is what the model said, byte for byte, and one line end if that lacks it. On a
//! terminal, control characters are made visible; styles are added where the terminal has them.

use std::io::{Result, Write};

use bantam::Chunk;

use super::markdown::Markdown;
use super::style::{Style, visible};

/// How text is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As it is.
    Raw,
    /// For a terminal without styles.
    Plain,
    /// For a terminal with them.
    Styled,
}

/// Standard output, as one answer after another comes.
pub(crate) struct Screen {
    look: Look,
    pub(crate) shows_thinking: bool,
    markdown: Markdown,
    is_thinking: bool,
    /// The last character printed in this answer.
    last: Option<char>,
}

impl Screen {
    pub(crate) fn new(look: Look, shows_thinking: bool) -> Self {
        Screen { look, shows_thinking, markdown: Markdown::new(), is_thinking: false, last: None }
    }

    /// Prints some more.
    pub(crate) fn chunk(&mut self, chunk: &Chunk) -> Result<()> {
        let text = self.render(chunk);
        print(&text)
    }

    /// Ends the answer, with a line end if it has none.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let text = self.render_end();
        print(&text)
    }

    fn render(&mut self, chunk: &Chunk) -> String {
        let mut out = String::new();
        if !chunk.thinking.is_empty() && self.shows_thinking {
            if !self.is_thinking {
                self.is_thinking = true;
                out.push_str(&self.marker("<think>"));
            }
            out.push_str(&self.thought(&chunk.thinking));
        }
        if !chunk.text.is_empty() {
            out.push_str(&self.end_thinking());
            out.push_str(&self.said(&chunk.text));
        }
        out
    }

    fn render_end(&mut self) -> String {
        let mut out = self.end_thinking();
        out.push_str(&self.markdown.finish());
        if self.last.take().is_some_and(|last| last != '\n') {
            out.push('\n');
        }
        out
    }

    fn end_thinking(&mut self) -> String {
        if std::mem::take(&mut self.is_thinking) { self.marker("</think>") } else { String::new() }
    }

    fn marker(&mut self, text: &str) -> String {
        self.last = text.chars().next_back();
        match self.look {
            Look::Raw | Look::Plain => text.to_owned(),
            Look::Styled => Style::DIM.painted(text),
        }
    }

    fn thought(&mut self, text: &str) -> String {
        self.last = text.chars().next_back();
        match self.look {
            Look::Raw => text.to_owned(),
            Look::Plain => visible(text),
            // Line by line: a line end is never styled.
            Look::Styled => {
                let lines = visible(text).split('\n').map(|line| Style::DIM.painted(line)).collect::<Vec<_>>();
                lines.join("\n")
            }
        }
    }

    fn said(&mut self, text: &str) -> String {
        self.last = text.chars().next_back();
        match self.look {
            Look::Raw => text.to_owned(),
            Look::Plain => visible(text),
            Look::Styled => self.markdown.push(&visible(text)),
        }
    }
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(look: Look, chunks: &[(&str, &str)]) -> String {
        let mut screen = Screen::new(look, true);
        let chunk = |(thinking, text): &(&str, &str)| Chunk {
            token: None,
            thinking: (*thinking).to_owned(),
            text: (*text).to_owned(),
        };
        let mut out: String = chunks.iter().map(|part| screen.render(&chunk(part))).collect();
        out.push_str(&screen.render_end());
        out
    }

    #[test]
    fn a_pipe_gets_every_byte() {
        let said = "**x** `y`\x1b[2J\r\n# z *";
        assert_eq!(all(Look::Raw, &[("", &said[..4]), ("", &said[4..])]), format!("{said}\n"));
        assert_eq!(all(Look::Raw, &[("hm", ""), ("m\n", "yes\n")]), "<think>hmm\n</think>yes\n");
    }

    #[test]
    fn thinking_is_dimmed() {
        let shown = all(Look::Styled, &[("a\nb", ""), ("", "c")]);
        let dim = |text: &str| format!("\x1b[0;2m{text}\x1b[0m");
        assert_eq!(shown, format!("{}{}\n{}{}c\n", dim("<think>"), dim("a"), dim("b"), dim("</think>")));
    }

    #[test]
    fn a_terminal_is_not_steered() {
        assert_eq!(all(Look::Plain, &[("", "a\x1b]0;b\x07")]), "a␛]0;b␇\n");
    }
}
