//! Arguments of the verbs that read training data.

use std::path::PathBuf;

use anyhow::Result;
use bantam_data::{Columns, Duplicates, Encoder, Form, Learn, Loader, Similarity, TooLong};
use bantam_text::Thinking;
use clap::{Args, Subcommand, ValueEnum};

use super::{AdapterArgs, CanariesArgs, MachineArgs};

/// `bantam data`
#[derive(Args, Debug)]
pub(crate) struct DataArgs {
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: DataVerb,
}

/// What can be done with training data.
#[derive(Subcommand, Debug)]
pub(crate) enum DataVerb {
    /// Show what a model would learn: lengths, bad lines, duplicates, and one example token by token
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectDataArgs),
    /// Store what a model predicts for training data, to be learnt by another of the same vocabulary
    #[command(after_help = LOGITS_EXAMPLES)]
    Logits(LogitsDataArgs),
    /// Let a model answer what is asked in training data, for another to learn
    #[command(after_help = ANSWER_EXAMPLES)]
    Answer(AnswerDataArgs),
    /// Plant made-up secrets among training data, for `bantam eval privacy` to look for
    Canaries(CanariesArgs),
}

const LOGITS_EXAMPLES: &str = "\
For each token that is learnt a few ids are drawn from the prediction, which teaches the same as the whole in the mean and
takes some 30 bytes.

Examples:
  bantam data logits smollm2:1.7b train.jsonl -o train.logits
  bantam finetune smollm2:135m train.jsonl --logits train.logits -o out";

const ANSWER_EXAMPLES: &str = "\
Lines are chats (up to their last answer), prompts or texts; what comes out are chats.

Examples:
  bantam data answer smollm2:1.7b questions.jsonl -o answers.jsonl
  bantam finetune smollm2:135m answers.jsonl -o out";

const INSPECT_EXAMPLES: &str = "\
Files are .jsonl, .json, .csv, .tsv, .txt or .parquet; a folder stands for all in it. What a line is (a chat, a
prompt with its completion, a preference, a text) is found from its columns.

Examples:
  bantam data inspect smollm2:135m train.jsonl
  bantam data inspect smollm2:135m train.csv --prompt-column question --completion-column reply
  bantam data inspect smollm2:135m chats/ --max-length 1024 --validation 0.1 --example 7";

/// `bantam data inspect`
#[derive(Args, Debug)]
pub(crate) struct InspectDataArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The example to show, from 1
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) example: usize,
    /// Mark what is learnt by brackets and not by colours; also NO_COLOR or TERM=dumb
    #[arg(long)]
    pub(crate) plain: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `bantam data logits`
#[derive(Args, Debug)]
pub(crate) struct LogitsDataArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The file to write
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Ids that are drawn for each token
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) draws: u8,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// `bantam data answer`
#[derive(Args, Debug)]
pub(crate) struct AnswerDataArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    /// Files and folders with what is asked
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
    /// The file to write
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The system text of chats that have none
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// How much chance there is in the answers; 0: none
    #[arg(long, default_value_t = 0.0, value_name = "TEMPERATURE")]
    pub(crate) temperature: f32,
    /// Decides what chance gives
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// New tokens at most; what is longer is left out
    #[arg(long, default_value_t = 512, value_name = "TOKENS")]
    pub(crate) max_tokens: usize,
    /// Tokens of a question and its answer at most
    #[arg(long, default_value_t = 4096, value_name = "TOKENS")]
    pub(crate) context: usize,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}

/// Where training data is and how it is read.
#[derive(Args, Debug)]
pub(crate) struct SourceArgs {
    /// Files and folders of training data
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What the lines are; default: found from their columns
    #[arg(long, value_enum)]
    pub(crate) form: Option<FormArg>,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
    /// What of a chat is learnt
    #[arg(long, value_enum, default_value_t)]
    pub(crate) learn: LearnArg,
    /// The system text of chats that have none, and of prompts
    #[arg(long)]
    pub(crate) system: Option<String>,
    /// As `run --no-think`, which the model is to be run with then
    #[arg(long)]
    pub(crate) no_think: bool,
    /// Put prompts and completions side by side, without the chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// Tokens in an example at most
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_length: Option<usize>,
    /// What happens to longer examples; default: texts are split, of others the start is kept
    #[arg(long, value_enum)]
    pub(crate) too_long: Option<TooLongArg>,
    /// What is left out of what is there twice
    #[arg(long, value_enum, default_value_t)]
    pub(crate) duplicates: DuplicatesArg,
    /// From this similarity on (above 0.5, at most 1) two lines say nearly the same
    #[arg(long, default_value_t = 0.8)]
    pub(crate) similarity: f64,
    /// How much is for validation: a share from 0 to below 1; default: none, and to learn 0.05 of 40 examples or more
    /// (20 of them at least, or a fifth)
    #[arg(long, value_name = "SHARE")]
    pub(crate) validation: Option<f64>,
    /// Decides what is for validation
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Names of columns.
#[derive(Args, Debug)]
#[command(next_help_heading = "Columns, where their names are not the usual ones")]
pub(crate) struct ColumnArgs {
    /// Of a text
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Of what is asked
    #[arg(long, value_name = "NAME")]
    prompt_column: Option<String>,
    /// Of what is answered
    #[arg(long, value_name = "NAME")]
    completion_column: Option<String>,
    /// Of a chat
    #[arg(long, value_name = "NAME")]
    messages_column: Option<String>,
    /// Of the tools of a chat
    #[arg(long, value_name = "NAME")]
    tools_column: Option<String>,
    /// Of the better answer
    #[arg(long, value_name = "NAME")]
    chosen_column: Option<String>,
    /// Of the worse answer
    #[arg(long, value_name = "NAME")]
    rejected_column: Option<String>,
    /// Of a number to order examples by
    #[arg(long, value_name = "NAME")]
    rank_column: Option<String>,
}

/// What lines are.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum FormArg {
    /// A text that is learnt whole
    Text,
    /// A prompt, and a completion that is learnt
    Completion,
    /// Messages
    Chat,
    /// A better and a worse answer
    Preference,
}

/// What of a chat is learnt.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum LearnArg {
    /// All that the assistant says
    #[default]
    Answers,
    /// The assistant's last message
    Last,
    /// Everything, prompts too
    All,
}

/// What happens to long examples.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum TooLongArg {
    /// Learnt in pieces
    Split,
    /// The end is cut off
    KeepStart,
    /// The beginning is cut off
    KeepEnd,
    /// Left out
    Drop,
}

/// What is left out of what is there twice.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DuplicatesArg {
    /// Nothing
    Keep,
    /// Lines equal to an earlier one
    #[default]
    Exact,
    /// Lines that say nearly the same as an earlier one
    Near,
}

impl SourceArgs {
    /// The loader that they describe.
    pub(crate) fn loader(&self, mut encoder: Encoder) -> Result<Loader> {
        encoder.learn = match self.learn {
            LearnArg::Answers => Learn::Answers,
            LearnArg::Last => Learn::LastAnswer,
            LearnArg::All => Learn::Everything,
        };
        encoder.system.clone_from(&self.system);
        if self.no_think {
            encoder.switches.extend(Thinking::switched(false).switches);
        }
        if self.raw {
            encoder.template = None;
        }
        let mut loader = Loader::new(encoder);
        loader.form = self.form.map(|form| match form {
            FormArg::Text => Form::Text,
            FormArg::Completion => Form::Completion,
            FormArg::Chat => Form::Chat,
            FormArg::Preference => Form::Preference,
        });
        loader.columns = self.columns.columns();
        loader.length_max = self.max_length;
        loader.too_long = self.too_long.map(|too_long| match too_long {
            TooLongArg::Split => TooLong::Split,
            TooLongArg::KeepStart => TooLong::KeepStart,
            TooLongArg::KeepEnd => TooLong::KeepEnd,
            TooLongArg::Drop => TooLong::Drop,
        });
        loader.duplicates = match self.duplicates {
            DuplicatesArg::Keep => Duplicates::Keep,
            DuplicatesArg::Exact => Duplicates::Exact,
            DuplicatesArg::Near => Duplicates::Near,
        };
        loader.similarity = Similarity::new(self.similarity)?;
        (loader.validation, loader.seed) = (self.validation.unwrap_or(0.0), self.seed);
        Ok(loader)
    }
}

impl ColumnArgs {
    pub(crate) fn columns(&self) -> Columns {
        Columns {
            text: self.text_column.clone(),
            prompt: self.prompt_column.clone(),
            completion: self.completion_column.clone(),
            messages: self.messages_column.clone(),
            tools: self.tools_column.clone(),
            chosen: self.chosen_column.clone(),
            rejected: self.rejected_column.clone(),
            rank: self.rank_column.clone(),
        }
    }
}
