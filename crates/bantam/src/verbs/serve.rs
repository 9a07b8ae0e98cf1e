//! `bantam serve`: models for other programs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bantam::{Defaults, Loaded};
use bantam_engine::Engine;
use bantam_hub::Located;
use bantam_server::{Details, Keys, Served, Server, Settings};
use bantam_tensor::Metadata;
use bantam_text::{ChatTemplate, Special, Tokenizer};

use crate::args::ServeArgs;
use crate::interrupt::Interrupt;
use crate::models::Models;
use crate::units;

pub(crate) fn run(args: &ServeArgs, models: &Models, interrupt: &Interrupt) -> Result<()> {
    // What is wrong with the settings is told before a model is fetched.
    let settings = settings(args)?;
    let default = [models.hub.catalogue().default_name().to_owned()];
    let wanted: &[String] = if args.models.is_empty() { &default } else { &args.models };
    check_aliases(args, wanted)?;
    let served = wanted.iter().enumerate().map(|(place, model)| load(args, models, model, place == 0));
    let served: Vec<Served> = served.collect::<Result<_>>()?;
    let is_open = settings.keys.is_empty();
    let server = Server::bind(settings, served)?;
    let stopper = server.stopper();
    interrupt.on_press(move || stopper.stop());
    let keys = if is_open { "no key needed, from this machine only" } else { "with a key" };
    eprintln!("listening on http://{} ({keys}); Ctrl-C stops", server.address());
    server.run()?;
    interrupt.serve();
    eprintln!("stopped");
    Ok(())
}

fn settings(args: &ServeArgs) -> Result<Settings> {
    let ollama_host = std::env::var("OLLAMA_HOST").ok().filter(|host| !host.trim().is_empty());
    let mut keys = Keys::default();
    for key in args.listen.keys()? {
        keys.add(&key)?;
    }
    Ok(Settings {
        address: SocketAddr::from(args.listen.address(ollama_host.as_deref())?),
        keys,
        hosts: args.listen.allow_host.clone(),
        waiting_max: args.queue,
        drain_time: Duration::from_secs(args.drain),
        log: if args.quiet { |_| {} } else { |line| eprintln!("{line}") },
    })
}

fn check_aliases(args: &ServeArgs, models: &[String]) -> Result<()> {
    for alias in &args.alias {
        if let Some(model) = alias.model.as_ref().filter(|model| !models.contains(model)) {
            bail!("--alias {}={model}: no such model among those served: {}", alias.name, models.join(", "));
        }
    }
    Ok(())
}

/// A model with an engine of its own.
fn load(args: &ServeArgs, models: &Models, wanted: &str, is_first: bool) -> Result<Served> {
    let located = models.pull(wanted)?;
    let loaded = Loaded::open(&located.path).with_context(|| format!("cannot serve {wanted}"))?;
    let tokenizer = loaded.tokenizer()?;
    let defaults = Defaults::of(&loaded);
    let ids = |text: &str| tokenizer.to_ids(text, Special::AsText).ok();
    let sampling = args.sampling.over(defaults.sampling, ids)?;
    let mut stop_tokens = defaults.stop_tokens;
    stop_tokens.extend(tokenizer.stops());
    let engine = engine(args, models, &loaded)?;
    announce(wanted, &loaded, &engine);
    let aliases = args.alias.iter().filter(|alias| match &alias.model {
        Some(model) => model == wanted,
        None => is_first,
    });
    Ok(Served {
        name: name(wanted, &located),
        aliases: aliases.map(|alias| alias.name.clone()).collect(),
        template: template(&loaded, &tokenizer).with_context(|| format!("the chat template of {wanted}"))?,
        sampling,
        seed: args.sampling.seed,
        stop_tokens,
        context_length: engine.settings().context_length,
        vocab_size: loaded.model.description.vocab_size,
        embedding_size: loaded.model.description.hidden_size,
        pooling: loaded.pooling(),
        sequences_max: args.parallel,
        details: details(&loaded, &located),
        generator: Box::new(engine),
        tokenizer,
    })
}

fn engine(args: &ServeArgs, models: &Models, loaded: &Loaded) -> Result<Engine> {
    let settings = bantam_engine::Settings {
        context_length: args.context.length(loaded),
        sequences_max: args.parallel,
        kept_bytes_max: args.cache.saturating_mul(1_000_000),
        ..args.machine.settings()
    };
    let settings = args.speculation.over(settings, models, loaded)?;
    Ok(Engine::start(loaded.model.clone(), settings)?)
}

fn announce(wanted: &str, loaded: &Loaded, engine: &Engine) {
    let (memory, settings) = (engine.memory(), engine.settings());
    eprintln!(
        "{wanted}: {} of weights, context {}; at most {} answers at once in {}, and {} for reuse",
        units::bytes(loaded.model.weights_bytes()),
        settings.context_length,
        settings.sequences_max,
        units::bytes(memory.running_bytes_max as u64),
        units::bytes(memory.kept_bytes_max as u64),
    );
}

/// What clients call a model: its name in the store, or its file's without the ending.
fn name(wanted: &str, located: &Located) -> String {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let folder = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let path = &located.path;
    match &located.manifest {
        Some(manifest) => manifest.name.clone(),
        None if path.is_dir() => folder(path).unwrap_or_else(|| wanted.to_owned()),
        None => stem(path).unwrap_or_else(|| wanted.to_owned()),
    }
}

fn template(loaded: &Loaded, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>> {
    let roles = tokenizer.roles();
    let [bos, eos] = [roles.bos, roles.eos].map(|id| tokenizer.role_text(id));
    let compile = |source: String| ChatTemplate::compile(&source, &bos, &eos);
    Ok(loaded.chat_template().map(compile).transpose()?)
}

fn details(loaded: &Loaded, located: &Located) -> Details {
    let modified = std::fs::metadata(&located.path).and_then(|metadata| metadata.modified()).ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let files = located.manifest.as_ref().map(|manifest| manifest.files.as_slice()).unwrap_or_default();
    Details {
        architecture: loaded.model.architecture.clone(),
        parameters: loaded.parameters(),
        quantization: quantization(loaded),
        format: match &loaded.checkpoint.metadata {
            Metadata::Gguf(_) => "gguf".into(),
            Metadata::Folder(_) => "safetensors".into(),
        },
        file_bytes: loaded.checkpoint.file_bytes(),
        modified_unix_s: modified.map_or(0, |since| since.as_secs()),
        digest: match files {
            [file] => Some(file.digest.to_string()),
            _ => None,
        },
        context_length: loaded.model.description.context_length,
        template: loaded.chat_template(),
    }
}

/// The storage that most weights are in.
fn quantization(loaded: &Loaded) -> String {
    let mut totals: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in loaded.checkpoint.tensors() {
        *totals.entry(tensor.storage().to_string()).or_default() += tensor.elements();
    }
    let most = totals.into_iter().max_by_key(|(_, elements)| *elements);
    most.map(|(storage, _)| storage.to_uppercase()).unwrap_or_default()
}
