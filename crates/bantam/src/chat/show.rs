//! What `/show` and `/set` print.

use std::io::Write;

use anyhow::Result;
use bantam::{Loaded, Session};

use super::parameter::PARAMETERS;
use crate::print::print_pairs;
use crate::units;

/// Prints what is asked for.
pub(crate) fn show(topic: &str, loaded: &Loaded, session: &Session) -> Result<()> {
    match topic {
        "info" => info(loaded, session),
        "parameters" => parameters(session),
        "system" => line(session.options.system.as_deref().unwrap_or("no system text")),
        "template" => line(loaded.chat_template().as_deref().unwrap_or("no chat template")),
        "messages" => messages(session),
        _ => line("/show info, /show parameters, /show system, /show template or /show messages"),
    }
}

/// Prints what can be set.
pub(crate) fn settings() -> Result<()> {
    let mut pairs: Vec<(&str, String)> =
        PARAMETERS.iter().map(|(name, what)| (*name, (*what).to_owned())).collect();
    pairs.extend([
        ("system", "what the model is told before the conversation".to_owned()),
        ("verbose, quiet", "speeds after each answer".to_owned()),
        ("think, nothink", "whether a model that can think first does".to_owned()),
        ("showthinking, hidethinking", "whether its thinking is printed".to_owned()),
        ("history, nohistory", "whether what is typed is kept".to_owned()),
    ]);
    print_pairs(&pairs)
}

fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

fn info(loaded: &Loaded, session: &Session) -> Result<()> {
    let description = &loaded.model.description;
    let (used, length) = session.context();
    print_pairs(&[
        ("file", loaded.checkpoint.path().display().to_string()),
        ("architecture", loaded.model.architecture.clone()),
        ("size", units::bytes(loaded.checkpoint.file_bytes())),
        ("layers", description.layers.len().to_string()),
        ("made for", format!("{} tokens", description.context_length)),
        ("context", format!("{used} of {length} tokens used")),
    ])
}

fn parameters(session: &Session) -> Result<()> {
    let (options, s) = (&session.options, &session.options.sampling);
    let bound = |bound: Option<usize>| bound.map_or("none".into(), |bound| bound.to_string());
    print_pairs(&[
        ("temperature", s.temperature.to_string()),
        ("top_k", s.top_k.to_string()),
        ("top_p", s.top_p.to_string()),
        ("min_p", s.min_p.to_string()),
        ("typical", s.typical.to_string()),
        ("repeat_penalty", s.repeat_penalty.to_string()),
        ("repeat_last_n", bound(Some(s.repeat_last_n).filter(|n| *n != usize::MAX))),
        ("presence_penalty", s.presence_penalty.to_string()),
        ("frequency_penalty", s.frequency_penalty.to_string()),
        ("seed", s.seed.to_string()),
        ("num_predict", bound(options.max_tokens)),
        ("stop", format!("{:?}", options.stops)),
        ("overflow", format!("{:?}", options.when_full).to_lowercase()),
        ("num_ctx", session.context().1.to_string()),
    ])
}

fn messages(session: &Session) -> Result<()> {
    for message in session.messages() {
        line(&format!("{}: {}", message.role.name(), message.content))?;
    }
    Ok(())
}
