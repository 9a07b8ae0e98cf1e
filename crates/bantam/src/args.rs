//! The command line, as data. Help, completions and man pages come from here.

use bantam_model::{Isa, Machine, Numerics};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Small language models on hardware people own.
#[derive(Parser, Debug)]
#[command(name = "bantam", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Print the logits of every position
    #[command(after_help = "Example:\n  bantam logits smollm2:135m --tokens 1,2,3 --json")]
    Logits(LogitsArgs),
    /// Show how a text becomes token ids
    #[command(
        after_help = "Examples:\n  bantam tokenize smollm2:135m \"Hello\"\n  bantam tokenize model.gguf - --json < book.txt"
    )]
    Tokenize(TokenizeArgs),
}

/// `bantam logits`
#[derive(Args, Debug)]
pub struct LogitsArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub model: String,
    /// Token ids, with commas between them
    #[arg(long, value_delimiter = ',', required = true)]
    pub tokens: Vec<u32>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// `bantam tokenize`
#[derive(Args, Debug)]
pub struct TokenizeArgs {
    /// A file, a folder, or a name such as smollm2:135m; a vocabulary alone is enough
    pub model: String,
    /// The text; - reads it from standard input
    pub text: String,
    /// Read special tokens such as <|im_end|> in the text as the tokens they name
    #[arg(long)]
    pub special: bool,
    /// Leave out what the tokeniser puts before and behind a text
    #[arg(long)]
    pub no_bos: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How to compute.
#[derive(Args, Debug)]
pub struct MachineArgs {
    /// How products are rounded
    #[arg(long, value_enum, default_value_t)]
    pub numerics: NumericsArg,
    /// Threads; 0 takes one for each processor that this process may use
    #[arg(long, short = 't', default_value_t = 0, env = "BANTAM_THREADS")]
    pub threads: usize,
    /// Instruction set, for tests: scalar, avx2, neon
    #[arg(long, hide = true, env = "BANTAM_ISA")]
    pub isa: Option<Isa>,
}

impl MachineArgs {
    /// The machine that these arguments describe.
    pub fn machine(&self) -> Machine {
        Machine::new(self.isa.unwrap_or_else(Isa::best), self.threads)
    }
}

/// How products are rounded.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumericsArg {
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
