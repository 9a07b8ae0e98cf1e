//! Arguments of `bantam finetune`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use bantam::tensor::Storage;
use clap::{Args, ValueEnum};

use super::adapter::parse_storage;
use super::data::{DuplicatesArg, SourceArgs};
use super::{DpArgs, MachineArgs, RewardArgs};

/// `bantam finetune`
#[derive(Args, Debug)]
pub(crate) struct FinetuneArgs {
    /// A file, a folder, or a name such as smollm2:135m; it stays as it is
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The folder of the run: the adapter as PEFT and as GGUF, or the checkpoint, metrics, a page with curves, what is needed to go on
    #[arg(long, short = 'o', value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// Go on where a run in the same folder, with the same arguments, stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Say what would be done, how long it takes and what memory it needs, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --method full: how the matrices are written (f32, bf16, f16, q8_0 ..); default: as they were, f16 for blocks
    #[arg(long, value_parser = parse_storage)]
    pub(crate) storage: Option<Storage>,
    /// A prompt to continue at each evaluation; may be given several times
    #[arg(long, value_name = "PROMPT")]
    pub(crate) sample: Vec<String>,
    /// Write event files for TensorBoard into the folder `tensorboard`
    #[arg(long)]
    pub(crate) tensorboard: bool,
    #[command(flatten)]
    pub(crate) course: CourseArgs,
    #[command(flatten)]
    pub(crate) loss: LossArgs,
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

/// How to learn; what is left out is chosen from the sizes of model and data, and told with its reason.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "How to learn; default: chosen from the sizes of model and data, and told")]
pub(crate) struct CourseArgs {
    /// What learns
    #[arg(long, value_enum, default_value_t)]
    pub(crate) method: MethodArg,
    /// With --method prefix: how many keys and values stand before each sequence; default: 32, or those of --prefix-text
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) virtual_tokens: Option<u16>,
    /// With --method prefix: begin as these words; default: as the first tokens of the examples
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix_text: Option<String>,
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
    /// In which order examples are learnt; ranks are in the column that --rank-column names
    #[arg(long, value_enum, default_value_t)]
    pub(crate) order: OrderArg,
    /// Tokens that go through the model together: less takes less memory; default: 512 with --recompute nothing, else
    /// 2048
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) micro_tokens: Option<u32>,
    /// What is computed a second time rather than kept; results are the same; default: nothing where what is kept takes
    /// at most a gibibyte
    #[arg(long, value_enum)]
    pub(crate) recompute: Option<RecomputeArg>,
    /// The optimiser
    #[arg(long, value_enum, default_value_t)]
    pub(crate) optimizer: OptimizerArg,
    /// Evaluations without a gain after which learning stops; 0: never
    #[arg(long, default_value_t = 4)]
    pub(crate) patience: usize,
}

/// What is learnt of the examples.
#[derive(Args, Debug, Clone)]
#[command(
    next_help_heading = "What to learn; default: the next token, of pairs alone the better answer (dpo)"
)]
pub(crate) struct LossArgs {
    /// The loss
    #[arg(long, value_enum)]
    pub(crate) loss: Option<LossArg>,
    /// DPO: how near to the model as it was, more is nearer. ORPO: the weight of the preference
    #[arg(long, default_value_t = 0.1)]
    pub(crate) beta: f64,
    /// Learn what another model of the same vocabulary predicts
    #[arg(long, value_name = "MODEL", conflicts_with = "logits")]
    pub(crate) teacher: Option<String>,
    /// Learn what another model predicted, from a file of `bantam data logits`
    #[arg(long, value_name = "FILE")]
    pub(crate) logits: Option<PathBuf>,
    /// With --teacher: the distance that is made small
    #[arg(long, value_enum, default_value_t)]
    pub(crate) divergence: DivergenceArg,
    /// With --teacher: what both models' logits are divided by
    #[arg(long, default_value_t = 1.0)]
    pub(crate) temperature: f32,
    /// With --teacher and --logits: how much of the loss is that of the next token, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) hard_share: f32,
}

impl FinetuneArgs {
    /// Refuses what means nothing together.
    pub(crate) fn check(&self) -> Result<()> {
        let course = &self.course;
        let full: &[MethodArg] = &[MethodArg::Full];
        let (lora, prefix) = (&[MethodArg::Lora][..], &[MethodArg::Prefix][..]);
        let adapters = &[MethodArg::Lora, MethodArg::Prefix][..];
        let of_methods = [
            ("--rank", lora, course.rank.is_some()),
            ("--alpha", lora, course.alpha.is_some()),
            ("--rslora", lora, course.rslora),
            ("--dora", lora, course.dora),
            ("--start", lora, course.start != StartArg::Zero),
            ("--virtual-tokens", prefix, course.virtual_tokens.is_some()),
            ("--prefix-text", prefix, course.prefix_text.is_some()),
            ("--dp", adapters, self.private.dp.is_some()),
            ("--loss grpo", adapters, self.loss.loss == Some(LossArg::Grpo)),
            ("--storage", full, self.storage.is_some()),
        ];
        let is_wrong = |methods: &[MethodArg], is_given: bool| is_given && !methods.contains(&course.method);
        if let Some((name, methods, _)) =
            of_methods.iter().find(|(_, methods, is_given)| is_wrong(methods, *is_given))
        {
            let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
            bail!("{name} is for --method {}, and it is {}", names.join(" or "), course.method.name());
        }
        self.check_private()?;
        if self.loss.loss == Some(LossArg::Grpo) && (self.tensorboard || !self.sample.is_empty()) {
            bail!("--loss grpo writes no event files and no samples: leave out --tensorboard and --sample");
        }
        if !(0.0..=1.0).contains(&self.loss.hard_share) {
            bail!("--hard-share: wanted a share from 0 to 1, found {}", self.loss.hard_share);
        }
        if !(self.loss.temperature.is_finite() && self.loss.temperature > 0.0) {
            bail!("--temperature: wanted a number above 0, found {}", self.loss.temperature);
        }
        Ok(())
    }
}

impl FinetuneArgs {
    /// Refuses what a private run cannot keep its promise with.
    fn check_private(&self) -> Result<()> {
        let how = &self.loss;
        let is_plain = matches!(how.loss, None | Some(LossArg::NextToken))
            && how.teacher.is_none()
            && how.logits.is_none();
        let course = &self.course;
        match self.private.dp {
            Some(_) if course.method == MethodArg::Prefix && course.prefix_text.is_none() => {
                bail!("--dp: a prefix that begins as examples do tells of them; give --prefix-text")
            }
            Some(_) if self.source.duplicates == DuplicatesArg::Near => {
                bail!("--dp: what --duplicates near leaves out depends on other examples; give exact")
            }
            Some(_) if self.source.duplicates == DuplicatesArg::Keep => bail!(
                "--dp: the promise is for one text with all lines that repeat it, and so each counts once; \
                 --duplicates keep would let a text that is there 64 times show 64 times as much"
            ),
            Some(_) if !is_plain => {
                bail!("--dp: gradients of examples are taken apart for the plain loss alone")
            }
            _ => Ok(()),
        }
    }
}

/// What learns.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MethodArg {
    /// An adapter beside the weights, which stay as they are
    #[default]
    Lora,
    /// Keys and values before the first token (prefix tuning), beside the weights, which stay as they are
    Prefix,
    /// All weights, in f32
    Full,
}

impl MethodArg {
    const fn name(self) -> &'static str {
        match self {
            MethodArg::Lora => "lora",
            MethodArg::Prefix => "prefix",
            MethodArg::Full => "full",
        }
    }
}

/// What is wanted of examples.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossArg {
    /// That each learnt token is predicted
    NextToken,
    /// That the better answer gains on the worse, seen from the model as it was (Rafailov et al., 2023)
    Dpo,
    /// That the better answer is predicted, and is likelier than the worse (Hong et al., 2024)
    Orpo,
    /// That answers which the model gives itself are rewarded (Shao et al., 2024)
    Grpo,
}

/// Distances from a teacher.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum DivergenceArg {
    /// Of the teacher from the student: all that the teacher says is covered
    #[default]
    Forward,
    /// Of the student from the teacher: what the student says is likely for the teacher
    Reverse,
    /// Jensen-Shannon: between both
    Js,
}

/// Orders of examples.
#[derive(ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum OrderArg {
    /// Another one in each epoch
    #[default]
    Shuffled,
    /// As the files have them
    Given,
    /// The shortest first
    Length,
    /// The lowest rank first
    Rank,
    /// The fifth of the highest rank at the end of the last epoch
    BestLast,
}

/// What is computed a second time on the way back.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum RecomputeArg {
    /// All that is between layers: least memory
    Layers,
    /// Nothing: fastest
    Nothing,
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
