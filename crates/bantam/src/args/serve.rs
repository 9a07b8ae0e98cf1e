//! Arguments of `bantam serve`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bantam::Loaded;
use bantam::model::BaseCheck;
use bantam_server::{Alias, DEFAULT_PORT, KeepAlive, NamedAdapter, Origins};
use clap::Args;

use super::run::ContextArgs;
use super::{MachineArgs, SamplingArgs, SpeculationArgs};
use crate::units::parse_bytes;

/// `bantam serve`
#[derive(Args, Debug, Clone)]
pub(crate) struct ServeArgs {
    /// Files, folders, or names such as smollm2:135m, loaded from the start; the first answers requests that name none.
    /// The other models on this machine are served too, and loaded when they are asked for
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<String>,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Another name for a model, as NAME=MODEL; NAME alone is for the first. Behind commas stand models that answer
    /// where it cannot be loaded. May be given again
    #[arg(long, value_name = "NAME[=MODEL,..]", value_parser = alias)]
    pub(crate) alias: Vec<Alias>,
    #[command(flatten)]
    pub(crate) adapters: ServedAdapters,
    /// Answers that are computed together, for each model; fewer where there is no room for more
    #[arg(long, visible_alias = "np", env = "OLLAMA_NUM_PARALLEL", default_value_t = PARALLEL_DEFAULT)]
    parallel: usize,
    /// Models that are loaded at the same time; 0 for as many as there is room for
    #[arg(long, value_name = "COUNT", env = "OLLAMA_MAX_LOADED_MODELS", default_value_t = 0)]
    pub(crate) models_max: usize,
    /// What all models together may take, such as 8GB [default: nine tenths of what is free at the start]
    #[arg(long, value_name = "SIZE", env = "BANTAM_MEMORY_MAX", value_parser = parse_bytes)]
    pub(crate) memory_max: Option<u64>,
    /// How long a model stays loaded after its last request: 5m, 0, or -1 for ever
    #[arg(
        long,
        value_name = "TIME",
        env = "OLLAMA_KEEP_ALIVE",
        default_value = "5m",
        allow_hyphen_values = true
    )]
    pub(crate) keep_alive: KeepAlive,
    /// Requests that may wait for each model; more are told to try again later
    #[arg(long, env = "OLLAMA_MAX_QUEUE", default_value_t = 64)]
    pub(crate) queue: usize,
    /// Megabytes for states of ended answers, from which those that begin alike go on
    #[arg(long, value_name = "MB", default_value_t = 1024)]
    pub(crate) cache: usize,
    /// A folder where these states are kept between runs, in a file for each model
    #[arg(long, value_name = "DIR")]
    pub(crate) prompt_cache: Option<PathBuf>,
    /// Seconds that running answers have to end when the server is stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) drain: u64,
    /// Keep no responses and no conversations for later requests, whatever these say; else they are kept in memory
    #[arg(long)]
    pub(crate) no_store: bool,
    /// Print no line for each request
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
    #[command(flatten)]
    context: ContextArgs,
    /// As --ctx
    #[arg(long, hide = true, env = "OLLAMA_CONTEXT_LENGTH")]
    ollama_context: Option<usize>,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) speculation: SpeculationArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// Adapters that requests can choose.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ServedAdapters {
    /// A LoRA adapter that requests choose by its name, for the first model or the one behind a comma; may be given
    /// again
    #[arg(long = "adapter", visible_alias = "lora-modules", value_name = "NAME=PATH[,MODEL]", value_parser = adapter)]
    pub(crate) named: Vec<NamedAdapter>,
    /// A folder from which adapters may be loaded while the server runs; may be given again
    #[arg(long = "adapter-dir", value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Take adapters that were made for another base, if their shapes fit
    #[arg(long)]
    any_base: bool,
}

impl ServedAdapters {
    pub(crate) fn check(&self) -> BaseCheck {
        if self.any_base { BaseCheck::Shapes } else { BaseCheck::Fingerprint }
    }

    /// The path of an adapter that may be opened: one that was named at the start, or one within a folder. Of others not
    /// even whether they are there is told.
    pub(crate) fn path(&self, place: &str) -> Option<PathBuf> {
        if self.named.iter().any(|adapter| adapter.place == place) {
            return Some(place.into());
        }
        let path = std::fs::canonicalize(place).ok()?;
        let folders = self.folders.iter().filter_map(|folder| std::fs::canonicalize(folder).ok());
        folders.into_iter().any(|folder| path.starts_with(&folder)).then_some(path)
    }

    /// The folders, for people.
    pub(crate) fn folders_told(&self) -> String {
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        if folders.is_empty() {
            "a folder of --adapter-dir, of which there is none".into()
        } else {
            folders.join(", ")
        }
    }
}

fn adapter(text: &str) -> Result<NamedAdapter, String> {
    let wanted = || "wanted NAME=PATH or NAME=PATH,MODEL".to_owned();
    let (name, rest) = text.split_once('=').ok_or_else(wanted)?;
    let (place, model) = rest.rsplit_once(',').map_or((rest, None), |(place, model)| (place, Some(model)));
    if name.is_empty() || place.is_empty() || model == Some("") {
        return Err(wanted());
    }
    Ok(NamedAdapter { name: name.into(), place: place.into(), model: model.map(str::to_owned) })
}

/// Where a server is, and the keys that it wants.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenArgs {
    /// The server's address; without a key only one of this machine's own [default: 127.0.0.1, or OLLAMA_HOST]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// The port [default: 11434, or OLLAMA_HOST's]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// A socket in the file system, which only its owner can use, beside the address
    #[arg(long, value_name = "PATH", env = "BANTAM_UNIX")]
    pub(crate) unix: Option<PathBuf>,
    /// A key that requests must have; others on this machine can read it here, unlike in BANTAM_API_KEY
    #[arg(long, value_name = "KEY", env = "BANTAM_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// A file of keys, one on each line
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
}

/// Who may ask for what.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Listening")]
pub(crate) struct AccessArgs {
    /// A key for what changes the models that there are (pulling, making, removing, adapters); with keys, others may not
    #[arg(long, value_name = "KEY", env = "BANTAM_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// A file of such keys, one on each line
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// A name by which clients call this machine, besides localhost and addresses; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Pages of other sites that may ask, as https://HOST, http://*.HOST:* or chrome-extension://*; without it none. May
    /// be given again
    #[arg(long, value_name = "ORIGIN", env = "OLLAMA_ORIGINS", value_delimiter = ',')]
    allow_origin: Vec<String>,
}

/// Answers at once where nobody says how many.
const PARALLEL_DEFAULT: usize = 8;

impl ServeArgs {
    /// Answers that are computed together, if there is room for them; zero leaves it to us, as with Ollama.
    pub(crate) fn parallel(&self) -> usize {
        if self.parallel == 0 { PARALLEL_DEFAULT } else { self.parallel }
    }

    /// The context of a model: as wished here, else as the model's recipe wishes, else by default.
    pub(crate) fn context_length(&self, loaded: &Loaded, recipe: Option<usize>) -> usize {
        let ollama = self.ollama_context.filter(|length| *length > 0);
        ContextArgs { ctx: self.context.ctx.or(recipe).or(ollama) }.length(loaded)
    }
}

/// Models are as they are called among the arguments, or as clients call them.
fn alias(text: &str) -> Result<Alias, String> {
    let (name, models) = text.split_once('=').map_or((text, None), |(name, models)| (name, Some(models)));
    let models: Vec<String> =
        models.into_iter().flat_map(|models| models.split(',')).map(str::to_owned).collect();
    if name.is_empty() || models.iter().any(String::is_empty) {
        return Err("wanted NAME, NAME=MODEL or NAME=MODEL,MODEL".into());
    }
    Ok(Alias { name: name.to_owned(), models })
}

impl ListenArgs {
    /// The address and port, as the arguments say, else as `ollama_host` does, the value of OLLAMA_HOST.
    pub(crate) fn address(&self, ollama_host: Option<&str>) -> Result<(IpAddr, u16)> {
        let (host, port) = ollama_host.map(parse_ollama_host).transpose()?.unwrap_or_default();
        let host = self.host.clone().or(host);
        let port = self.port.or(port).unwrap_or(DEFAULT_PORT);
        Ok((host.map_or(Ok(Ipv4Addr::LOCALHOST.into()), |host| parse_host(&host))?, port))
    }

    /// All keys that are given.
    pub(crate) fn keys(&self) -> Result<Vec<String>> {
        all_keys(self.api_key.as_ref(), self.api_key_file.as_deref())
    }

    /// The key that a client sends.
    pub(crate) fn key(&self) -> Option<String> {
        self.keys().ok()?.into_iter().next()
    }
}

impl AccessArgs {
    /// Keys for what changes the models.
    pub(crate) fn admin_keys(&self) -> Result<Vec<String>> {
        all_keys(self.admin_key.as_ref(), self.admin_key_file.as_deref())
    }

    /// Pages of other sites that may ask.
    pub(crate) fn origins(&self) -> Result<Origins> {
        let mut origins = Origins::default();
        for origin in self.allow_origin.iter().filter(|origin| !origin.trim().is_empty()) {
            origins.add(origin)?;
        }
        Ok(origins)
    }
}

fn all_keys(key: Option<&String>, file: Option<&Path>) -> Result<Vec<String>> {
    let mut keys: Vec<String> = key.into_iter().cloned().collect();
    if let Some(file) = file {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        keys.extend(lines.map(str::to_owned));
        // A file without a key would leave the door open without a word.
        if keys.is_empty() {
            return Err(anyhow!("{} holds no key: wanted one on each line", file.display()));
        }
    }
    Ok(keys)
}

fn parse_host(host: &str) -> Result<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        bare => {
            bare.parse().map_err(|_| anyhow!("`{host}` is no address: wanted one such as 127.0.0.1 or ::1"))
        }
    }
}

/// `[http://]HOST[:PORT]`, as Ollama's programs read it; both may be left out.
fn parse_ollama_host(text: &str) -> Result<(Option<String>, Option<u16>)> {
    let text = text.trim().trim_matches(['"', '\'']);
    let (default, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Some(80), rest),
        Some((scheme, _)) => {
            return Err(anyhow!("OLLAMA_HOST is {text:?}: this server speaks http, not {scheme}"));
        }
        None => (None, text),
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let wanted = || anyhow!("OLLAMA_HOST is {text:?}: wanted HOST:PORT");
    // Colons within an address without brackets are no port's.
    let is_bare = rest.matches(':').count() > 1 && !rest.starts_with('[');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !is_bare && !port.ends_with(']') => {
            (host, Some(port.parse().map_err(|_| wanted())?))
        }
        _ => (rest, default),
    };
    Ok(((!host.is_empty()).then(|| host.to_owned()), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: Option<&str>, port: Option<u16>, ollama: Option<&str>) -> String {
        let args = ListenArgs { host: host.map(str::to_owned), port, ..ListenArgs::default() };
        let (address, port) = args.address(ollama).unwrap();
        format!("{address} {port}")
    }

    #[test]
    fn an_address_comes_from_arguments_then_from_ollamas_variable() {
        assert_eq!(address(None, None, None), "127.0.0.1 11434");
        assert_eq!(address(None, None, Some("0.0.0.0")), "0.0.0.0 11434");
        assert_eq!(address(None, None, Some(":8080")), "127.0.0.1 8080");
        assert_eq!(address(None, None, Some("http://192.168.1.7")), "192.168.1.7 80");
        assert_eq!(address(None, None, Some("http://localhost:5/")), "127.0.0.1 5");
        assert_eq!(address(None, None, Some("[::1]:7")), "::1 7");
        assert_eq!(address(None, None, Some("::1")), "::1 11434");
        assert_eq!(address(None, None, Some("[::1]")), "::1 11434");
        assert_eq!(address(Some("::"), Some(9), Some("1.2.3.4:5")), ":: 9");
        assert_eq!(address(Some("localhost"), None, Some("1.2.3.4:5")), "127.0.0.1 5");
        let args = ListenArgs::default();
        for bad in ["https://a", "a:b", "name.example"] {
            assert!(args.address(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_adapter_has_a_name_a_path_and_perhaps_a_model() {
        let read = |text: &str| adapter(text).map(|adapter| (adapter.name, adapter.place, adapter.model));
        assert_eq!(read("a=./x"), Ok(("a".into(), "./x".into(), None)));
        assert_eq!(read("a=x=1,m:t"), Ok(("a".into(), "x=1".into(), Some("m:t".into()))));
        for bad in ["a", "=x", "a=", "a=x,", "a=,m"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_adapters_of_the_start_and_of_its_folders_may_be_opened() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |folder: &tempfile::TempDir, name: &str| folder.path().join(name).display().to_string();
        for folder in [&inside, &outside] {
            std::fs::write(path(folder, "a.gguf"), "").unwrap();
        }
        let named = vec![adapter("mine=./elsewhere.gguf").unwrap()];
        let adapters = ServedAdapters { named, folders: vec![inside.path().into()], any_base: false };
        assert!(adapters.path(&path(&inside, "a.gguf")).is_some());
        assert!(adapters.path("./elsewhere.gguf").is_some());
        let around = format!(
            "{}/../{}/a.gguf",
            inside.path().display(),
            outside.path().file_name().unwrap().display()
        );
        for refused in [path(&outside, "a.gguf"), path(&inside, "b.gguf"), around, "/etc/passwd".into()] {
            assert_eq!(adapters.path(&refused), None, "{refused}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
            assert_eq!(adapters.path(&path(&inside, "link/a.gguf")), None);
        }
    }

    #[test]
    fn an_alias_names_a_model_or_the_first() {
        let models = |text: &str| alias(text).map(|alias| (alias.name, alias.models));
        assert_eq!(models("gpt"), Ok(("gpt".into(), vec![])));
        assert_eq!(models("a=b:c"), Ok(("a".into(), vec!["b:c".into()])));
        assert_eq!(models("a=b,./c.gguf"), Ok(("a".into(), vec!["b".into(), "./c.gguf".into()])));
        for bad in ["=b", "a=", "", "a=b,", "a=,b"] {
            assert!(alias(bad).is_err(), "{bad}");
        }
    }
}
