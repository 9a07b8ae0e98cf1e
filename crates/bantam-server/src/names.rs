//! What clients call a model.

use std::fmt;

use crate::fault::Fault;
use crate::fields::Fields;
use crate::keep_alive::KeepAlive;

/// Another name for a model, and for those that stand in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// The models that are tried, in this order; with none, the one for requests that name none.
    pub models: Vec<String>,
}

/// An adapter that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAdapter {
    /// What clients call it.
    pub name: String,
    /// The model that it changes; `None` for the one for requests that name none.
    pub model: Option<String>,
    /// Where it lies, in words of the library's.
    pub place: String,
}

/// An adapter at a scale.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterPart {
    /// Where it lies.
    pub place: String,
    /// What its effect is multiplied with; 1 as it was trained.
    pub scale: f32,
}

/// Which model a request wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The model, or an adapter; `None` for the default one.
    pub(crate) name: Option<String>,
    pub(crate) keep_alive: Option<KeepAlive>,
    /// Adapters of that model with their scales; `None` where the name says it all.
    pub(crate) adapters: Option<Vec<(AdapterName, f32)>>,
}

/// An adapter of a model as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdapterName {
    Name(String),
    /// In the order of their coming, from zero up.
    Number(usize),
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdapterName::Name(name) => f.write_str(name),
            AdapterName::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Wanted {
    /// What a request says of it.
    ///
    /// # Errors
    ///
    /// Wrong types.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, Fault> {
        let name = fields.text("model")?.filter(|name| !name.is_empty()).map(str::to_owned);
        let keep_alive = match fields.value("keep_alive") {
            Some(value) => {
                let read = KeepAlive::read(value);
                Some(read.ok_or_else(|| fields.wrong("keep_alive", "seconds, or a time such as \"5m\""))?)
            }
            None => None,
        };
        Ok(Wanted { name, keep_alive, adapters: adapters(fields)? })
    }
}

/// `adapter` is a name, and empty for none; `lora` is a list of `{id, scale}`, as llama.cpp's server has it.
fn adapters(fields: &Fields<'_>) -> Result<Option<Vec<(AdapterName, f32)>>, Fault> {
    if let Some(name) = fields.text("adapter")? {
        let named = (!name.is_empty()).then(|| (AdapterName::Name(name.to_owned()), 1.0));
        return Ok(Some(named.into_iter().collect()));
    }
    let Some(list) = fields.list("lora")? else { return Ok(None) };
    if list.len() > ADAPTERS_TOGETHER_MAX {
        return Err(fields.wrong("lora", &format!("at most {ADAPTERS_TOGETHER_MAX} adapters")));
    }
    let read = |(place, value)| -> Result<(AdapterName, f32), Fault> {
        let part = Fields::at(value, format!("{}[{place}]", fields.name("lora")))?;
        let name = match part.text("name") {
            Ok(Some(name)) => AdapterName::Name(name.to_owned()),
            _ => AdapterName::Number(
                part.count("id")?.ok_or_else(|| part.missing("id", "an adapter's number"))?,
            ),
        };
        Ok((name, part.number("scale")?.unwrap_or(1.0)))
    };
    list.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

/// Adapters of one request.
const ADAPTERS_TOGETHER_MAX: usize = 8;

/// Names are the same whatever their case, and `:latest` is what a name without a tag means.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)
}

pub(crate) fn are_same(a: &str, b: &str) -> bool {
    canonical(a) == canonical(b)
}
