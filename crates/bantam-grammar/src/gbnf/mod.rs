//! GBNF, llama.cpp's form of grammars, in Lark, in which the same texts are right.
//!
//! What follows Lark takes for each lexeme as many bytes as it can and never goes back, where GBNF knows characters alone:
//! `[a-z]+ "x"` as two lexemes would have no text at all. So a grammar of which no rule needs to lead to itself becomes one
//! pattern, and any other is followed character by character. Greater lexemes, where these can be told by the bytes that
//! come next, make masks of JSON in 0.01 ms rather than 1.1 (of 49,152 tokens), and take twice as much code: not kept.

mod lark;
mod parse;
mod parts;
mod regular;

use parts::Part;

use crate::error::Error;

/// A grammar in Lark.
///
/// # Errors
///
/// What is wrong with it, and in which line.
pub(crate) fn to_lark(source: &str) -> Result<String, Error> {
    let mut grammar = parse::parse(source)?;
    regular::check_ends(&grammar)?;
    regular::inline(&mut grammar);
    let root = grammar.rules[grammar.root].body;
    let has_text = !matches!(grammar.parts.part(root), Part::Seq(ids) if ids.is_empty());
    if has_text && grammar.parts.is_pattern(root) {
        return Ok(format!("start: /{}/\n", grammar.parts.pattern(root)));
    }
    lark::write(&grammar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_need_no_rules_become_one_pattern() {
        for (source, pattern) in [
            ("root ::= [a-z]+ \"x\"", "(?:[a-z])+x"),
            ("root ::= a a\na ::= \"b\" | c\nc ::= [0-9]{2}", "(?:b|(?:[0-9]){2,2})(?:b|(?:[0-9]){2,2})"),
            ("root ::= \"a\" ws\nws ::= ([ \\t] ws)?", "a(?:[\\x{9}\\x{20}])*"),
            ("root ::= root \"b\" | \"a\"", "a(?:b)*"),
            ("root ::= \"a\" root | \"c\" root | \"b\"", "(?:(?:a|c))*b"),
        ] {
            assert_eq!(to_lark(source).unwrap(), format!("start: /{pattern}/\n"), "{source}");
        }
        for source in [
            "root ::= \"(\" root \")\" | \"a\"",
            "root ::= a \"c\" | \"d\"\na ::= root \"b\" | \"e\"",
            "root ::= \"\"",
        ] {
            assert!(to_lark(source).unwrap().starts_with("start: p"), "{source}");
        }
    }
}
