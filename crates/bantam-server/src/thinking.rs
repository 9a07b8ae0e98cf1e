//! What a chat completion says of thinking.

use bantam_text::Thinking;

use crate::fault::Fault;
use crate::fields::Fields;

/// `reasoning_effort`, `reasoning`, `enable_thinking`, `thinking_budget` and its kin, and the template's own switches,
/// which go before all else.
///
/// # Errors
///
/// Wrong types.
pub(crate) fn read(fields: &Fields<'_>) -> Result<Thinking, Fault> {
    let reasoning = fields.object("reasoning")?;
    let effort = match &reasoning {
        Some(reasoning) => reasoning.text("effort")?,
        None => None,
    };
    let mut thinking = match fields.text("reasoning_effort")?.or(effort) {
        Some(effort) => Thinking::of(effort),
        None => Thinking::default(),
    };
    if let Some(thinks) = fields.flag("enable_thinking")? {
        thinking = Thinking::switched(thinks);
    }
    for name in ["thinking_budget", "thinking_budget_tokens", "thinking_token_budget", "reasoning_budget"] {
        match fields.integer(name)? {
            None => {}
            Some(0) => thinking = Thinking::switched(false),
            // Below zero is as much as it likes.
            Some(most) => thinking.budget = usize::try_from(most).ok(),
        }
    }
    for (name, switch) in fields.map("chat_template_kwargs")?.into_iter().flatten() {
        thinking.switch(name, switch.clone());
    }
    Ok(thinking)
}
