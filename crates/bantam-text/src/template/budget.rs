//! The bound on what one rendering may cost, and the operations that could break it.
//!
//! The engine counts instructions, but one instruction can double a string, so thirty of them can fill a
//! machine. Here every value that a template makes is charged to a [`Budget`] of bytes, before it is made
//! where it could be large. `program` sees to it that templates reach strings and lists through these
//! operations only.

use minijinja::value::{Enumerator, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};

use super::filters;

/// Most instructions of one rendering. Long honest conversations take some 100,000.
pub(super) const STEPS_MAX: u64 = 2_000_000;
/// Most bytes of all values that a rendering makes, beside what the conversation's own length asks for.
const BYTES_MAX: usize = 24 << 20;
/// Times that a template may copy the whole conversation.
const COPIES_MAX: usize = 24;
const DEPTH_MAX: usize = 48;
/// What a value costs beside its text.
const VALUE_BYTES: usize = 16;

/// A bound was hit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exceeded(pub(super) &'static str);

pub(super) fn exceeded(bound: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, bound).with_source(Exceeded(bound))
}

/// What is left.
struct Budget(usize);

/// The name under which the context holds the length of the conversation. No template can write it.
pub(super) const INPUT_BYTES: &str = "input-bytes";

fn left<'s>(state: &'s mut State<'_, '_>) -> &'s mut Budget {
    if state.get_extension::<Budget>().is_none() {
        let input = state.lookup(INPUT_BYTES).and_then(|bytes| bytes.as_usize()).unwrap_or(0);
        state.get_or_insert_extension(Budget(BYTES_MAX + input.saturating_mul(COPIES_MAX)));
    }
    state.get_or_insert_extension(Budget(0))
}

/// Takes `bytes` off the budget.
pub(super) fn charge(state: &mut State<'_, '_>, bytes: usize) -> Result<(), Error> {
    let budget = left(state);
    budget.0 = budget.0.checked_sub(bytes).ok_or_else(|| exceeded("memory"))?;
    Ok(())
}

/// What the text of a value would take, at least; an error where it is too deep or costs more than `limit`.
pub(super) fn weight(value: &Value, limit: usize) -> Result<usize, Error> {
    fn add(value: &Value, depth: usize, limit: usize, sum: &mut usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(exceeded("depth"));
        }
        *sum += VALUE_BYTES + value.as_str().map_or(0, str::len);
        if *sum > limit {
            return Err(exceeded("memory"));
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                value.try_iter()?.try_for_each(|item| add(&item, depth + 1, limit, sum))
            }
            ValueKind::Map if is_namespace(value) => Err(exceeded("a namespace inside another value")),
            ValueKind::Map => value.try_iter()?.try_for_each(|key| {
                add(&key, depth + 1, limit, sum)?;
                add(&value.get_item(&key)?, depth + 1, limit, sum)
            }),
            _ => Ok(()),
        }
    }
    let mut sum = 0;
    add(value, 0, limit, &mut sum)?;
    Ok(sum)
}

/// Charges all of a new list or object, which also bounds its depth.
pub(super) fn charge_deep(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let cost = weight(value, left(state).0)?;
    charge(state, cost)?;
    Ok(value.clone())
}

/// Charges nothing, but keeps namespaces, the only values that can change, from holding one another in a
/// ring.
pub(super) fn charge_stored(value: &Value) -> Result<Value, Error> {
    if is_namespace(value) { Err(exceeded("a namespace inside another value")) } else { Ok(value.clone()) }
}

/// Namespaces are the only maps that list their keys as values.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        object.repr() == ObjectRepr::Map && matches!(object.enumerate(), Enumerator::Values(_))
    })
}

/// Charges a new string by its length, a list by its number of items.
pub(super) fn charge_value(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let text = value.as_str().map(str::len);
    let items = || match value.kind() {
        ValueKind::Seq | ValueKind::Map => value.len().unwrap_or(0).saturating_mul(VALUE_BYTES),
        _ => 0,
    };
    charge(state, text.unwrap_or_else(items))?;
    Ok(value.clone())
}

/// Writes a value to the output.
pub(super) fn emit(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        charge(state, text.len())?;
        return out.write_str(text).map_err(Error::from);
    }
    charge_deep(state, value)?;
    write!(out, "{value}").map_err(Error::from)
}

/// `a ~ b`.
pub(super) fn concat(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    charge_deep(state, a)?;
    charge_deep(state, b)?;
    Ok(Value::from(format!("{a}{b}")))
}

/// `a + b`. As in Jinja, text added to text marked safe is escaped.
pub(super) fn add(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(x), Some(y)) = (a.as_str(), b.as_str()) {
        charge(state, x.len() + y.len())?;
        if !a.is_safe() && !b.is_safe() {
            return Ok(Value::from([x, y].concat()));
        }
        let escaped = |value: &Value, text: &str| match value.is_safe() {
            true => text.to_owned(),
            false => filters::escape(text),
        };
        return Ok(Value::from_safe_string(escaped(a, x) + &escaped(b, y)));
    }
    if is_list(a) && is_list(b) {
        let items: Vec<Value> = a.try_iter()?.chain(b.try_iter()?).collect();
        charge(state, items.len().saturating_mul(VALUE_BYTES))?;
        return Ok(Value::from(items));
    }
    match (a.as_i64().filter(|_| a.is_integer()), b.as_i64().filter(|_| b.is_integer())) {
        (Some(x), Some(y)) => x.checked_add(y).map(Value::from).ok_or_else(|| unfit("+", a, b)),
        _ => float_operation("+", a, b, |x, y| x + y),
    }
}

/// `a * b`.
pub(super) fn multiply(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    for (value, count) in [(a, b), (b, a)] {
        let Some(times) = count.as_usize().filter(|_| count.is_integer()) else { continue };
        if let Some(text) = value.as_str() {
            charge(state, text.len().saturating_mul(times))?;
            return Ok(Value::from(text.repeat(times)));
        }
        if is_list(value) {
            let len = value.len().unwrap_or(0);
            charge(state, len.saturating_mul(times).saturating_mul(VALUE_BYTES))?;
            let once: Vec<Value> = value.try_iter()?.collect();
            return Ok(std::iter::repeat_n(once, times).flatten().collect());
        }
    }
    match (a.as_i64().filter(|_| a.is_integer()), b.as_i64().filter(|_| b.is_integer())) {
        (Some(x), Some(y)) => x.checked_mul(y).map(Value::from).ok_or_else(|| unfit("*", a, b)),
        _ => float_operation("*", a, b, |x, y| x * y),
    }
}

fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

fn float_operation(name: &str, a: &Value, b: &Value, operation: fn(f64, f64) -> f64) -> Result<Value, Error> {
    match (f64::try_from(a.clone()), f64::try_from(b.clone())) {
        (Ok(x), Ok(y)) if a.is_number() && b.is_number() => Ok(Value::from(operation(x, y))),
        _ => Err(unfit(name, a, b)),
    }
}

fn unfit(name: &str, a: &Value, b: &Value) -> Error {
    let detail = format!("`{name}` does not fit {} and {}", a.kind(), b.kind());
    Error::new(ErrorKind::InvalidOperation, detail)
}

/// Charges the work of comparing, which is that of the smaller value.
fn charge_comparison(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<(), Error> {
    let limit = left(state).0.saturating_mul(8);
    let is_plain = |v: &Value| !matches!(v.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map);
    let cost = match (is_plain(a), is_plain(b)) {
        (true, true) => a.as_str().map_or(0, str::len).min(b.as_str().map_or(0, str::len)),
        (false, true) => weight(a, limit)?,
        (true, false) => weight(b, limit)?,
        (false, false) => weight(a, limit)?.min(weight(b, limit)?),
    };
    charge(state, cost / 8)
}

/// A comparison, by its operator.
pub(super) fn compare(
    state: &mut State<'_, '_>,
    a: &Value,
    b: &Value,
    operator: &str,
) -> Result<Value, Error> {
    charge_comparison(state, a, b)?;
    let is_true = match operator {
        "==" => a == b,
        "!=" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    };
    Ok(Value::from(is_true))
}

/// `a in b`.
pub(super) fn contains(state: &mut State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    let size = b.as_str().map_or_else(|| b.len().unwrap_or(0).saturating_mul(VALUE_BYTES), str::len);
    charge(state, size / 8)?;
    let found = match (a.as_str(), b.as_str(), b.kind()) {
        (Some(part), Some(whole), _) => whole.contains(part),
        (_, _, ValueKind::Undefined) => false,
        (_, _, ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) => b.try_iter()?.any(|item| item == *a),
        _ => {
            let detail = format!("`in` does not fit {} and {}", a.kind(), b.kind());
            return Err(Error::new(ErrorKind::InvalidOperation, detail));
        }
    };
    Ok(Value::from(found))
}
