//! `bantam serve`: models for other programs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bantam_server::{Alias, Keys, Server, Settings};

use crate::args::ServeArgs;
use crate::interrupt::Interrupt;
use crate::models::Models;
use crate::serving::{ModelLibrary, Named, room_bytes};
use crate::units;

pub(crate) fn run(args: &ServeArgs, models: Models, interrupt: &Interrupt) -> Result<()> {
    // What is wrong with the settings is told before a model is fetched.
    let settings = settings(args)?;
    let named = wanted(args, &models).into_iter().map(|wanted| Named::find(&models, &wanted));
    let named: Vec<Named> = named.collect::<Result<_>>()?;
    let settings = Settings {
        aliases: args.alias.iter().map(|alias| called(alias, &named)).collect(),
        load_first: named.iter().map(|named| named.name.clone()).collect(),
        ..settings
    };
    let is_open = settings.keys.is_empty();
    let memory_max = settings.memory_max;
    let server = Server::bind(settings, Box::new(ModelLibrary::new(models, args.clone(), named)))?;
    let stopper = server.stopper();
    interrupt.on_press(move || stopper.stop());
    let keys = if is_open { "no key needed, from this machine only" } else { "with a key" };
    let memory = match memory_max {
        u64::MAX => "as much memory as there is".to_owned(),
        bytes => format!("at most {} of memory", units::bytes(bytes)),
    };
    eprintln!("listening on http://{} ({keys}; {memory}); Ctrl-C stops", server.address());
    server.run()?;
    interrupt.serve();
    eprintln!("stopped");
    Ok(())
}

/// The models of the command line. With none, requests that name none go to the default model if it is here or nothing
/// is, and else to the first of the store.
fn wanted(args: &ServeArgs, models: &Models) -> Vec<String> {
    if !args.models.is_empty() {
        return args.models.clone();
    }
    let default = models.hub.catalogue().default_name();
    let stored = models.hub.list().models;
    let is_needed = stored.is_empty() || stored.iter().any(|manifest| manifest.name == default);
    if is_needed { vec![default.to_owned()] } else { Vec::new() }
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
        models_max: if args.models_max == 0 { usize::MAX } else { args.models_max },
        memory_max: args.memory_max.or_else(room_bytes).unwrap_or(u64::MAX),
        keep_alive: args.keep_alive,
        drain_time: Duration::from_secs(args.drain),
        log: if args.quiet { |_| {} } else { |line| eprintln!("{line}") },
        ..Settings::default()
    })
}

/// An alias by the names that clients know.
fn called(alias: &Alias, named: &[Named]) -> Alias {
    let name = |model: &String| {
        let named = named.iter().find(|named| named.wanted == *model);
        named.map_or_else(|| model.clone(), |named| named.name.clone())
    };
    Alias { name: alias.name.clone(), models: alias.models.iter().map(name).collect() }
}
