//! `bantam serve`: models for other programs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bantam_server::{Alias, Keys, NamedAdapter, Server, Settings, Storing};

use crate::args::ServeArgs;
use crate::interrupt::Interrupt;
use crate::models::Models;
#[cfg(unix)]
use crate::serving::LocalSocket;
use crate::serving::{ModelLibrary, Named, room_bytes};
use crate::units;

pub(crate) fn run(args: &ServeArgs, models: Models, interrupt: &Interrupt) -> Result<()> {
    // What is wrong with the settings is told before a model is fetched.
    let settings = settings(args)?;
    let named = wanted(args, &models).into_iter().map(|wanted| Named::find(&models, &wanted));
    let named: Vec<Named> = named.collect::<Result<_>>()?;
    let settings = Settings {
        aliases: args.alias.iter().map(|alias| called(alias, &named)).collect(),
        adapters: args.adapters.named.iter().map(|adapter| of_named(adapter, &named)).collect(),
        load_first: named.iter().map(|named| named.name.clone()).collect(),
        ..settings
    };
    let is_open = settings.keys.is_empty();
    let memory_max = settings.memory_max;
    let server = Server::bind(settings, Box::new(ModelLibrary::new(models, args.clone(), named)?))?;
    // Lives as long as the server: what ends it removes the socket.
    let (server, _socket) = also_local(server, args)?;
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

/// The server with a socket in the file system, if one is wanted, and what removes that.
#[cfg(unix)]
fn also_local(server: Server, args: &ServeArgs) -> Result<(Server, Option<LocalSocket>)> {
    let Some(path) = &args.listen.unix else { return Ok((server, None)) };
    let (socket, listener) = LocalSocket::bind(path)?;
    eprintln!("listening on {}", path.display());
    Ok((server.and_local(listener), Some(socket)))
}

#[cfg(not(unix))]
fn also_local(server: Server, args: &ServeArgs) -> Result<(Server, Option<()>)> {
    match &args.listen.unix {
        Some(path) => anyhow::bail!("--unix {}: this system has no such sockets", path.display()),
        None => Ok((server, None)),
    }
}

/// The models of the command line. With none, requests that name none go to the default model if it is here or nothing
/// is, and else to the first of the store.
fn wanted(args: &ServeArgs, models: &Models) -> Vec<String> {
    if !args.models.is_empty() {
        return args.models.clone();
    }
    let default = models.hub.catalogue().default_name();
    let mut stored = models.hub.list().models;
    stored.extend(models.hub.list_borrowed().into_iter().filter_map(|located| located.manifest));
    let is_needed = stored.is_empty() || stored.iter().any(|manifest| manifest.name == default);
    if is_needed { vec![default.to_owned()] } else { Vec::new() }
}

fn settings(args: &ServeArgs) -> Result<Settings> {
    let ollama_host = std::env::var("OLLAMA_HOST").ok().filter(|host| !host.trim().is_empty());
    Ok(Settings {
        address: SocketAddr::from(args.listen.address(ollama_host.as_deref())?),
        keys: keys(args.listen.keys()?)?,
        admin_keys: keys(args.access.admin_keys()?)?,
        hosts: args.access.allow_host.clone(),
        origins: args.access.origins()?,
        waiting_max: args.queue,
        models_max: if args.models_max == 0 { usize::MAX } else { args.models_max },
        memory_max: args.memory_max.or_else(room_bytes).unwrap_or(u64::MAX),
        keep_alive: args.keep_alive,
        drain_time: Duration::from_secs(args.drain),
        storing: if args.no_store { Storing::Off } else { Storing::InMemory },
        log: if args.quiet { |_| {} } else { |line| eprintln!("{line}") },
        ..Settings::default()
    })
}

fn keys(all: Vec<String>) -> Result<Keys> {
    let mut keys = Keys::default();
    all.iter().try_for_each(|key| keys.add(key))?;
    Ok(keys)
}

/// A model of the command line by the name that clients know.
fn name_of(model: &str, named: &[Named]) -> String {
    let named = named.iter().find(|named| named.wanted == model);
    named.map_or_else(|| model.to_owned(), |named| named.name.clone())
}

fn called(alias: &Alias, named: &[Named]) -> Alias {
    let models = alias.models.iter().map(|model| name_of(model, named)).collect();
    Alias { name: alias.name.clone(), models }
}

fn of_named(adapter: &NamedAdapter, named: &[Named]) -> NamedAdapter {
    let model = adapter.model.as_ref().map(|model| name_of(model, named));
    NamedAdapter { model, ..adapter.clone() }
}
