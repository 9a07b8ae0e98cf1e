//! What the beginning of a line says: heading, list item, quote, rule, fence.

/// What stands at the front of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// More text is needed to tell.
    Undecided,
    /// A space or tab.
    Indent,
    /// `>`
    Quote,
    /// So many `#`.
    Heading(usize),
    /// A list marker of so many bytes.
    Item(usize),
    /// A rule of so many bytes.
    Rule(usize),
    /// The line that opens a fenced block.
    Fence { mark: char, length: usize, bytes: usize },
    /// Nothing special.
    Text,
}

/// A fence's info string is held back up to here: the line might be a code span after all.
const INFO_BYTES_MAX: usize = 64;

/// Looks at the front of `text`, which is not empty.
pub(super) fn block_at(text: &str, is_end: bool) -> Block {
    let undecided = if is_end { Block::Text } else { Block::Undecided };
    let first = text.chars().next().unwrap_or('\n');
    let marks = text.chars().take_while(|&c| c == first).count();
    let next = || text[marks..].chars().next();
    match first {
        ' ' | '\t' => Block::Indent,
        '>' => Block::Quote,
        '#' => match next() {
            None => undecided,
            Some(' ') if marks <= 6 => Block::Heading(marks),
            Some(_) => Block::Text,
        },
        '`' | '~' => match next() {
            None if !is_end => Block::Undecided,
            _ if marks >= 3 => fence(text, first, marks, is_end),
            _ => Block::Text,
        },
        '-' | '*' | '+' | '_' => match next() {
            None if is_end && marks >= 3 => Block::Rule(marks),
            None => undecided,
            Some(' ') if marks == 1 && first != '_' => Block::Item(1),
            Some('\n') if marks >= 3 && first != '+' => Block::Rule(marks),
            Some(_) => Block::Text,
        },
        '0'..='9' => numbered(text, undecided),
        _ => Block::Text,
    }
}

/// `12.` or `12)` and a space.
fn numbered(text: &str, undecided: Block) -> Block {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let mut behind = text[digits..].chars();
    match (behind.next(), behind.next()) {
        _ if digits > 9 => Block::Text,
        (None, _) | (Some('.' | ')'), None) => undecided,
        (Some('.' | ')'), Some(' ')) => Block::Item(digits + 1),
        _ => Block::Text,
    }
}

/// Backticks at the start of a line open a block only if no backtick follows in the line (CommonMark 4.5).
fn fence(text: &str, mark: char, length: usize, is_end: bool) -> Block {
    let info = &text[length..];
    let end = info.bytes().take(INFO_BYTES_MAX).position(|b| b == b'\n' || b == b'`' && mark == '`');
    match end {
        Some(end) if info.as_bytes()[end] == b'\n' => Block::Fence { mark, length, bytes: length + end },
        Some(_) => Block::Text,
        None if info.len() >= INFO_BYTES_MAX => Block::Text,
        None if is_end => Block::Fence { mark, length, bytes: text.len() },
        None => Block::Undecided,
    }
}
