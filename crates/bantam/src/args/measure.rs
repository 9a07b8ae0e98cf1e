//! Arguments of the verbs that measure.

use clap::Args;

use super::{AdapterArgs, MachineArgs};

pub(super) const PERPLEXITY_HELP: &str = "Examples:
  bantam perplexity smollm2:135m wiki.test.raw
  bantam perplexity model-f16.gguf wiki.test.raw --kl-write base.kld
  bantam perplexity model-q4.gguf wiki.test.raw --kl-base base.kld

By default as llama.cpp measures it: windows of 512 tokens, the second half of each scored, BOS in
place of each window's first token where the model begins texts with one.";

/// `bantam perplexity`
#[derive(Args, Debug)]
pub(crate) struct PerplexityArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    /// The text; - reads it from standard input
    pub(crate) file: String,
    /// Tokens in a window
    #[arg(long, short = 'c', default_value_t = 512)]
    pub(crate) ctx: usize,
    /// At most so many windows
    #[arg(long)]
    pub(crate) windows: Option<usize>,
    /// Score all tokens of a window but the first, without BOS, as papers do
    #[arg(long)]
    pub(crate) whole: bool,
    /// Write the predictions, for other models to be compared with
    #[arg(long, value_name = "FILE")]
    pub(crate) kl_write: Option<String>,
    /// Compare with the predictions in this file, written here or by llama.cpp
    #[arg(long, value_name = "FILE")]
    pub(crate) kl_base: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// `bantam bench`
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    /// Tokens of the prompt
    #[arg(long, short = 'p', default_value_t = 512)]
    pub(crate) prompt: usize,
    /// New tokens
    #[arg(long = "gen", short = 'n', default_value_t = 64)]
    pub(crate) gen_tokens: usize,
    /// Tokens that are in the context before the prompt
    #[arg(long, short = 'd', default_value_t = 0)]
    pub(crate) depth: usize,
    /// Sequences that run together, each with a prompt of its own
    #[arg(long, default_value_t = 1)]
    pub(crate) sequences: usize,
    /// Rounds that count; one more warms up
    #[arg(long, short = 'r', default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}
