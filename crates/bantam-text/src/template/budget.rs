//! The bounds on what a template may do, and what enforces them.

use std::io;

use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, State};

use super::failure;
use crate::error::Error;

/// Most steps of one rendering. Long honest conversations take some 10,000.
pub(super) const STEPS_MAX: u64 = 4_000_000;
/// Most bytes of a rendering, and of any value that it makes on the way.
pub(super) const BYTES_MAX: usize = 8 << 20;

/// A bound was hit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exceeded(pub(super) String);

pub(super) fn exceeded() -> minijinja::Error {
    let bound = Exceeded(format!("{BYTES_MAX} bytes"));
    minijinja::Error::new(ErrorKind::InvalidOperation, "bound").with_source(bound)
}

pub(super) fn render(env: &Environment<'_>, name: &str, context: Value) -> Result<String, Error> {
    let mut out = Bounded(Vec::new());
    let template = env.get_template(name).map_err(failure)?;
    let rendered = template.render_captured_to(context, &mut out).map(drop);
    if out.0.len() > BYTES_MAX {
        return Err(Error::TemplateTooBig { bound: format!("{BYTES_MAX} bytes") });
    }
    rendered.map_err(failure)?;
    Ok(String::from_utf8_lossy(&out.0).into_owned())
}

/// Fails once more than [`BYTES_MAX`] came in.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > BYTES_MAX { Err(io::Error::other("too much output")) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn bound_filters(env: &mut Environment<'_>) {
    env.set_fuel(Some(STEPS_MAX));
}

/// Python's methods of strings, lists and dicts.
pub(super) fn call_method(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, minijinja::Error> {
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}
