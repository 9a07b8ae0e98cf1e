//! The config of `bantam train`: TOML, of which every key is known and most may be left out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

/// All of it. Paths are seen from the folder of the config.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// Keys of Hugging Face configs.
    pub(super) model: Map<String, Value>,
    pub(super) tokenizer: TokenizerConfig,
    pub(super) data: DataConfig,
    #[serde(default)]
    pub(super) course: CourseConfig,
    #[serde(default)]
    pub(super) samples: SamplesConfig,
    #[serde(default)]
    pub(super) result: ResultConfig,
}

/// What is made of the best weights at the end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ResultConfig {
    /// The storage of the matrices of a GGUF file, if there is to be one.
    pub(super) gguf: Option<String>,
}

/// Where the tokeniser comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenizerConfig {
    /// A folder with `tokenizer.json`, whose tokeniser is taken.
    pub(super) path: Option<PathBuf>,
    /// Ids of a new tokeniser.
    pub(super) vocab_size: Option<usize>,
    /// Tokens of a new tokeniser that no text gives, behind the one that ends a text.
    #[serde(default)]
    pub(super) special_tokens: Vec<String>,
}

/// What is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataConfig {
    pub(super) files: Vec<PathBuf>,
    /// Tokens of an example at most; longer texts are cut.
    #[serde(default = "length")]
    pub(super) length: usize,
    /// How much is for validation.
    #[serde(default = "validation")]
    pub(super) validation: f64,
    pub(super) text_column: Option<String>,
    pub(super) rank_column: Option<String>,
    #[serde(default)]
    pub(super) order: OrderConfig,
    /// A model whose loss orders the texts.
    pub(super) reference: Option<String>,
    /// How much of all is the best that comes last.
    #[serde(default = "best_share")]
    pub(super) best_share: f64,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OrderConfig {
    #[default]
    Shuffled,
    Given,
    Length,
    Rank,
    /// By the loss of the reference, for each byte: what is easy first.
    Loss,
    BestLast,
}

/// How it learns.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CourseConfig {
    /// Tokens in all; without it, those of all epochs.
    pub(super) tokens: Option<u64>,
    pub(super) epochs: u64,
    /// Tokens of a step.
    pub(super) batch_tokens: Option<usize>,
    /// Tokens that go through the model together.
    pub(super) micro_tokens: usize,
    pub(super) rate: Option<f32>,
    /// The share of the steps in which the rate rises.
    pub(super) warmup: f64,
    pub(super) schedule: ScheduleConfig,
    /// What is left of the rate at the end of a cosine.
    pub(super) floor: f32,
    /// The share of the steps in which the rate falls at the end of WSD.
    pub(super) decay: f32,
    pub(super) optimizer: OptimizerConfig,
    pub(super) weight_decay: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    pub(super) clip: f32,
    /// Evaluations in a run.
    pub(super) evaluations: u64,
    pub(super) patience: usize,
    /// Keeps activations in place of computing them twice.
    pub(super) keep_activations: bool,
    pub(super) seed: u64,
}

impl Default for CourseConfig {
    fn default() -> Self {
        CourseConfig {
            tokens: None,
            epochs: 1,
            batch_tokens: None,
            micro_tokens: 4096,
            rate: None,
            warmup: 0.02,
            schedule: ScheduleConfig::Wsd,
            floor: 0.1,
            decay: 0.2,
            optimizer: OptimizerConfig::Adamw,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            clip: 1.0,
            evaluations: 20,
            patience: 0,
            keep_activations: false,
            seed: 0,
        }
    }
}

/// How the rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ScheduleConfig {
    Wsd,
    Cosine,
    Linear,
    Constant,
}

/// Optimisers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OptimizerConfig {
    Adamw,
    Adamw8bit,
    Muon,
}

/// Texts that the model writes at each evaluation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SamplesConfig {
    pub(super) prompts: Vec<String>,
    pub(super) tokens: usize,
    pub(super) temperature: f32,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        SamplesConfig { prompts: Vec::new(), tokens: 64, temperature: 0.8 }
    }
}

fn length() -> usize {
    512
}

fn validation() -> f64 {
    0.01
}

fn best_share() -> f64 {
    0.2
}

impl Config {
    /// Reads a config.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut config: Config =
            toml::from_str(&text).with_context(|| format!("{} is no config", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let paths = config.data.files.iter_mut().chain(&mut config.tokenizer.path);
        paths.for_each(|one| *one = folder.join(&*one));
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let (data, course) = (&self.data, &self.course);
        let share = |name: &str, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => bail!("{name}: wanted a share from 0 to 1, found {value}"),
        };
        share("data.best_share", data.best_share)?;
        share("course.warmup", course.warmup)?;
        share("course.floor", f64::from(course.floor))?;
        share("course.decay", f64::from(course.decay))?;
        if data.files.is_empty() {
            bail!("data.files: wanted files or folders to read, found none");
        }
        if course.epochs == 0 || course.evaluations == 0 || course.micro_tokens == 0 {
            bail!("course.epochs, course.evaluations and course.micro_tokens: wanted numbers above 0");
        }
        if (data.order == OrderConfig::Loss) != data.reference.is_some() {
            bail!("data.order = \"loss\" and data.reference = MODEL belong together");
        }
        if data.rank_column.is_none() && matches!(data.order, OrderConfig::Rank | OrderConfig::BestLast) {
            bail!("data.order by rank wants data.rank_column, the column of the ranks");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    const LEAST: &str =
        "[model]\nmodel_type = \"llama\"\n[tokenizer]\nvocab_size = 300\n[data]\nfiles = [\"a.txt\"]\n";

    #[test]
    fn most_keys_may_be_left_out() {
        let config = parsed(LEAST).unwrap();
        assert_eq!(config.model["model_type"], "llama");
        assert_eq!((config.data.length, config.course.epochs), (512, 1));
        let more =
            "[course]\nschedule = \"cosine\"\noptimizer = \"adamw8bit\"\n[samples]\nprompts = [\"Once\"]\n";
        let config = parsed(&format!("{LEAST}{more}")).unwrap();
        assert_eq!(config.course.schedule, ScheduleConfig::Cosine);
    }

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        for (more, said) in [
            ("wrong = 1\n", "wrong"),
            ("order = \"rank\"\n", "rank_column"),
            ("order = \"loss\"\n", "reference"),
            ("[course]\nwarmup = 2.0\n", "course.warmup"),
            ("[course]\nepochs = 0\n", "course.epochs"),
        ] {
            let error = parsed(&format!("{LEAST}{more}")).unwrap_err().to_string();
            assert!(error.contains(said), "{more}: {error}");
        }
    }
}
