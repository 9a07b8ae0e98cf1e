//! How to answer, as chat completions and completions say it, with the names that local servers added.

use bantam_engine::Stopping;

use crate::ask::{Ask, check_stops};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::{BIASES_MAX, CHOICES_MAX};
use crate::structure;

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
    let sampling = &mut ask.sampling;
    let numbers = [
        ("temperature", &mut sampling.temperature),
        ("top_p", &mut sampling.top_p),
        ("min_p", &mut sampling.min_p),
        ("typical_p", &mut sampling.typical),
        ("repeat_penalty", &mut sampling.repeat_penalty),
        ("presence_penalty", &mut sampling.presence_penalty),
        ("frequency_penalty", &mut sampling.frequency_penalty),
    ];
    for (name, place) in numbers {
        *place = fields.number(name)?.unwrap_or(*place);
    }
    if let Some(penalty) = fields.number("repetition_penalty")? {
        sampling.repeat_penalty = penalty;
    }
    // Below zero, and zero, keep all.
    if let Some(top_k) = fields.integer("top_k")? {
        sampling.top_k = usize::try_from(top_k).unwrap_or(0);
    }
    // Below zero is as far back as there is.
    if let Some(last_n) = fields.integer("repeat_last_n")? {
        sampling.repeat_last_n = usize::try_from(last_n).unwrap_or(usize::MAX);
    }
    // Below zero asks for another seed each time, as none does.
    if let Some(seed) = fields.integer("seed")?.and_then(|seed| u64::try_from(seed).ok()) {
        sampling.seed = seed;
    }
    sampling.logit_bias.extend(biases(fields)?);
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
