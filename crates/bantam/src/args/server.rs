//! Arguments of the verbs that ask a running server, or about settings.

use clap::{Args, Subcommand};

use super::serve::ListenArgs;

/// `bantam config`
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) verb: ConfigVerb,
}

/// What to do with settings.
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigVerb {
    /// Print the settings that a command would have now
    Show(ShowConfigArgs),
}

/// `bantam config show`
#[derive(Args, Debug)]
pub(crate) struct ShowConfigArgs {
    /// The command
    #[arg(default_value = "serve")]
    pub(crate) command: String,
    /// Also print who says so: the environment, the file, or nobody
    #[arg(long)]
    pub(crate) origin: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam ps`
#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) server: ListenArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam stop`
#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Names as `bantam ps` shows them
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<String>,
    #[command(flatten)]
    pub(crate) server: ListenArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam top`
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) server: ListenArgs,
    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0)]
    pub(crate) interval: f64,
    /// Look once, as without a terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// Print JSON, once
    #[arg(long)]
    pub(crate) json: bool,
}
