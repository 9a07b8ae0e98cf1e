//! Arguments that have to do with what a model remembers of the people in its data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AdapterArgs, MachineArgs};

/// How little may be learnt of any one example.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Privacy")]
pub(crate) struct DpArgs {
    /// Learn so that the adapter would be nearly as likely without any one example: at most this epsilon (less is
    /// stricter; 8 is common, 1 strict)
    #[arg(long, value_name = "EPSILON", value_parser = epsilon)]
    pub(crate) dp: Option<f64>,
    /// The chance with which that may fail; default: 1 / examples^1.1
    #[arg(long, value_name = "DELTA", value_parser = delta, requires = "dp")]
    pub(crate) dp_delta: Option<f64>,
    /// The length to which the gradient of each example is cut: so short that nearly all are
    #[arg(long, value_name = "LENGTH", default_value_t = 0.1, value_parser = epsilon, requires = "dp")]
    pub(crate) dp_clip: f64,
    /// Draw the noise from this seed and keep it on record, for experiments: whoever knows it can take the noise off
    #[arg(long, value_name = "SEED", requires = "dp")]
    pub(crate) dp_seed: Option<u64>,
}

fn epsilon(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| *x > 0.0 && x.is_finite());
    number.ok_or_else(|| "wanted a number above 0".into())
}

fn delta(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| *x > 0.0 && *x < 1.0);
    number.ok_or_else(|| "wanted a number between 0 and 1".into())
}

/// `bantam data canaries`
#[derive(Args, Debug)]
pub(crate) struct CanariesArgs {
    /// Files of training data, as JSON lines
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where to write the data with the canaries among them
    #[arg(long, short = 'o', value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Where to write what was planted, for `bantam eval privacy`
    #[arg(long, value_name = "FILE")]
    pub(crate) secrets: PathBuf,
    /// How often a canary is planted; those planted 0 times are what the others are compared with
    #[arg(long, value_delimiter = ',', default_value = "0,1,4,16,64")]
    pub(crate) repeats: Vec<usize>,
    /// Canaries for each of these
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) each: u16,
    /// Digits of a secret
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(2..=18))]
    pub(crate) digits: u16,
    /// Decides secrets and places
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// `bantam eval`
#[derive(Subcommand, Debug)]
pub(crate) enum EvalVerb {
    /// Measure what a model shows of what it was taught: planted canaries, and who was in the data
    #[command(after_help = PRIVACY_EXAMPLES)]
    Privacy(PrivacyArgs),
}

const PRIVACY_EXAMPLES: &str = "\
Exposure is how many bits of a random secret the model gives away: about 1.4 for one that it never saw, all of them for
one that it says when asked. Membership is whether examples of the data can be told from others by their losses.

Examples:
  bantam data canaries train.jsonl -o planted.jsonl --secrets secrets.json
  bantam finetune smollm2:135m planted.jsonl -o task --duplicates keep
  bantam eval privacy smollm2:135m --adapter task --secrets secrets.json
  bantam eval privacy smollm2:135m --adapter task --members train.jsonl --others held-out.jsonl";

/// `bantam eval privacy`
#[derive(Args, Debug)]
pub(crate) struct PrivacyArgs {
    /// A file, a folder, or a name such as smollm2:135m
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// What `bantam data canaries` planted
    #[arg(long, value_name = "FILE", required_unless_present = "members")]
    pub(crate) secrets: Option<PathBuf>,
    /// Random secrets that each canary is compared with
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=100_000))]
    pub(crate) fills: u32,
    /// Examples that were learnt
    #[arg(long, value_name = "FILE", requires = "others")]
    pub(crate) members: Option<PathBuf>,
    /// Examples of the same kind that were not
    #[arg(long, value_name = "FILE", requires = "members")]
    pub(crate) others: Option<PathBuf>,
    /// Examples of each that are looked at, at most
    #[arg(long, default_value_t = 200)]
    pub(crate) examples_max: usize,
    /// As `finetune --no-think`
    #[arg(long)]
    pub(crate) no_think: bool,
    /// Put prompts and completions side by side, without the chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
}
