//! How to answer, as chat completions and completions say it, with the names that local servers added.

use bantam_engine::Stopping;
use serde_json::Value;

use crate::ask::{Ask, check_stops};
use crate::deadline;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::{BIASES_MAX, CHOICES_MAX};
use crate::sampling;
use crate::structure;

/// Puts what the request says over what is there.
///
/// # Errors
///
/// Wrong types, and what goes beyond a limit.
pub(crate) fn read(fields: &Fields<'_>, ask: &mut Ask) -> Result<(), Fault> {
    read_sampling(fields, ask)?;
    ask.time_max = deadline::read(fields)?;
    ask.stops = fields.texts("stop")?;
    check_stops(&ask.stops, &fields.name("stop"))?;
    if fields.flag("ignore_eos")? == Some(true) {
        ask.stopping = Stopping::Forbidden;
    }
    ask.format = structure::of_openai(fields)?;
    ask.choices = fields.count("n")?.unwrap_or(1);
    let answers = ask.choices.saturating_mul(ask.prompts.len());
    if ask.choices == 0 || answers > CHOICES_MAX {
        let wanted = format!("at least 1, and at most {CHOICES_MAX} answers in all");
        return Err(fields.wrong("n", &wanted));
    }
    Ok(())
}

fn read_sampling(fields: &Fields<'_>, ask: &mut Ask) -> Result<(), Fault> {
    sampling::read(fields, &mut ask.sampling)?;
    if let Some(penalty) = fields.number("repetition_penalty")? {
        ask.sampling.repeat_penalty = penalty;
    }
    ask.sampling.logit_bias.extend(biases(fields)?);
    Ok(())
}

/// Tokens as names with a number each, or as llama.cpp's server also takes them: a list of pairs.
fn biases(fields: &Fields<'_>) -> Result<Vec<(u32, f32)>, Fault> {
    let biases = match fields.value("logit_bias") {
        None => Vec::new(),
        Some(Value::Array(pairs)) => {
            let wanted = "an object, or a list of pairs: a token id, and a number or false";
            let read: Option<Vec<(u32, f32)>> = pairs.iter().map(pair).collect();
            read.ok_or_else(|| fields.wrong("logit_bias", wanted))?
        }
        Some(object) => named(&Fields::at(object, fields.name("logit_bias"))?)?,
    };
    if biases.len() > BIASES_MAX {
        return Err(fields.wrong("logit_bias", &format!("at most {BIASES_MAX} tokens")));
    }
    Ok(biases)
}

fn named(biases: &Fields<'_>) -> Result<Vec<(u32, f32)>, Fault> {
    let read = |id: &String| {
        let token = id.parse().map_err(|_| biases.wrong(id, "a token id as the name"))?;
        Ok((token, biases.number(id)?.unwrap_or(0.0)))
    };
    biases.entries().map(|(id, _)| read(id)).collect()
}

fn pair(pair: &Value) -> Option<(u32, f32)> {
    let id = u32::try_from(pair.get(0)?.as_u64()?).ok()?;
    let bias = match pair.get(1)? {
        // It may not come at all.
        Value::Bool(false) => f32::NEG_INFINITY,
        bias => Some(bias.as_f64()? as f32).filter(|bias| bias.is_finite())?,
    };
    Some((id, bias))
}
