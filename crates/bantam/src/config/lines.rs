//! A file of settings in TOML: sections, and in them names with a text, a number, a flag, or a list of them. What else
//! TOML has is refused by its line.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

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
    let told = |place: Range<usize>, why: &str| format!("{}: {why}", number(text, place.start));
    let document = DeTable::parse(text).map_err(|error| refusal(text, &error))?.into_inner();
    let mut sections = Sections::new();
    for (section, values) in document {
        let DeValue::Table(values) = values.into_inner() else {
            let why = format!("wanted a section such as [serve] before `{}`", section.get_ref());
            return Err(told(section.span(), &why));
        };
        let line = |(name, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let found = self::value(value.get_ref()).map_err(|why| told(value.span(), &why))?;
            let number = number(text, name.span().start);
            Ok((String::from(name.into_inner()), Line { value: found, number }))
        };
        let values = values.into_iter().map(line).collect::<Result<_, String>>()?;
        sections.insert(section.into_inner().into_owned(), values);
    }
    Ok(sections)
}

/// The line of a place, from 1.
fn number(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}

/// What is no TOML, with its line and what stands there.
fn refusal(text: &str, error: &toml::de::Error) -> String {
    let place = error.span().unwrap_or_default();
    let line = number(text, place.start);
    let found = text.lines().nth(line - 1).unwrap_or_default().trim();
    format!("{line}: {}, in `{found}`", error.message())
}

fn value(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::Array(items) => {
            Ok(Value::Many(items.iter().map(|item| one(item.get_ref())).collect::<Result<_, _>>()?))
        }
        value => Ok(Value::One(one(value)?)),
    }
}

/// A text, a number, or a flag, as the command line would have it.
fn one(value: &DeValue<'_>) -> Result<String, String> {
    let wanted = "wanted a text in quotes, a number, true or false";
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Integer(number) => decimal(number).ok_or_else(|| format!("{wanted}, found {number}")),
        DeValue::Float(number) if number.as_str().parse().is_ok_and(f64::is_finite) => {
            Ok(number.as_str().to_owned())
        }
        DeValue::Float(number) => Err(format!("{wanted}, found {number}")),
        other => Err(format!("{wanted}, found a value of the kind `{}`", other.type_str())),
    }
}

fn decimal(number: &DeInteger<'_>) -> Option<String> {
    i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_sections_and_kinds() {
        let text = "# settings\n[serve] # here\nhost = \"::1\" # an address\nqueue = 1_000\nquiet=true\n\
                    alias = [\"a=b\", 'c\\d',]\ntemperature = 0.5\nname = \"a # \\\"b\\\"\\n\"\nnone = []\n\
                    cache = 0x10\n";
        let found = parse(text).unwrap();
        let one = |text: &str| Value::One(text.into());
        let at = |name: &str| found["serve"][name].value.clone();
        assert_eq!((at("host"), at("queue"), at("quiet")), (one("::1"), one("1000"), one("true")));
        assert_eq!(at("alias"), Value::Many(vec!["a=b".into(), "c\\d".into()]));
        assert_eq!((at("temperature"), at("name")), (one("0.5"), one("a # \"b\"\n")));
        assert_eq!((at("none"), found["serve"]["queue"].number), (Value::Many(vec![]), 4));
        assert_eq!(at("cache"), one("16"));
    }

    #[test]
    fn all_of_tomls_texts_and_lists_are_read() {
        let text = "[s]\na = \"\\u0041\\U0001F600\"\r\nb = [\n  1, # one\n  'two',\n]\nc = '''\nx\ny'''\n\"d e\" = 1\n\
                    [t]\nf = 1e-3\n";
        let found = parse(text).unwrap();
        assert_eq!(found["s"]["a"].value, Value::One("A😀".into()));
        assert_eq!(found["s"]["b"], Line { value: Value::Many(vec!["1".into(), "two".into()]), number: 3 });
        assert_eq!(found["s"]["c"].value, Value::One("x\ny".into()));
        assert_eq!((found["s"]["d e"].number, found["t"]["f"].number), (10, 12));
    }

    #[test]
    fn what_is_no_setting_is_told_by_its_line() {
        for bad in [
            "x = 1",
            "\nx = []",
            "[s",
            "[s]x",
            "[s]\nx",
            "[s]\nx = y",
            "[s]\nx = \"a",
            "[s]\nx = [1",
            "[s]\nx = [1 2]",
            "[s]\nx = [[1]]",
            "[s]\nx = 1 2",
            "[s]\nx = {a = 1}",
            "[s]\na.b = 1",
            "\n[[s]]",
            "[s]\nx = 1\nx = 2",
            "[s]\nx = 1\n[s]",
            "[s]\nx = \"\\uD800\"",
            "[s]\nx =",
            "[s]\nx = nan",
            "[s]\nx = inf",
            "[s]\nx = 1e999",
            "[s]\nx = 1979-05-27",
            "[s]\nx = 999999999999999999999999999999999999999999",
        ] {
            let error = parse(bad).unwrap_err();
            let last = format!("{}: ", bad.lines().count());
            assert!(error.starts_with(&last), "{bad:?}: {error}");
        }
        let error = parse("[s]\n\nx = [1 2]\n").unwrap_err();
        assert!(error.starts_with("3: ") && error.contains("x = [1 2]"), "{error}");
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        assert!(parse(&format!("[s]\nx = {}", "[".repeat(100_000))).is_err());
        assert!(parse(&format!("[s]\nx = {}", "{a=".repeat(100_000))).is_err());
    }
}
