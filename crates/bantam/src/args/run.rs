//! Arguments of the verbs that generate and learn.

use std::path::PathBuf;

use bantam::Loaded;
use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::{AdapterArgs, FormatArgs, MachineArgs, SamplingArgs, SpeculationArgs};

/// `bantam run`
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A file, a folder, or a name such as smollm2:135m; without one, the default model
    #[arg(value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// What to ask; piped standard input is put behind it
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Vec<String>,
    /// What the model is told before the conversation
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// Let a model that can think first do so, or not (false), or for so many tokens at most; a word such as low
    /// or high, where its template knows it
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) think: Option<String>,
    /// Do not let the model think first, as --think=false
    #[arg(long, conflicts_with = "think")]
    pub(crate) no_think: bool,
    /// Do not print the model's thinking
    #[arg(long, alias = "hidethinking")]
    pub(crate) hide_thinking: bool,
    /// Continue the prompt as it is, without the chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// At most so many tokens in an answer; default: until the model ends it or the context is full
    #[arg(long, short = 'n', visible_alias = "num-predict", value_name = "TOKENS")]
    pub(crate) max_tokens: Option<usize>,
    /// End the answer where it would say this, which is not printed; may be given again
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    /// When the context is full: stop, or forget the oldest and go on
    #[arg(long, value_enum, default_value_t)]
    pub(crate) overflow: OverflowArg,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) speculation: SpeculationArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Print JSON lines: one for each token, then one with usage and timings
    #[arg(long)]
    pub(crate) json: bool,
    /// Print speeds and counts after each answer
    #[arg(long, short = 'v')]
    pub(crate) verbose: bool,
    /// Keep no history of what is typed in a chat
    #[arg(long, env = "BANTAM_NO_HISTORY", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_history: bool,
    /// Print the answer as it is, without colours and styles; also NO_COLOR or TERM=dumb
    #[arg(long)]
    pub(crate) plain: bool,
}

/// How much a sequence may hold.
#[derive(Args, Debug, Clone)]
pub(crate) struct ContextArgs {
    /// Tokens of context; default: what the model was made for, at most 8192
    #[arg(long, short = 'c', visible_alias = "ctx-size", value_name = "TOKENS")]
    pub(crate) ctx: Option<usize>,
}

/// Without a wish, the context is this long at most: keys and values of more take memory that few chats use.
const CONTEXT_LENGTH_DEFAULT_MAX: usize = 8192;

impl ContextArgs {
    /// The context of a model, as wished or by default.
    pub(crate) fn length(&self, loaded: &Loaded) -> usize {
        let made_for = loaded.model.description.context_length;
        self.ctx.unwrap_or(made_for.min(CONTEXT_LENGTH_DEFAULT_MAX)).max(1)
    }
}

/// What to do when the context is full.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OverflowArg {
    /// The answer ends, and says so
    #[default]
    Stop,
    /// The oldest tokens are forgotten, but for the system text
    Shift,
}

/// `bantam generate`
#[derive(Args, Debug)]
pub(crate) struct GenerateArgs {
    /// A file, a folder, or a name
    pub(crate) model: String,
    /// Token ids, with commas between them
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) tokens: Vec<u32>,
    /// How many to generate at most
    #[arg(long, short = 'n', default_value_t = 32)]
    pub(crate) max_tokens: usize,
    /// Take the likeliest token each time, whatever the sampling options say
    #[arg(long)]
    pub(crate) greedy: bool,
    /// Go on after a token that ends the text
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) context: ContextArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) speculation: SpeculationArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam grads`
#[derive(Args, Debug)]
pub(crate) struct BatchArgs {
    /// A file or a folder
    pub(crate) model: String,
    /// Sequences of token ids: commas within, slashes between
    #[arg(long, value_parser = parse_batch)]
    pub(crate) batch: Batch,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// `bantam sgd`
#[derive(Args, Debug)]
pub(crate) struct SgdArgs {
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// How many steps
    #[arg(long, default_value_t = 20)]
    pub(crate) steps: usize,
    /// The learning rate
    #[arg(long, default_value_t = 0.1)]
    pub(crate) rate: f32,
}

/// Sequences of token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) Vec<Vec<u32>>);

fn parse_batch(text: &str) -> Result<Batch, String> {
    let id = |id: &str| id.trim().parse::<u32>().map_err(|_| format!("\"{id}\" is no token id"));
    let sequence = |ids: &str| ids.split(',').map(id).collect::<Result<Vec<u32>, String>>();
    text.split('/').map(sequence).collect::<Result<_, _>>().map(Batch)
}

/// `bantam completions`
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `bantam man`
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder, made if it is not there
    pub(crate) folder: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_sequences_of_ids() {
        assert_eq!(parse_batch("1,2,3/4,5"), Ok(Batch(vec![vec![1, 2, 3], vec![4, 5]])));
        assert!(parse_batch("1,x").is_err_and(|error| error.contains("\"x\"")));
        assert!(parse_batch("").is_err());
    }
}
