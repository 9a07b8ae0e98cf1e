//! Rust text with its comments and literals taken out.
//!
//! A scanner, not a compiler: macro-made code is seen as written. The invariant the rest of `tidy` leans on is
//! that `code` has the length and the line ends of the text, so that an offset means the same in both.

/// A file taken apart.
pub(crate) struct Lexed {
    /// The text; comments are spaces, literals are underscores.
    pub(crate) code: String,
    /// One entry per line of comment.
    pub(crate) comments: Vec<Comment>,
    /// String literals without their quotes.
    pub(crate) strings: Vec<Literal>,
}

/// One line of a comment.
pub(crate) struct Comment {
    /// Counted from 0.
    pub(crate) line: usize,
    pub(crate) text: String,
    /// `///`, `//!`, `/** */` or `/*! */`.
    pub(crate) is_doc: bool,
}

/// A string literal as written, escapes kept.
pub(crate) struct Literal {
    pub(crate) offset: usize,
    pub(crate) text: String,
}

/// Takes `text` apart. Unclosed comments and strings run to the end.
pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer { text, code: text.as_bytes().to_vec(), comments: Vec::new(), strings: Vec::new() };
    let mut at = 0;
    while at < text.len() {
        at = lexer.step(at);
    }
    Lexed {
        code: String::from_utf8_lossy(&lexer.code).into_owned(),
        comments: lexer.comments,
        strings: lexer.strings,
    }
}

struct Lexer<'a> {
    text: &'a str,
    code: Vec<u8>,
    comments: Vec<Comment>,
    strings: Vec<Literal>,
}

impl Lexer<'_> {
    /// Handles what begins at `at`; returns where the next thing begins.
    fn step(&mut self, at: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        match rest {
            [b'/', b'/', ..] => self.comment(at, line_end(rest)),
            [b'/', b'*', ..] => self.comment(at, block_comment_end(rest)),
            [b'"', ..] => self.string(at, 1, quoted_end(rest, b'"'), 1),
            [b'\'', ..] => self.character(at, rest),
            [b'r' | b'b' | b'c', ..] if !self.is_inside_word(at) => self.prefixed(at, rest),
            _ => at + 1,
        }
    }

    fn is_inside_word(&self, at: usize) -> bool {
        at > 0 && is_word_byte(self.text.as_bytes()[at - 1])
    }

    fn comment(&mut self, at: usize, length: usize) -> usize {
        let text = &self.text[at..at + length];
        let is_doc = is_doc(text);
        let first = self.text[..at].bytes().filter(|&byte| byte == b'\n').count();
        for (index, line) in text.split('\n').enumerate() {
            self.comments.push(Comment { line: first + index, text: line.trim().to_owned(), is_doc });
        }
        self.fill(at, length, b' ');
        at + length
    }

    /// A literal of `length` bytes whose text lies between `open` and `close` bytes of quotes.
    fn string(&mut self, at: usize, open: usize, length: usize, close: usize) -> usize {
        let end = (at + length).saturating_sub(close).max(at + open);
        let text = self.text.get(at + open..end).unwrap_or_default().to_owned();
        self.strings.push(Literal { offset: at, text });
        self.fill(at, length, b'_');
        at + length
    }

    /// `r".."`, `br#".."#`, `b".."`, `c".."`, `b'x'`, or just a word that starts with such a letter.
    fn prefixed(&mut self, at: usize, rest: &[u8]) -> usize {
        let letters = rest.iter().take_while(|&&byte| matches!(byte, b'r' | b'b' | b'c')).count();
        let hashes = rest[letters..].iter().take_while(|&&byte| byte == b'#').count();
        let is_raw = rest[letters - 1] == b'r';
        match rest.get(letters + hashes) {
            Some(b'"') if letters <= 2 && is_raw => {
                let open = letters + hashes + 1;
                self.string(at, open, open + raw_end(&rest[open..], hashes), hashes + 1)
            }
            Some(b'"') if letters == 1 && hashes == 0 => {
                self.string(at, 2, 1 + quoted_end(&rest[1..], b'"'), 1)
            }
            _ => at + letters,
        }
    }

    /// A character literal; a lifetime has no closing quote and is left alone.
    fn character(&mut self, at: usize, rest: &[u8]) -> usize {
        let one = self.text[at + 1..].chars().next().map_or(1, char::len_utf8);
        let length = match rest.get(1) {
            Some(b'\\') => quoted_end(rest, b'\''),
            _ if rest.get(1 + one) == Some(&b'\'') => one + 2,
            _ => return at + 1,
        };
        self.fill(at, length, b'_');
        at + length
    }

    fn fill(&mut self, at: usize, length: usize, filler: u8) {
        for byte in &mut self.code[at..at + length] {
            if *byte != b'\n' {
                *byte = filler;
            }
        }
    }
}

pub(crate) fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn is_doc(comment: &str) -> bool {
    let line = comment.starts_with("///") && !comment.starts_with("////");
    let block = comment.starts_with("/**") && !comment.starts_with("/***") && comment != "/**/";
    line || block || comment.starts_with("//!") || comment.starts_with("/*!")
}

fn line_end(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment_end(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a quoted literal, its quotes included.
fn quoted_end(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a raw string after its opening quote, its end included.
fn raw_end(rest: &[u8], hashes: usize) -> usize {
    let is_end = |at: &usize| {
        rest[*at] == b'"' && rest[at + 1..].iter().take_while(|&&byte| byte == b'#').count() >= hashes
    };
    (0..rest.len()).find(is_end).map_or(rest.len(), |at| at + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: &str) -> Lexed {
        let lexed = lex(text);
        assert_eq!(lexed.code, code);
        lexed
    }

    #[test]
    fn comments_become_spaces_and_keep_their_kind() {
        let lexed = check("a // b\n/// c\nd", "a     \n     \nd");
        assert_eq!(lexed.comments.len(), 2);
        assert!(!lexed.comments[0].is_doc && lexed.comments[1].is_doc);
        assert_eq!(lexed.comments[1].line, 1);
        check("/* a /* b */ c */d", "                 d");
        check("/* open", "       ");
    }

    #[test]
    fn strings_become_underscores() {
        let lexed = check(r#"f("a\"b", 'c')"#, "f(______, ___)");
        assert_eq!(lexed.strings[0].text, r#"a\"b"#);
        assert_eq!(check("r#\"a\"b\"# x", "________ x").strings[0].text, "a\"b");
        check("b\"ab\" b'c'", "_____ b___");
        check("\"open", "_____");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("r#type + crab", "r#type + crab");
        check(r"'\'' '\u{1f}' 'é'", "____ ________ ____");
    }

    #[test]
    fn a_slash_in_a_string_is_no_comment() {
        assert!(check("\"https://x\"", "___________").comments.is_empty());
    }
}
