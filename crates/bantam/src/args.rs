//! The command line, as data. Help, completions and man pages come from here.

use bantam_engine::Settings;
use bantam_model::{Isa, KvStorage, Machine, Numerics};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Small language models on hardware people own.
#[derive(Parser, Debug)]
#[command(name = "bantam", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Print the logits of every position
    #[command(after_help = "Example:\n  bantam logits smollm2:135m --tokens 1,2,3 --json")]
    Logits(LogitsArgs),
    /// Show how a text becomes token ids
    #[command(
        after_help = "Examples:\n  bantam tokenize smollm2:135m \"Hello\"\n  bantam tokenize model.gguf - --json < book.txt"
    )]
    Tokenize(TokenizeArgs),
    /// Measure how well a model predicts a text, and how far it is from another
    #[command(after_help = PERPLEXITY_HELP)]
    Perplexity(PerplexityArgs),
    /// Measure how fast a model runs, beside how fast this machine could be
    #[command(after_help = "Example:\n  bantam bench smollm2:135m --prompt 512 --gen 64 --threads 2 --json")]
    Bench(BenchArgs),
}

const PERPLEXITY_HELP: &str = "Examples:
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
    /// Rounds that count; one more warms up
    #[arg(long, short = 'r', default_value_t = 5)]
    pub(crate) rounds: usize,
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

/// How to compute.
#[derive(Args, Debug)]
pub(crate) struct MachineArgs {
    /// How products are rounded
    #[arg(long, value_enum, default_value_t)]
    pub(crate) numerics: NumericsArg,
    /// Threads; 0 takes one for each processor that this process may use
    #[arg(long, short = 't', default_value_t = 0, env = "BANTAM_THREADS")]
    pub(crate) threads: usize,
    /// How keys and values are kept
    #[arg(long, value_enum, default_value_t)]
    pub(crate) kv: KvArg,
    /// Instruction set, for tests: scalar, avx2, neon
    #[arg(long, hide = true, env = "BANTAM_ISA")]
    pub(crate) isa: Option<Isa>,
}

impl MachineArgs {
    /// The machine that these arguments describe.
    pub(crate) fn machine(&self) -> Machine {
        Machine::new(self.isa.unwrap_or_else(Isa::best), self.threads)
    }

    /// An engine's settings; exact products come with exact keys and values.
    pub(crate) fn settings(&self) -> Settings {
        let exact = self.numerics == NumericsArg::Exact;
        Settings {
            isa: self.isa.unwrap_or_else(Isa::best),
            threads: self.threads,
            numerics: self.numerics.into(),
            kv: if exact { KvStorage::F32 } else { self.kv.into() },
            ..Settings::default()
        }
    }
}

/// How keys and values are kept.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum KvArg {
    /// Half precision
    #[default]
    F16,
    /// As computed
    F32,
}

impl From<KvArg> for KvStorage {
    fn from(arg: KvArg) -> Self {
        match arg {
            KvArg::F16 => KvStorage::F16,
            KvArg::F32 => KvStorage::F32,
        }
    }
}

/// How products are rounded.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NumericsArg {
    /// Activations against quantised weights are 16-bit integers
    #[default]
    Default,
    /// All products in 32-bit floating point
    Exact,
}

impl From<NumericsArg> for Numerics {
    fn from(arg: NumericsArg) -> Self {
        match arg {
            NumericsArg::Default => Numerics::Default,
            NumericsArg::Exact => Numerics::Exact,
        }
    }
}
