//! How to answer, as chat completions and completions say it, with the names that local servers added.

use bantam_engine::Stopping;

use crate::ask::{Ask, check_stops};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::{BIASES_MAX, CHOICES_MAX};
use crate::sampling;

/// Puts what the request says over what is there.
///
/// # Errors
///
/// Wrong types, and what goes beyond a limit.
pub(super) fn read(fields: &Fields<'_>, ask: &mut Ask) -> Result<(), Fault> {
    read_sampling(fields, ask)?;
    ask.stops = fields.texts("stop")?;
    check_stops(&ask.stops, &fields.name("stop"))?;
    if fields.flag("ignore_eos")? == Some(true) {
        ask.stopping = Stopping::Forbidden;
    }
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

fn biases(fields: &Fields<'_>) -> Result<Vec<(u32, f32)>, Fault> {
    let Some(biases) = fields.object("logit_bias")? else { return Ok(Vec::new()) };
    if biases.entries().count() > BIASES_MAX {
        return Err(fields.wrong("logit_bias", &format!("at most {BIASES_MAX} tokens")));
    }
    let read = |id: &String| {
        let token = id.parse().map_err(|_| biases.wrong(id, "a token id as the name"))?;
        Ok((token, biases.number(id)?.unwrap_or(0.0)))
    };
    biases.entries().map(|(id, _)| read(id)).collect()
}
