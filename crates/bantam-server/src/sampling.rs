//! The names of sampling settings that OpenAI-like requests and Ollama's options share.

use bantam_engine::Sampling;

use crate::fault::Fault;
use crate::fields::Fields;

/// Puts what the fields say over what is there.
///
/// # Errors
///
/// Wrong types.
pub(crate) fn read(fields: &Fields<'_>, sampling: &mut Sampling) -> Result<(), Fault> {
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
    Ok(())
}
