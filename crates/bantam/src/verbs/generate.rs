//! `bantam generate`: continues a list of ids, without text. For checks.

use std::io::Write;

use anyhow::Result;
use bantam::{Defaults, Loaded};
use bantam_engine::{Engine, Event, Request, Sampling, Settings};
use serde_json::json;

use crate::args::GenerateArgs;
use crate::interrupt::Interrupt;
use crate::models::Models;
use crate::print::print_json;

pub(crate) fn run(args: &GenerateArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    let loaded = Loaded::open(&models.locate(&args.model)?)?;
    let context_length = args.context.length(&loaded);
    let settings = Settings { context_length, ..args.machine.settings() };
    let settings = args.speculation.over(settings, models, &loaded)?;
    let defaults = Defaults::of(&loaded);
    let stop_tokens = if args.ignore_eos { Vec::new() } else { stop_tokens(&loaded, &defaults) };
    let sampling =
        if args.greedy { Sampling::default() } else { args.sampling.over(defaults.sampling, |_| None)? };
    let adapter = args.adapter.open(&loaded)?;
    let engine = Engine::start(loaded.model.clone(), settings)?;
    let (prompt, max_tokens) = (args.tokens.clone(), Some(args.max_tokens));
    let stream = engine.submit(Request {
        prompt,
        max_tokens,
        sampling,
        stop_tokens,
        adapter,
        ..Request::default()
    })?;
    let cancel = stream.canceller();
    let mut ids = Vec::new();
    for event in stream {
        match event {
            Event::Token { id, .. } => ids.push(id),
            Event::Failed(error) => return Err(error.into()),
            Event::Prompt { .. } | Event::Pooled(_) | Event::Shifted { .. } | Event::Done { .. } => {}
        }
        if interrupt.is_pressed() {
            cancel();
        }
    }
    if args.json {
        return print_json(&json!({ "ids": ids }));
    }
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    writeln!(std::io::stdout().lock(), "{}", ids.join(","))?;
    Ok(())
}

/// A model without a tokeniser can still be continued.
fn stop_tokens(loaded: &Loaded, defaults: &Defaults) -> Vec<u32> {
    let mut ids = defaults.stop_tokens.clone();
    if let Ok(tokenizer) = loaded.tokenizer() {
        ids.extend(tokenizer.stops());
    }
    ids
}
