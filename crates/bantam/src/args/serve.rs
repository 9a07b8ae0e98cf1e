//! Arguments of `bantam serve`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use bantam::Loaded;
use bantam_server::{Alias, DEFAULT_PORT, KeepAlive};
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
    /// Another name for a model, as NAME=MODEL; NAME alone is for the first. Behind commas stand models that answer
    /// where it cannot be loaded. May be given again
    #[arg(long, value_name = "NAME[=MODEL,..]", value_parser = alias)]
    pub(crate) alias: Vec<Alias>,
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
    /// Print no line for each request
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) speculation: SpeculationArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// Where to listen, and who may ask.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenArgs {
    /// The address to listen on; without a key only one of this machine's own [default: 127.0.0.1, or OLLAMA_HOST]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// The port [default: 11434, or OLLAMA_HOST's]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// A key that requests must have; others on this machine can read it here, unlike in BANTAM_API_KEY
    #[arg(long, value_name = "KEY", env = "BANTAM_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// A file of keys, one on each line
    #[arg(long, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// A name by which clients call this machine, besides localhost and addresses; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
}

/// Answers at once where nobody says how many.
const PARALLEL_DEFAULT: usize = 8;

impl ServeArgs {
    /// Answers that are computed together, if there is room for them; zero leaves it to us, as with Ollama.
    pub(crate) fn parallel(&self) -> usize {
        if self.parallel == 0 { PARALLEL_DEFAULT } else { self.parallel }
    }

    /// The context of a model, as wished or by default.
    pub(crate) fn context_length(&self, loaded: &Loaded) -> usize {
        self.context.length(loaded)
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
        let mut keys: Vec<String> = self.api_key.iter().cloned().collect();
        if let Some(file) = &self.api_key_file {
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
