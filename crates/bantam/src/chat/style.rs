//! Colours and weights of text on a terminal.

/// How text looks. A set of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style(u8);

impl Style {
    pub(crate) const PLAIN: Style = Style(0);
    pub(crate) const BOLD: Style = Style(1);
    pub(crate) const DIM: Style = Style(2);
    pub(crate) const ITALIC: Style = Style(4);
    pub(crate) const STRUCK: Style = Style(8);
    pub(crate) const CYAN: Style = Style(16);
    pub(crate) const YELLOW: Style = Style(32);

    /// Both.
    pub(crate) fn and(self, other: Style) -> Style {
        Style(self.0 | other.0)
    }

    /// The text in this style, and back to plain.
    pub(crate) fn painted(self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        format!("{}{text}{}", self.sequence(), Style::PLAIN.sequence())
    }

    /// Select Graphic Rendition (ECMA-48): from any style to this one.
    fn sequence(self) -> String {
        const CODES: [&str; 6] = [";1", ";2", ";3", ";9", ";36", ";33"];
        let codes = CODES.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 == 1);
        format!("\x1b[0{}m", codes.map(|(_, code)| *code).collect::<String>())
    }
}

/// Text with styles, written so that the terminal is told only of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Painter {
    out: String,
    written: Style,
}

impl Painter {
    /// Adds text. A line end is never styled: terminals fill the line with what is on.
    pub(crate) fn paint(&mut self, text: &str, style: Style) {
        if text.is_empty() {
            return;
        }
        if style != self.written {
            self.out.push_str(&style.sequence());
            self.written = style;
        }
        self.out.push_str(text);
    }

    /// Back to plain text.
    pub(crate) fn reset(&mut self) {
        if self.written != Style::PLAIN {
            self.out.push_str(&Style::PLAIN.sequence());
            self.written = Style::PLAIN;
        }
    }

    /// What is to be written to the terminal.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.out)
    }
}

/// <https://no-color.org>, and terminals that only type.
pub(crate) fn may_style() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The text with its control characters made visible, so that a model cannot steer the terminal.
pub(crate) fn visible(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        _ => c,
    };
    text.chars().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_written() {
        let mut painter = Painter::default();
        painter.paint("a", Style::BOLD);
        painter.paint("b", Style::BOLD);
        painter.paint("c", Style::BOLD.and(Style::CYAN));
        painter.reset();
        painter.reset();
        assert_eq!(painter.take(), "\x1b[0;1mab\x1b[0;1;36mc\x1b[0m");
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(visible("a\x1b[2J\r\u{9b}\x7f\tb\n"), "a␛[2J␍\u{fffd}␡\tb\n");
    }
}
