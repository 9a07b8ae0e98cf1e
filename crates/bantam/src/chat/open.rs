//! From arguments to a session.

use anyhow::{Context, Result};
use bantam::engine::Settings;
use bantam::text::{DateTime, Special, Thinking};
use bantam::{Loaded, Options, Session, WhenFull};

use crate::args::{OverflowArg, RunArgs};
use crate::models::{Models, now_unix_s};

/// A session as the arguments want it.
pub(crate) fn open(args: &RunArgs, models: &Models, loaded: &Loaded) -> Result<Session> {
    let settings =
        Settings { context_length: args.context.length(loaded), sequences_max: 1, ..args.machine.settings() };
    let settings = args.speculation.over(settings, models, loaded)?;
    let mut options = Options::recommended(loaded);
    let tokenizer = loaded.tokenizer()?;
    let ids = |text: &str| tokenizer.to_ids(text, Special::AsText).ok();
    options.sampling = args.sampling.over(options.sampling, ids)?;
    options.system.clone_from(&args.system);
    options.max_tokens = args.max_tokens;
    options.stops.clone_from(&args.stop);
    options.format = args.format.spec()?;
    options.now = Some(now());
    options.adapter = args.adapter.open(loaded)?;
    options.when_full = match args.overflow {
        OverflowArg::Stop => WhenFull::Stop,
        OverflowArg::Shift => WhenFull::Shift,
    };
    options.thinking = match args.think.as_deref() {
        _ if args.no_think => Thinking::switched(false),
        Some(how) => Thinking::of(how),
        None => Thinking::default(),
    };
    let hint = "--raw leaves the chat template out";
    let mut session = Session::new(loaded, settings, options).context(hint)?;
    if args.raw {
        session.continue_text();
    }
    Ok(session)
}

/// The time in UTC, for templates that tell the model the date.
pub(crate) fn now() -> DateTime {
    DateTime::from_unix_s(now_unix_s())
}
