//! How to answer, as Ollama's requests say it.

use bantam_text::Thinking;
use serde_json::Value;

use crate::ask::{Ask, check_stops};
use crate::deadline;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::TOP_LOGPROBS_MAX;
use crate::sampling;
use crate::structure;

/// Puts what the request says over what is there. Options that this server has no use for are not looked at.
///
/// # Errors
///
/// Wrong types, and what goes beyond a limit.
pub(super) fn read(fields: &Fields<'_>, ask: &mut Ask) -> Result<(), Fault> {
    refuse_unsupported(fields)?;
    ask.format = structure::of_ollama(fields)?;
    if let Some(options) = fields.object("options")? {
        read_options(&options, ask)?;
    }
    ask.time_max = deadline::read(fields)?;
    let top = fields.count("top_logprobs")?.unwrap_or(0);
    if top > TOP_LOGPROBS_MAX {
        return Err(fields.wrong("top_logprobs", &format!("at most {TOP_LOGPROBS_MAX}")));
    }
    ask.top_logprobs = fields.flag("logprobs")?.unwrap_or(false).then_some(top);
    Ok(())
}

fn read_options(options: &Fields<'_>, ask: &mut Ask) -> Result<(), Fault> {
    sampling::read(options, &mut ask.sampling)?;
    // Below zero is as many as there is room for.
    if let Some(most) = options.integer("num_predict")? {
        ask.max_tokens = usize::try_from(most).ok();
    }
    ask.stops = options.texts("stop")?;
    check_stops(&ask.stops, &options.name("stop"))
}

fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    if fields.list("images")?.is_some_and(|images| !images.is_empty()) {
        return Err(Fault::unsupported("images", ": it takes text only"));
    }
    Ok(())
}

/// Whether to think, and how much.
pub(super) fn thinking(fields: &Fields<'_>) -> Result<Thinking, Fault> {
    match fields.value("think") {
        None => Ok(Thinking::default()),
        Some(Value::Bool(thinks)) => Ok(Thinking::switched(*thinks)),
        Some(Value::String(effort)) => Ok(Thinking::of(effort)),
        Some(_) => Err(fields.wrong("think", "true, false or a word such as \"low\"")),
    }
}
