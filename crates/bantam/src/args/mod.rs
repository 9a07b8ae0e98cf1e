//! The command line, as data. Help, completions and man pages come from here.

mod adapter;
mod data;
mod finetune;
mod format;
mod machine;
mod measure;
mod models;
mod privacy;
mod reward;
mod run;
mod sampling;
mod serve;
mod server;
mod speculation;
mod train;

use clap::{Parser, Subcommand};

pub(crate) use adapter::{AdapterArgs, AdapterVerb, ConvertArgs, MergeArgs, parse_adapter, parse_storage};
pub(crate) use data::{AnswerDataArgs, DataArgs, DataVerb, InspectDataArgs, LogitsDataArgs};
pub(crate) use finetune::{
    CourseArgs, DivergenceArg, FinetuneArgs, LossArg, LossArgs, MethodArg, OptimizerArg, OrderArg,
    RecomputeArg, ScheduleArg, StartArg,
};
pub(crate) use format::FormatArgs;
pub(crate) use machine::MachineArgs;
pub(crate) use measure::{BenchArgs, PerplexityArgs};
pub(crate) use models::{
    HubArgs, InspectArgs, ListArgs, LogitsArgs, PullArgs, RemoveArgs, ShowArgs, TokenizeArgs,
};
pub(crate) use privacy::{CanariesArgs, DpArgs, EvalVerb, PrivacyArgs};
pub(crate) use reward::{RewardArg, RewardArgs};
pub(crate) use run::{BatchArgs, CompletionsArgs, GenerateArgs, ManArgs, OverflowArg, RunArgs, SgdArgs};
pub(crate) use sampling::{SamplingArgs, random_seed};
pub(crate) use serve::{ListenArgs, ServeArgs};
pub(crate) use server::{ConfigArgs, ConfigVerb, PsArgs, StopArgs, TopArgs};
pub(crate) use speculation::SpeculationArgs;
pub(crate) use train::TrainArgs;

/// Small language models on hardware people own.
#[derive(Parser, Debug)]
#[command(
    name = "bantam",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "A model is named by a path (a .gguf file or a folder), a name such as smollm2:135m \
                  (`bantam list --catalogue` shows them), or hf.co/ORG/REPO."
)]
pub(crate) struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
}

/// The verbs.
#[derive(Subcommand, Debug)]
#[allow(clippy::large_enum_variant, reason = "made once in a process")]
pub(crate) enum Verb {
    /// Ask a model, or chat with it
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Serve models to other programs: OpenAI's, Anthropic's and Ollama's clients
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// List the models that a server has loaded
    Ps(PsArgs),
    /// Have a server let go of models
    Stop(StopArgs),
    /// Watch what a server does
    Top(TopArgs),
    /// Show settings, which come from flags, the environment and a file
    #[command(after_help = CONFIG_HELP)]
    Config(ConfigArgs),
    /// Bring a model to this machine
    #[command(after_help = "Examples:\n  bantam pull qwen3:0.6b\n  bantam pull hf.co/ORG/REPO:Q4_K_M")]
    Pull(PullArgs),
    /// List the models on this machine
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show where a model came from and what it is
    Show(ShowArgs),
    /// Remove models from this machine
    Rm(RemoveArgs),
    /// Look into a model: its layers, weights, storages, and the memory it needs
    #[command(after_help = "Example:\n  bantam inspect smollm2:135m --ctx 8192 --kv f16 --measure")]
    Inspect(InspectArgs),
    /// Show how a text becomes token ids
    #[command(
        after_help = "Examples:\n  bantam tokenize smollm2:135m \"Hello\"\n  bantam tokenize model.gguf - --json < book.txt"
    )]
    Tokenize(TokenizeArgs),
    /// Print the logits of every position
    #[command(after_help = "Example:\n  bantam logits smollm2:135m --tokens 1,2,3 --json")]
    Logits(LogitsArgs),
    /// Measure how well a model predicts a text, and how far it is from another
    #[command(after_help = measure::PERPLEXITY_HELP)]
    Perplexity(PerplexityArgs),
    /// Measure how fast a model runs, beside how fast this machine could be
    #[command(after_help = "Example:\n  bantam bench smollm2:135m --prompt 512 --gen 64 --threads 2 --json")]
    Bench(BenchArgs),
    /// Teach a model a task on its own file, and keep what it learnt beside it as an adapter
    #[command(after_help = FINETUNE_EXAMPLES)]
    Finetune(FinetuneArgs),
    /// Train a model from nothing: tokeniser, weights, all as a config says
    #[command(after_help = TRAIN_EXAMPLES)]
    Train(TrainArgs),
    /// Look at training data as a model would learn it, or add a model's predictions or answers
    Data(DataArgs),
    /// Measure what a model does beside predicting
    #[command(subcommand)]
    Eval(EvalVerb),
    /// Fold adapters into their base, and measure what that changes
    #[command(
        after_help = "Examples:\n  bantam merge smollm2:135m --adapter ./my-adapter -o merged.gguf\n  bantam merge model.gguf --adapter a.gguf=0.5 -o merged.gguf --storage q8_0 --text held-out.txt"
    )]
    Merge(MergeArgs),
    /// Write adapters in other forms
    #[command(
        subcommand,
        after_help = "Example:\n  bantam adapter convert ./my-adapter --base smollm2:135m -o my-adapter.gguf"
    )]
    Adapter(AdapterVerb),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  bantam completions bash > ~/.local/share/bash-completion/completions/bantam"
    )]
    Completions(CompletionsArgs),
    /// Write manual pages into a folder
    #[command(after_help = "Example:\n  bantam man ~/.local/share/man/man1")]
    Man(ManArgs),
    /// Continue a list of token ids
    #[command(hide = true)]
    Generate(GenerateArgs),
    /// Print the loss and the norms of the gradients of all weights
    #[command(hide = true)]
    Grads(BatchArgs),
    /// Print the losses of plain gradient descent
    #[command(hide = true)]
    Sgd(SgdArgs),
}

const FINETUNE_EXAMPLES: &str = "\
Files are as `bantam data inspect` shows them: chats, prompts with completions, texts. Rank, rate, batch and epochs are
chosen from the sizes of model and data, and told with their reasons.

Examples:
  bantam finetune smollm2:135m train.jsonl -o my-task
  bantam finetune smollm2:135m train.jsonl -o my-task --dry-run      what it would take
  bantam finetune model.gguf chats/ -o out --epochs 1 --rank 64 --rate 5e-4
  bantam finetune model.gguf chats/ -o out --epochs 1 --rank 64 --rate 5e-4 --resume
  bantam finetune smollm2:135m texts/ -o out --method full           all weights, a checkpoint of its own
  bantam finetune smollm2:135m pairs.jsonl -o out --loss dpo         better and worse answers
  bantam finetune smollm2:135m train.jsonl -o out --teacher smollm2:360m
  bantam run smollm2:135m --adapter my-task";

const TRAIN_EXAMPLES: &str = "\
The least that a config says (paths are seen from its folder; docs/train.md has all keys):
  [model]
  model_type = \"llama\"
  hidden_size = 256
  num_hidden_layers = 6
  num_attention_heads = 4
  [tokenizer]
  vocab_size = 4096
  [data]
  files = [\"texts.jsonl\"]

Examples:
  bantam train tiny.toml -o tiny --dry-run      what it would take
  bantam train tiny.toml -o tiny
  bantam train tiny.toml -o tiny --resume
  bantam run tiny/model";

const RUN_EXAMPLES: &str = "\
One argument alone is the prompt if it holds a space or names no model; the default model answers.

Examples:
  bantam run                                      chat with the default model
  bantam run \"Why is the sky blue?\"               ask the default model
  bantam run qwen3:0.6b                           chat with another
  bantam run qwen3:0.6b \"Why is the sky blue?\"
  git diff | bantam run \"Write a commit message:\"
  bantam run ./model.gguf --temp 0 --json \"Hi\"";

const CONFIG_HELP: &str = "\
The file is $BANTAM_CONFIG, else bantam/config.toml in $XDG_CONFIG_HOME or ~/.config. It has a section for each command, and in
it the long names of flags:

  [serve]
  models = [\"smollm2:135m\"]
  keep-alive = \"30m\"
  parallel = 4";

const SERVE_EXAMPLES: &str = "\
Examples:
  bantam serve                                    the default model, on http://127.0.0.1:11434
  bantam serve smollm2:135m --alias gpt-4o-mini   under another name, too
  BANTAM_API_KEY=... bantam serve --host 0.0.0.0  for other machines";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
