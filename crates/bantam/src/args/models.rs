//! Arguments of the verbs that fetch, keep and look into models.

use bantam_hub::{Network, Settings};
use clap::Args;

use super::run::ContextArgs;
use super::{AdapterArgs, MachineArgs};

/// How models are fetched.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Fetching models")]
pub(crate) struct HubArgs {
    /// Open no connection; also BANTAM_OFFLINE=1 or HF_HUB_OFFLINE=1
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Accept a model's licence terms without being asked
    #[arg(long, global = true)]
    pub(crate) accept_terms: bool,
}

impl HubArgs {
    /// The settings of the environment with what the arguments change.
    pub(crate) fn over(&self, settings: Settings) -> Settings {
        let network = if self.offline { Network::Forbidden } else { settings.network };
        Settings { network, ..settings }
    }
}

/// `bantam pull`
#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// Names such as smollm2:135m, or hf.co/ORG/REPO[:QUANT]
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam list`
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// List what can be pulled instead
    #[arg(long, visible_alias = "all")]
    pub(crate) catalogue: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam show`
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// A name such as smollm2:135m, a file or a folder
    pub(crate) model: String,
    /// Print the chat template alone
    #[arg(long, conflicts_with = "json")]
    pub(crate) template: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam rm`
#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    /// Names as `bantam list` shows them
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam inspect`
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// A file, a folder, or a name such as smollm2:135m; or an adapter
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    /// Also fill the context and measure the memory that was really used
    #[arg(long)]
    pub(crate) measure: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// `bantam logits`
#[derive(Args, Debug)]
pub(crate) struct LogitsArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    /// Token ids, with commas between them
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) tokens: Vec<u32>,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// `bantam tokenize`
#[derive(Args, Debug)]
pub(crate) struct TokenizeArgs {
    /// A file, a folder, or a name such as smollm2:135m; a vocabulary alone is enough
    pub(crate) model: String,
    /// The text; - reads it from standard input
    pub(crate) text: String,
    /// Read special tokens such as <|im_end|> in the text as the tokens they name
    #[arg(long)]
    pub(crate) special: bool,
    /// Leave out what the tokeniser puts before and behind a text
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
