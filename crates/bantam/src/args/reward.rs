//! Arguments of learning from rewards.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// Rewards.
#[derive(Args, Debug, Clone)]
#[command(
    next_help_heading = "With --loss grpo: the model's own answers, made likelier as far as they are rewarded"
)]
pub(crate) struct RewardArgs {
    /// What is rewarded
    #[arg(long, value_enum)]
    pub(crate) reward: Option<RewardArg>,
    /// With --reward regex: what must be found in an answer
    #[arg(long, value_name = "REGEX")]
    pub(crate) reward_pattern: Option<String>,
    /// With --reward command: reads lines of JSON with prompt, answer and wanted, and writes a number for each
    #[arg(long, value_name = "COMMAND")]
    pub(crate) reward_command: Option<String>,
    /// Answers to each prompt, which are compared with each other
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub(crate) group: u16,
    /// Tokens of an answer, at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) answer_tokens: u32,
    /// How dear it is to go away from the model as it was; 0: free
    #[arg(long, default_value_t = 0.0)]
    pub(crate) kl: f64,
}

/// What is rewarded.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RewardArg {
    /// 1 for the wanted answer, but for spaces around it
    Exact,
    /// 1 for an answer in which --reward-pattern is found
    Regex,
    /// 0.2 for an object in JSON, and the rest by how many fields are as wanted
    Json,
    /// What --reward-command says
    Command,
}

impl RewardArgs {
    /// Refuses what means nothing together.
    pub(crate) fn check(&self) -> Result<RewardArg> {
        let Some(reward) = self.reward else {
            bail!("--loss grpo learns from rewards: say which with --reward exact, regex, json or command")
        };
        match reward {
            RewardArg::Regex if self.reward_pattern.is_none() => {
                bail!("--reward regex: give --reward-pattern")
            }
            RewardArg::Command if self.reward_command.is_none() => {
                bail!("--reward command: give --reward-command")
            }
            _ if !(self.kl >= 0.0 && self.kl.is_finite()) => {
                bail!("--kl: wanted a number from 0 on, found {}", self.kl)
            }
            _ => Ok(reward),
        }
    }
}
