//! A model with an engine of its own, and the memory that this takes.

use anyhow::{Context, Result};
use bantam::{Defaults, Loaded, MemoryNeed};
use bantam_engine::{Engine, Settings, Speculation};
use bantam_hub::Located;
use bantam_model::{PAGE, State};
use bantam_server::{Fit, Generate, Listed, Need, Served};
use bantam_text::Special;

use super::facts;
use super::prompt_cache::Cached;
use crate::args::ServeArgs;
use crate::models::Models;

/// Rows of a prompt whose logits a step may give are limited to so many numbers.
const LOGITS_MAX: usize = 16 << 20;
/// A vocabulary in memory: pieces, their lookup, merges.
const BYTES_PER_TOKEN: u64 = 400;
/// Threads' stacks, connections, what is on its way.
const SMALL_CHANGE_BYTES: u64 = 16 << 20;

/// What is told of a model.
pub(super) fn listed(args: &ServeArgs, name: &str, located: &Located, loaded: &Loaded) -> Listed {
    Listed {
        name: name.to_owned(),
        details: facts::details(loaded, located),
        sampling: Defaults::of(loaded).sampling,
        context_length: args.context_length(loaded),
        vocab_size: loaded.model.description.vocab_size,
        version: facts::version(located),
    }
}

/// What a model takes with all that it could use.
pub(super) fn need(args: &ServeArgs, models: &Models, loaded: &Loaded) -> Result<Need> {
    let settings = settings(args, models, loaded, full(args))?;
    let model = &loaded.model;
    let predict =
        |model| MemoryNeed::predict(model, settings.kv, settings.context_length, settings.step_rows_max);
    let (own, memory) = (predict(model), settings.memory(&model.description));
    let draft = match &settings.speculation {
        Speculation::Draft(draft) => predict(draft).total_bytes(),
        Speculation::Off | Speculation::Lookup => 0,
    };
    let vocab_size = model.description.vocab_size;
    let logits = settings.step_rows_max.saturating_mul(vocab_size).min(LOGITS_MAX.max(vocab_size)) * 4;
    let text = vocab_size as u64 * BYTES_PER_TOKEN;
    Ok(Need {
        weights_bytes: own.weights_bytes,
        work_bytes: own.work_bytes + draft + logits as u64 + text + SMALL_CHANGE_BYTES,
        sequence_bytes: memory.sequence_bytes as u64,
        sequences_max: args.parallel(),
        kept_bytes_max: memory.kept_bytes_max as u64,
    })
}

/// Loads a model with what it is given.
pub(super) fn load(
    args: &ServeArgs,
    models: &Models,
    listed: Listed,
    loaded: &Loaded,
    fit: Fit,
) -> Result<Served> {
    let tokenizer = loaded.tokenizer()?;
    let defaults = Defaults::of(loaded);
    let ids = |text: &str| tokenizer.to_ids(text, Special::AsText).ok();
    let sampling = args.sampling.over(defaults.sampling, ids)?;
    let mut stop_tokens = defaults.stop_tokens;
    stop_tokens.extend(tokenizer.stops());
    let engine = Engine::start(loaded.model.clone(), settings(args, models, loaded, fit)?)?;
    let context_length = engine.settings().context_length;
    let generator: Box<dyn Generate> = match &args.prompt_cache {
        Some(folder) => Box::new(Cached::new(engine, folder, &listed.name)),
        None => Box::new(engine),
    };
    Ok(Served {
        name: listed.name,
        template: loaded.template(&tokenizer).context("its conversations cannot be written")?,
        sampling,
        seed: args.sampling.seed,
        stop_tokens,
        context_length,
        vocab_size: listed.vocab_size,
        embedding_size: loaded.model.description.hidden_size,
        pooling: loaded.pooling(),
        sequences_max: fit.sequences_max,
        details: listed.details,
        generator,
        tokenizer,
    })
}

fn full(args: &ServeArgs) -> Fit {
    Fit { sequences_max: args.parallel(), kept_bytes_max: args.cache.saturating_mul(1_000_000) as u64 }
}

fn settings(args: &ServeArgs, models: &Models, loaded: &Loaded, fit: Fit) -> Result<Settings> {
    let settings = Settings {
        context_length: args.context_length(loaded),
        sequences_max: fit.sequences_max,
        kept_bytes_max: usize::try_from(fit.kept_bytes_max).unwrap_or(usize::MAX),
        ..args.machine.settings()
    };
    // What was promised is never passed, whatever the sequences share; each may have a page twice while it copies it.
    let description = &loaded.model.description;
    let memory = settings.memory(description);
    let copies = State::bytes_at(description, settings.kv, PAGE).saturating_mul(fit.sequences_max);
    let state_bytes_max =
        memory.running_bytes_max.saturating_add(memory.kept_bytes_max).saturating_add(copies);
    args.speculation.over(Settings { state_bytes_max, ..settings }, models, loaded)
}
