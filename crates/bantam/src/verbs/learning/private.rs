//! Private runs: the noise that `--dp` asks for, its key, and what is told of it.
//!
//! The key lies in the run's folder only as long as the run may have to go on: whoever knows it can take the noise off.

use std::fmt::Write as _;

use anyhow::{Context, Result, anyhow};
use bantam_model::Machine;
use bantam_train::{Accountant, Example, Noise, Privacy, StepReport, Trainer};
use serde_json::{Value, json};

use super::Folder;
use crate::args::DpArgs;

const KEY: &str = "noise.key";

/// What a run gives away at most, and how it keeps to that.
pub(crate) struct Private {
    noise: Noise,
    privacy: Privacy,
    accountant: Accountant,
    epsilon: f64,
    delta: f64,
    seed: Option<u64>,
}

impl Private {
    /// The noise that the asked epsilon needs in so many steps of so many of the examples; none where none was asked. The
    /// noise of a step that is thrown away may be known, and so it is until [`Private::draw`].
    pub(crate) fn new(args: &DpArgs, examples: usize, batch: usize, steps: u64) -> Result<Option<Self>> {
        let Some(epsilon) = args.dp else { return Ok(None) };
        let delta = args.dp_delta.unwrap_or_else(|| (examples as f64).powf(-1.1));
        let sampling_rate = (batch as f64 / examples as f64).min(1.0);
        let noise_multiplier = Accountant::noise_for(sampling_rate, steps, epsilon, delta)
            .with_context(|| format!("no noise is enough for --dp {epsilon} over {steps} steps"))?;
        let accountant = Accountant { sampling_rate, noise_multiplier, steps };
        let privacy = Privacy { clip: args.dp_clip, noise_multiplier, sampling_rate, examples };
        let (noise, epsilon) = (Noise::new([0; 32]), accountant.epsilon(delta));
        Ok(Some(Private { noise, privacy, accountant, epsilon, delta, seed: args.dp_seed }))
    }

    /// What is promised.
    pub(crate) fn tell(&self) {
        eprintln!(
            "{:>8}  {:<8} for one example more or less, with delta {:.1e}: noise {:.3} times the clip {}, each example \
             in a step with chance {:.4}",
            "epsilon",
            format!("{:.3}", self.epsilon),
            self.delta,
            self.privacy.noise_multiplier,
            self.privacy.clip,
            self.privacy.sampling_rate
        );
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "epsilon": self.epsilon, "delta": self.delta, "noise_multiplier": self.privacy.noise_multiplier,
            "clip": self.privacy.clip, "sampling_rate": self.privacy.sampling_rate,
            "steps": self.accountant.steps, "examples": self.privacy.examples, "seed": self.seed,
        })
    }

    /// From now on the noise is that of this run, whose key is made or read.
    pub(crate) fn draw(&mut self, folder: &Folder, resume: bool) -> Result<()> {
        let mut key = [0; 32];
        if let Some(seed) = self.seed {
            key[..8].copy_from_slice(&seed.to_le_bytes());
        } else if resume {
            let read = parse(&folder.read_secret(KEY)?);
            key = read.ok_or_else(|| anyhow!("{KEY} in the run's folder is damaged"))?;
        } else {
            getrandom::fill(&mut key)
                .map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
            folder.write_secret(KEY, &hex(&key))?;
        }
        self.noise = Noise::new(key);
        Ok(())
    }

    /// A step with the examples that chance chooses.
    pub(crate) fn step(
        &self,
        trainer: &mut Trainer,
        machine: &Machine,
        examples: &[Example],
    ) -> Result<StepReport> {
        let chosen = self.noise.chosen(trainer.steps(), examples.len(), self.privacy.sampling_rate);
        let chosen: Vec<&Example> = chosen.iter().map(|place| &examples[*place]).collect();
        self.try_step(trainer, machine, &chosen)
    }

    /// A step with these examples.
    pub(crate) fn try_step(
        &self,
        trainer: &mut Trainer,
        machine: &Machine,
        chosen: &[&Example],
    ) -> Result<StepReport> {
        Ok(trainer.step_private(machine, chosen, self.privacy, &self.noise)?)
    }

    /// Nothing will have to go on any more.
    pub(crate) fn forget(folder: &Folder) {
        folder.remove_secret(KEY);
    }
}

/// Examples in a step where nobody says how many: the more, the less the noise of each weighs.
pub(crate) fn private_batch(examples: usize) -> (usize, String) {
    let batch = (examples / 4).clamp(16, 1024).min(examples.max(1));
    (batch, "large, since noise is added once a step".into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let mut key = [0; 32];
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    (text.len() == 64).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key: [u8; 32] = std::array::from_fn(|i| (i * 37) as u8);
        assert_eq!(parse(&hex(&key)), Some(key));
        assert_eq!(parse("00"), None);
        assert_eq!(parse(&format!("{}00", hex(&key))), None);
    }
}
