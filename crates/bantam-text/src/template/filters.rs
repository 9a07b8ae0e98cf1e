//! Filters, tests and methods as Jinja and Python have them, where the engine's differ or know no bound.

use std::sync::Arc;

use minijinja::value::{Kwargs, Object, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

use super::budget::{charge, charge_value, exceeded, weight};
use super::json;

/// Widths, counts and precisions above this are refused: they make long texts from nothing.
const NUMBER_MAX: i64 = 10_000;

pub(super) fn add_to(env: &mut Environment<'_>) {
    env.add_filter("tojson", json::tojson);
    env.add_filter("indent", indent);
    env.add_test("iterable", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::String | ValueKind::Undefined
        )
    });
    env.add_global("bounded-filter", Value::from_object(Call::Filter));
    env.add_global("bounded-test", Value::from_object(Call::Test));
    env.add_global("bounded-method", Value::from_object(Call::Method));
}

/// Calls what its last argument names, and charges for it.
#[derive(Debug)]
enum Call {
    Filter,
    Test,
    Method,
}

impl Object for Call {
    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (name, args) = split(args)?;
        let (first, rest) = args.split_first().ok_or_else(unnamed)?;
        check(state, name, args)?;
        let value = match **self {
            Self::Filter => state.apply_filter(name, args).map_err(|e| named(e, name))?,
            Self::Test => state.perform_test(name, args).map(Value::from).map_err(|e| named(e, name))?,
            Self::Method => first.call_method(state, name, rest)?,
        };
        charge_value(state, &value)
    }
}

/// The engine's error for an unknown filter or test, which does not say its name.
fn named(error: Error, name: &str) -> Error {
    match error.kind() {
        kind @ (ErrorKind::UnknownFilter | ErrorKind::UnknownTest) => Error::new(kind, name.to_owned()),
        _ => error,
    }
}

/// The name, which comes last, and the arguments.
fn split(args: &[Value]) -> Result<(&str, &[Value]), Error> {
    let (name, args) = args.split_last().ok_or_else(unnamed)?;
    Ok((name.as_str().ok_or_else(unnamed)?, args))
}

fn unnamed() -> Error {
    Error::new(ErrorKind::InvalidOperation, "a call without its name")
}

/// Charges the work of a call before it is done, and refuses what would make a long text of short ones.
fn check(state: &mut State<'_, '_>, name: &str, args: &[Value]) -> Result<(), Error> {
    let text = |i: usize| args.get(i).and_then(Value::as_str);
    for arg in args {
        charge(state, arg.as_str().map_or(0, str::len) / 8)?;
        if arg.as_i64().is_some_and(|n| n.abs() > NUMBER_MAX) && !name.starts_with("default") {
            return Err(exceeded("the numbers that fit widths and counts"));
        }
    }
    match name {
        "replace" => {
            let (from, to) = (text(1).map_or(1, str::len), text(2).map_or(0, str::len));
            let count = text(0).map_or(0, str::len) / from.max(1) + 1;
            charge(state, count.saturating_mul(to))
        }
        "join" => {
            let list = args.iter().find(|arg| arg.as_str().is_none());
            let separator = args.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0);
            let items = list.or(args.first()).and_then(Value::len).unwrap_or(0);
            charge(state, items.saturating_mul(separator))?;
            list.map_or(Ok(()), |list| weight(list, usize::MAX).and_then(|bytes| charge(state, bytes)))
        }
        "format" => {
            let asks_for_width = args.first().and_then(Value::as_str).is_some_and(has_long_number);
            if asks_for_width { Err(exceeded("the numbers that fit widths and counts")) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

/// Whether a format string has five digits in a row.
fn has_long_number(format: &str) -> bool {
    format.as_bytes().windows(5).any(|w| w.iter().all(u8::is_ascii_digit))
}

/// `indent(width=4, first=False, blank=False)`, with Jinja's way of treating the last line.
fn indent(
    state: &mut State<'_, '_>,
    text: &Value,
    args: Rest<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let option = |i: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(args.get(i).cloned().or(options.get::<Option<Value>>(name)?))
    };
    let width = option(0, "width")?.unwrap_or_else(|| Value::from(4));
    let first = option(1, "first")?.is_some_and(|v| v.is_true());
    let blank = option(2, "blank")?.is_some_and(|v| v.is_true());
    options.assert_all_used()?;
    let indent = match width.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let width = width.as_i64().filter(|n| *n <= NUMBER_MAX).ok_or_else(|| exceeded("width"))?;
            " ".repeat(usize::try_from(width).unwrap_or(0))
        }
    };
    let text = text.to_string() + "\n";
    charge(state, text.matches('\n').count().saturating_mul(indent.len()))?;
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let wants = if i == 0 { first } else { blank || !line.is_empty() };
        if wants {
            out.push_str(&indent);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// As `markupsafe.escape`.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}
