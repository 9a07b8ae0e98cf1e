//! What clients call a model.

use crate::fault::Fault;
use crate::fields::Fields;
use crate::models::KeepAlive;

/// Another name for a model, and for those that stand in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// The models that are tried, in this order; with none, the one for requests that name none.
    pub models: Vec<String>,
}

/// Which model a request wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// The model, or an adapter; `None` for the default one.
    pub(crate) name: Option<String>,
    pub(crate) keep_alive: Option<KeepAlive>,
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
        Ok(Wanted { name, keep_alive })
    }
}

/// Names are the same whatever their case, and `:latest` is what a name without a tag means.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)
}

pub(crate) fn are_same(a: &str, b: &str) -> bool {
    canonical(a) == canonical(b)
}
