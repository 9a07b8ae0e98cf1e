//! `bantam run`: one answer, or a chat.

use std::io::{IsTerminal, Read};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bantam::{Mode, Session};

use crate::args::RunArgs;
use crate::chat::{Chat, Console, open};
use crate::interrupt::{Interrupt, Stopped};
use crate::models::Models;
use crate::units;

pub(crate) fn run(args: &RunArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    let wanted = models.wanted(args.model.as_deref(), &args.prompt)?;
    let prompt = joined(wanted.prompt, piped()?);
    if prompt.is_none() && !std::io::stdin().is_terminal() {
        bail!("nothing to ask: give a prompt, as in: bantam run \"Why is the sky blue?\"");
    }
    let begun = Instant::now();
    let loaded = models.open(&wanted.model)?;
    let session = open(args, models, &loaded)?;
    let mut console = Console::new(args, interrupt.clone());
    if args.verbose && !args.json {
        console.note(&opened(&wanted.model, &session, begun));
    }
    let (wished, made_for) = (session.context().1, loaded.model.description.context_length);
    if wished > made_for {
        console.note(&format!(
            "this model was made for a context of {made_for} tokens: with {wished} it may lose its way"
        ));
    }
    let chats = session.mode() == Mode::Chat || args.raw;
    if !chats {
        console.note("this model has no chat template: it continues the text");
    }
    match prompt {
        Some(prompt) => answer_once(session, &mut console, &prompt),
        None => Chat::new(args, models, console, wanted.model, loaded, session).run(),
    }
}

fn answer_once(mut session: Session, console: &mut Console, prompt: &str) -> Result<()> {
    let summary = console.answer(&mut session, prompt)?;
    match summary.ended {
        bantam::Ended::Cancelled => bail!(Stopped("stopped")),
        bantam::Ended::Length | bantam::Ended::ContextFull if session.options.format.is_some() => {
            bail!(
                "the answer was cut off before it was what it is to be: let it be longer (--max-tokens, --ctx)"
            )
        }
        _ => Ok(()),
    }
}

/// What is piped into this program; nothing at a terminal.
fn piped() -> Result<Option<String>> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    stdin.read_to_string(&mut text).context("standard input is not text in UTF-8")?;
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// The prompt, a blank line, and what it is about.
fn joined(prompt: Option<String>, piped: Option<String>) -> Option<String> {
    match (prompt, piped) {
        (Some(prompt), Some(piped)) => Some(format!("{prompt}\n\n{piped}")),
        (prompt, piped) => prompt.or(piped),
    }
}

fn opened(model: &str, session: &Session, begun: Instant) -> String {
    let settings = session.engine().settings();
    format!(
        "{model}: {} of weights, loaded in {:.0} ms; context {}, {} keys, {} instructions, seed {}",
        units::bytes(session.engine().model().weights_bytes()),
        begun.elapsed().as_secs_f64() * 1e3,
        settings.context_length,
        settings.kv,
        settings.isa,
        session.options.sampling.seed,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_and_pipe_are_joined() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(joined(some("Say:"), some("x\n")), some("Say:\n\nx\n"));
        assert_eq!(joined(None, some("x")), some("x"));
        assert_eq!(joined(None, None), None);
    }
}
