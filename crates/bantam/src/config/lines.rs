//! The part of TOML that settings need: sections, and names with a text, a number, a flag, or a list of them on one
//! line. Anything else is refused by its line.

use std::collections::BTreeMap;

/// A value, and the line where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) value: Value,
    pub(super) number: usize,
}

/// What a name is set to, as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    One(String),
    Many(Vec<String>),
}

type Sections = BTreeMap<String, BTreeMap<String, Line>>;

/// Values by section and name; an error begins with the line's number.
pub(super) fn parse(text: &str) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut section = None;
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        let told = |why: &str| format!("{number}: {why}");
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (name, after) = rest.split_once(']').ok_or_else(|| told("a section without its end"))?;
            check_rest(after).map_err(|why| told(&why))?;
            section = Some(name.trim().to_owned());
            continue;
        }
        let section = section.as_ref().ok_or_else(|| told("wanted a section such as [serve] first"))?;
        let (name, rest) = line.split_once('=').ok_or_else(|| told("wanted NAME = VALUE"))?;
        let name = name.trim().trim_matches('"').to_owned();
        let (value, after) = value(rest.trim_start()).map_err(|why| told(&why))?;
        check_rest(after).map_err(|why| told(&why))?;
        let values = sections.entry(section.clone()).or_default();
        if values.insert(name.clone(), Line { value, number }).is_some() {
            return Err(told(&format!("`{name}` is set twice")));
        }
    }
    Ok(sections)
}

/// Nothing but a comment may stand behind a value.
fn check_rest(rest: &str) -> Result<(), String> {
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err(format!("wanted the line's end, found {rest:?}"))
    }
}

fn value(text: &str) -> Result<(Value, &str), String> {
    let Some(mut rest) = text.strip_prefix('[') else {
        let (one, rest) = one(text)?;
        return Ok((Value::One(one), rest));
    };
    let mut many = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix(']') {
            return Ok((Value::Many(many), rest));
        }
        let (item, after) = one(rest)?;
        many.push(item);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with(']') => {}
            None => return Err("wanted a comma or ] in a list, which ends on its line".into()),
        }
    }
}

/// A text in quotes, a number, or a flag.
fn one(text: &str) -> Result<(String, &str), String> {
    if let Some(rest) = text.strip_prefix('\'') {
        let (text, rest) = rest.split_once('\'').ok_or("a text without its end")?;
        return Ok((text.to_owned(), rest));
    }
    if let Some(rest) = text.strip_prefix('"') {
        return quoted(rest);
    }
    let end = text.find([',', ']', '#', ' ', '\t']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let number = word.replace('_', "");
    let is_number = number.parse::<f64>().is_ok_and(f64::is_finite);
    match word {
        "true" | "false" => Ok((word.to_owned(), rest)),
        _ if is_number => Ok((number, rest)),
        _ => Err(format!("wanted a text in quotes, a number, true or false, found {word:?}")),
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c @ ('"' | '\\')) => out.push(c),
                _ => {
                    return Err(
                        r#"wanted \n, \t, \" or \\ behind a backslash; in '...' it is like any other"#.into(),
                    );
                }
            },
            c => out.push(c),
        }
    }
    Err("a text without its end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_sections_and_kinds() {
        let text = "# settings\n[serve] # here\nhost = \"::1\" # an address\nqueue = 1_000\nquiet=true\n\
                    alias = [\"a=b\", 'c\\d',]\ntemperature = 0.5\nname = \"a # \\\"b\\\"\\n\"\nnone = []\n";
        let found = parse(text).unwrap();
        let one = |text: &str| Value::One(text.into());
        let at = |name: &str| found["serve"][name].value.clone();
        assert_eq!((at("host"), at("queue"), at("quiet")), (one("::1"), one("1000"), one("true")));
        assert_eq!(at("alias"), Value::Many(vec!["a=b".into(), "c\\d".into()]));
        assert_eq!((at("temperature"), at("name")), (one("0.5"), one("a # \"b\"\n")));
        assert_eq!((at("none"), found["serve"]["queue"].number), (Value::Many(vec![]), 4));
    }

    #[test]
    fn what_is_no_setting_is_told_by_its_line() {
        for bad in [
            "x = 1",
            "[s",
            "[s]x",
            "[s]\nx",
            "[s]\nx = y",
            "[s]\nx = \"a",
            "[s]\nx = [1",
            "[s]\nx = [1 2]",
            "[s]\nx = 1 2",
            "[s]\nx = {a = 1}",
            "[s]\nx = 1\nx = 2",
            "[s]\nx = \"\\u0041\"",
            "[s]\nx =",
            "[s]\nx = nan",
        ] {
            let error = parse(bad).unwrap_err();
            let last = bad.lines().count().to_string();
            assert!(error.starts_with(&last), "{bad:?}: {error}");
        }
    }
}
