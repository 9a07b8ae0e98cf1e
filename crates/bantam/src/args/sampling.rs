//! How the next token is chosen; named as llama.cpp and Ollama name it.

use anyhow::Result;
use bantam_engine::Sampling;
use clap::Args;

/// How the next token is chosen. What is not given comes from the model's own recommendation, else from
/// llama.cpp's defaults.
#[derive(Args, Debug, Clone, Default, PartialEq)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// How much chance: 0 always takes the likeliest token
    #[arg(long, visible_alias = "temp", value_parser = not_negative)]
    pub(crate) temperature: Option<f32>,
    /// Only the so many likeliest; 0 for all
    #[arg(long)]
    pub(crate) top_k: Option<usize>,
    /// Only the likeliest that together have this probability; 1 for all
    #[arg(long, value_parser = probability)]
    pub(crate) top_p: Option<f32>,
    /// Only those at least this much as likely as the likeliest; 0 for all
    #[arg(long, value_parser = probability)]
    pub(crate) min_p: Option<f32>,
    /// Only the locally typical ones with this probability together; 1 for all
    #[arg(long, visible_alias = "typical-p", value_parser = probability)]
    pub(crate) typical: Option<f32>,
    /// Make what was said less likely; 1 for no change
    #[arg(long, value_parser = positive)]
    pub(crate) repeat_penalty: Option<f32>,
    /// The penalties look back so many tokens; -1 for the whole context
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) repeat_last_n: Option<i32>,
    /// Taken off the logit of what was said at all
    #[arg(long, allow_hyphen_values = true, value_parser = finite)]
    pub(crate) presence_penalty: Option<f32>,
    /// Taken off the logit of what was said, for each time it was said
    #[arg(long, allow_hyphen_values = true, value_parser = finite)]
    pub(crate) frequency_penalty: Option<f32>,
    /// Added to the logit of a token, as ID=BIAS or ID+BIAS or ID-BIAS; may be given again
    #[arg(long, value_name = "ID=BIAS", value_parser = logit_bias)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// DRY: how hard repeating a passage is punished; 0 for not at all
    #[arg(long, value_parser = not_negative)]
    pub(crate) dry_multiplier: Option<f32>,
    /// DRY: the punishment grows by this with each token repeated
    #[arg(long, value_parser = positive)]
    pub(crate) dry_base: Option<f32>,
    /// DRY: repeats up to this length go free
    #[arg(long)]
    pub(crate) dry_allowed_length: Option<usize>,
    /// DRY: look back so many tokens; -1 for the whole context
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) dry_penalty_last_n: Option<i32>,
    /// DRY: a passage does not reach across this text; may be given again
    #[arg(long, value_name = "TEXT")]
    pub(crate) dry_sequence_breaker: Vec<String>,
    /// The seed of chance; default: another one each time
    #[arg(long, short = 's')]
    pub(crate) seed: Option<u64>,
}

impl SamplingArgs {
    /// What is given, over what a model wants. `ids` gives the ids of a text, for the passages' breakers.
    pub(crate) fn over(
        &self,
        mut sampling: Sampling,
        ids: impl Fn(&str) -> Option<Vec<u32>>,
    ) -> Result<Sampling> {
        fn set<T: Clone>(place: &mut T, given: &Option<T>) {
            if let Some(given) = given {
                place.clone_from(given);
            }
        }
        set(&mut sampling.temperature, &self.temperature);
        set(&mut sampling.top_k, &self.top_k);
        set(&mut sampling.top_p, &self.top_p);
        set(&mut sampling.min_p, &self.min_p);
        set(&mut sampling.typical, &self.typical);
        set(&mut sampling.repeat_penalty, &self.repeat_penalty);
        set(&mut sampling.repeat_last_n, &self.repeat_last_n.map(|n| usize::try_from(n).unwrap_or(usize::MAX)));
        set(&mut sampling.presence_penalty, &self.presence_penalty);
        set(&mut sampling.frequency_penalty, &self.frequency_penalty);
        set(&mut sampling.dry.multiplier, &self.dry_multiplier);
        set(&mut sampling.dry.base, &self.dry_base);
        set(&mut sampling.dry.allowed_length, &self.dry_allowed_length);
        set(&mut sampling.dry.last_n, &self.dry_penalty_last_n.map(|n| usize::try_from(n).ok()));
        sampling.logit_bias.extend(&self.logit_bias);
        let breakers = if self.dry_sequence_breaker.is_empty() { DRY_BREAKERS } else { &[] };
        let given = self.dry_sequence_breaker.iter().map(String::as_str);
        sampling.dry.breakers = breakers.iter().copied().chain(given).filter_map(ids).flatten().collect();
        sampling.seed = self.seed.unwrap_or_else(random_seed);
        sampling.check()?;
        Ok(sampling)
    }
}

/// llama.cpp's.
const DRY_BREAKERS: &[&str] = &["\n", ":", "\"", "*"];

/// Another one each time. Small, so that a person can type it again.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() & 0xffff_ffff
}

fn number(text: &str, is_right: impl Fn(f32) -> bool, wanted: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|n: &f32| n.is_finite() && is_right(*n));
    number.ok_or_else(|| format!("wanted {wanted}"))
}

fn finite(text: &str) -> Result<f32, String> {
    number(text, |_| true, "a number")
}

fn not_negative(text: &str) -> Result<f32, String> {
    number(text, |n| n >= 0.0, "a number of at least 0")
}

fn positive(text: &str) -> Result<f32, String> {
    number(text, |n| n > 0.0, "a number above 0")
}

fn probability(text: &str) -> Result<f32, String> {
    number(text, |n| (0.0..=1.0).contains(&n), "a number from 0 to 1")
}

/// `ID=BIAS`, and llama.cpp's `ID+BIAS` and `ID-BIAS`; a bias may be `-inf` or `false`, which forbids the token.
fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let wanted = || "wanted a token id, then =, + or -, then a number, as in 42=-1.5".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
    let id = text[..at].parse().map_err(|_| wanted())?;
    let bias = text[at..].strip_prefix('=').unwrap_or(&text[at..]);
    let bias = if bias == "false" { f32::NEG_INFINITY } else { bias.parse().map_err(|_| wanted())? };
    if bias.is_nan() || bias == f32::INFINITY { Err(wanted()) } else { Ok((id, bias)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_read_in_every_form() {
        assert_eq!(logit_bias("42=-1.5"), Ok((42, -1.5)));
        assert_eq!(logit_bias("42+1"), Ok((42, 1.0)));
        assert_eq!(logit_bias("42-1"), Ok((42, -1.0)));
        assert_eq!(logit_bias("7=false"), Ok((7, f32::NEG_INFINITY)));
        for bad in ["", "x", "42", "42=", "42=nan", "42=inf", "=1", "99999999999=1"] {
            assert!(logit_bias(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(probability("1.5").is_err());
        assert!(not_negative("-0.1").is_err());
        assert!(positive("0").is_err());
        assert!(finite("nan").is_err());
    }
}
