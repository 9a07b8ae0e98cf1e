//! How the next token is chosen from logits.
//!
//! The order is llama.cpp's default: logit bias, repetition, frequency and presence penalties, DRY, top-k,
//! typical, top-p, min-p, temperature, then one draw. A temperature of zero takes the likeliest token after
//! the biases and penalties; of equal ones, the lowest id. What a constraint forbids is out before top-k.

mod candidates;
mod dry;
mod penalties;
mod random;
mod sampler;

pub(crate) mod logprobs;

pub use dry::Dry;
pub use logprobs::log_sum_exp;
pub use random::Random;
pub use sampler::Sampler;

use crate::Error;

/// The settings of a sampler. The default takes the likeliest token and changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by this; zero takes the likeliest token.
    pub temperature: f32,
    /// Only so many of the likeliest tokens stay; zero keeps all.
    pub top_k: usize,
    /// Only the likeliest tokens that together have this probability stay; one keeps all (Holtzman et al., 2019).
    pub top_p: f32,
    /// Only tokens at least this probable, relative to the likeliest, stay; zero keeps all (arXiv 2407.01082).
    pub min_p: f32,
    /// Only the tokens closest to the expected surprise that together have this probability stay; one keeps all
    /// (Meister et al., 2022).
    pub typical: f32,
    /// Logits of tokens seen lately are divided by this if positive, else multiplied; one changes nothing
    /// (Keskar et al., 2019).
    pub repeat_penalty: f32,
    /// So many of the last tokens count as seen lately, those of the prompt among them; zero for none.
    pub repeat_last_n: usize,
    /// Taken from a token's logit for each time it was seen.
    pub frequency_penalty: f32,
    /// Taken from a token's logit once if it was seen.
    pub presence_penalty: f32,
    /// Added to the logits of tokens; minus infinity forbids one.
    pub logit_bias: Vec<(u32, f32)>,
    /// Against repeating runs of tokens.
    pub dry: Dry,
    /// The same seed gives the same tokens.
    pub seed: u64,
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
    pub fn check(&self, vocab_size: usize) -> Result<(), Error> {
        let numbers: [(&'static str, f32, Range); 9] = [
            ("temperature", self.temperature, Range::FROM_ZERO),
            ("top_p", self.top_p, Range::SHARE),
            ("min_p", self.min_p, Range::SHARE),
            ("typical", self.typical, Range::SHARE),
            ("repeat_penalty", self.repeat_penalty, Range::POSITIVE),
            ("frequency_penalty", self.frequency_penalty, Range::ANY),
            ("presence_penalty", self.presence_penalty, Range::ANY),
            ("dry_multiplier", self.dry.multiplier, Range::FROM_ZERO),
            ("dry_base", self.dry.base, Range::FROM_ONE),
        ];
        for (setting, found, range) in numbers {
            if !(range.fits)(found) {
                return Err(Error::Sampling { setting, found: found.to_string(), wanted: range.wanted });
            }
        }
        for (token, bias) in &self.logit_bias {
            let setting = "logit_bias";
            if bias.is_nan() || *bias == f32::INFINITY {
                let found = format!("{bias} for token {token}");
                return Err(Error::Sampling { setting, found, wanted: "a finite number, or minus infinity" });
            }
            if *token as usize >= vocab_size {
                let found = format!("for token {token} of a vocabulary of {vocab_size}");
                return Err(Error::Sampling { setting, found, wanted: "a token that the model has" });
            }
        }
        Ok(())
    }
}

/// What a setting may be.
struct Range {
    wanted: &'static str,
    fits: fn(f32) -> bool,
}

impl Range {
    const ANY: Range = Range { wanted: "a finite number", fits: f32::is_finite };
    const FROM_ZERO: Range = Range { wanted: "a number from 0 up", fits: |x| x >= 0.0 && x.is_finite() };
    const FROM_ONE: Range = Range { wanted: "a number from 1 up", fits: |x| x >= 1.0 && x.is_finite() };
    const POSITIVE: Range = Range { wanted: "a number above 0", fits: |x| x > 0.0 && x.is_finite() };
    const SHARE: Range = Range { wanted: "a number from 0 to 1", fits: |x| (0.0..=1.0).contains(&x) };
}
