//! Arguments of `bantam finetune`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::data::{DuplicatesArg, SourceArgs};
use super::{DpArgs, MachineArgs, RewardArgs};

/// `bantam finetune`
#[derive(Args, Debug)]
pub(crate) struct FinetuneArgs {
    /// A file, a folder, or a name such as smollm2:135m; it stays as it is
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The folder of the run: the adapter as PEFT and as GGUF, metrics, a page with curves, what is needed to go on
    #[arg(long, short = 'o', value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// Go on where a run in the same folder, with the same arguments, stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Say what would be done, how long it takes and what memory it needs, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) course: CourseArgs,
    /// The loss
    #[arg(long, value_enum, default_value_t)]
    pub(crate) loss: LossArg,
    #[command(flatten)]
    pub(crate) reward: RewardArgs,
    #[command(flatten)]
    pub(crate) private: DpArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl FinetuneArgs {
    /// Refuses what means nothing together.
    pub(crate) fn check(&self) -> Result<()> {
        if self.private.dp.is_some() && self.source.duplicates == DuplicatesArg::Near {
            bail!("--dp: what --duplicates near leaves out depends on other examples; give exact or keep");
        }
        if self.private.dp.is_some() && self.loss != LossArg::NextToken {
            bail!("--dp: gradients of examples are taken apart for --loss next-token alone");
        }
        Ok(())
    }
}

/// How to learn; what is left out is chosen from the sizes of model and data, and told with its reason.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "How to learn; default: chosen from the sizes of model and data, and told")]
pub(crate) struct CourseArgs {
    /// Width of the adapter
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) rank: Option<u16>,
    /// What the adapter's product is multiplied with, before it is divided by the rank; default: twice the rank
    #[arg(long)]
    pub(crate) alpha: Option<f32>,
    /// Divide alpha by the root of the rank (rsLoRA)
    #[arg(long)]
    pub(crate) rslora: bool,
    /// Give the rows of changed matrices lengths that are learnt, too (DoRA)
    #[arg(long)]
    pub(crate) dora: bool,
    /// What the adapter begins as
    #[arg(long, value_enum, default_value_t)]
    pub(crate) start: StartArg,
    /// With --start loftq: the model before it was quantised
    #[arg(long, value_name = "MODEL", required_if_eq("start", "loftq"))]
    pub(crate) original: Option<String>,
    /// The highest learning rate
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<f32>,
    /// Examples in a step
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) batch: Option<u32>,
    /// How often each example is learnt
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) epochs: Option<u32>,
    /// Steps at most, whatever the epochs
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: Option<u64>,
    /// How the rate falls
    #[arg(long, value_enum, default_value_t)]
    pub(crate) schedule: ScheduleArg,
    /// Tokens that go through the model together: less takes less memory
    #[arg(long, default_value_t = 2048, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) micro_tokens: u32,
    /// The optimiser
    #[arg(long, value_enum, default_value_t)]
    pub(crate) optimizer: OptimizerArg,
    /// Evaluations without a gain after which learning stops; 0: never
    #[arg(long, default_value_t = 4)]
    pub(crate) patience: usize,
}

/// What is wanted of examples.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LossArg {
    /// That each learnt token is predicted
    #[default]
    NextToken,
    /// That answers which the model gives itself are rewarded (Shao et al., 2024)
    Grpo,
}

/// How the learning rate falls after the warm-up.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum ScheduleArg {
    /// In a line to zero
    #[default]
    Linear,
    /// As half a wave to zero
    Cosine,
    /// Not at all
    Constant,
    /// Only over the last fifth
    Wsd,
}

/// Starts of adapters.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StartArg {
    /// One half by chance, the other zero
    #[default]
    Zero,
    /// The strongest directions of the weights (PiSSA); the adapter on disk has twice the rank
    Pissa,
    /// What quantising took from the weights of --original (LoftQ)
    Loftq,
}

/// Optimisers.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum OptimizerArg {
    /// AdamW
    #[default]
    Adamw,
    /// AdamW whose moments take 8 bits each
    #[value(name = "adamw8bit")]
    Adamw8,
    /// Muon for matrices, AdamW for the rest
    Muon,
}
