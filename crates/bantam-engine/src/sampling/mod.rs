//! How the next token is chosen from logits.
//!
//! The order is llama.cpp's default: logit bias, repetition, frequency and presence penalties, DRY, top-k,
//! typical, top-p, min-p, temperature, then one draw. A temperature of zero takes the likeliest token after
//! the biases and penalties; of equal ones, the lowest id.

mod candidates;
mod penalties;
mod random;
mod sampler;

pub use random::Random;
pub use sampler::{Choice, Sampler};

use crate::Error;

/// The settings of a sampler. The default takes the likeliest token and changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; zero takes the likeliest token.
    pub temperature: f32,
    /// Only so many of the likeliest tokens stay; zero keeps all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability stay (Holtzman et al., 2019).
    pub top_p: f32,
    /// Only tokens at least this probable, relative to the likeliest, stay (arXiv 2407.01082).
    pub min_p: f32,
    /// Only the tokens closest to the expected surprise that together have this probability stay (Meister et al.,
    /// 2022).
    pub typical: f32,
    /// Logits of tokens seen lately are divided by this if positive, else multiplied (Keskar et al., 2019).
    pub repeat_penalty: f32,
    /// So many of the last tokens count as seen lately, those of the prompt among them; zero for none.
    pub repeat_last_n: usize,
    /// Taken from a token's logit for each time it was seen.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once if it was seen.
    pub presence_penalty: f32,
    /// Added to the logits of tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Against repeating runs of tokens.
    pub dry: Dry,
    /// The same seed gives the same tokens.
    pub seed: u64,
}

/// DRY ("do not repeat yourself"): a token that would prolong a run which has occurred before loses
/// `multiplier * base^(length - allowed_length)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dry {
    /// Zero switches it off.
    pub multiplier: f32,
    /// How fast it grows with the run.
    pub base: f32,
    /// Runs up to this length cost nothing.
    pub allowed_length: usize,
    /// So many of the last tokens are searched; all if `None`.
    pub last_n: Option<usize>,
    /// Tokens that no run reaches across.
    pub breakers: Vec<u32>,
}

impl Default for Dry {
    fn default() -> Self {
        Dry { multiplier: 0.0, base: 1.75, allowed_length: 2, last_n: None, breakers: Vec::new() }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical: 1.0,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            dry: Dry::default(),
            seed: 0,
        }
    }
}

impl Sampling {
    /// Refuses settings that cannot be, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Sampling`].
    pub fn check(&self) -> Result<(), Error> {
        let in_range = |setting, found: f32, wanted, fits: bool| {
            if fits { Ok(()) } else { Err(Error::Sampling { setting, found: found.to_string(), wanted }) }
        };
        let share = |x: f32| (0.0..=1.0).contains(&x);
        let positive = |x: f32| x > 0.0 && x.is_finite();
        in_range(
            "temperature",
            self.temperature,
            "a number from 0 up",
            self.temperature >= 0.0 && self.temperature.is_finite(),
        )?;
        in_range("top_p", self.top_p, "a number from 0 to 1", share(self.top_p))?;
        in_range("min_p", self.min_p, "a number from 0 to 1", share(self.min_p))?;
        in_range("typical", self.typical, "a number from 0 to 1", share(self.typical))?;
        in_range("repeat_penalty", self.repeat_penalty, "a number above 0", positive(self.repeat_penalty))?;
        in_range(
            "frequency_penalty",
            self.frequency_penalty,
            "a finite number",
            self.frequency_penalty.is_finite(),
        )?;
        in_range(
            "presence_penalty",
            self.presence_penalty,
            "a finite number",
            self.presence_penalty.is_finite(),
        )?;
        let multiplier = self.dry.multiplier;
        in_range(
            "dry_multiplier",
            multiplier,
            "a number from 0 up",
            multiplier >= 0.0 && multiplier.is_finite(),
        )?;
        in_range(
            "dry_base",
            self.dry.base,
            "a number from 1 up",
            self.dry.base >= 1.0 && self.dry.base.is_finite(),
        )?;
        for (token, bias) in &self.logit_bias {
            if bias.is_nan() {
                let found = format!("NaN for token {token}");
                return Err(Error::Sampling { setting: "logit_bias", found, wanted: "a number" });
            }
        }
        Ok(())
    }
}
