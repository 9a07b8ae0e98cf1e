//! What a run does, chosen from the sizes of model and data where the user says nothing; each choice with its reason.

use bantam_model::{Model, Numerics};
use bantam_train::{
    AdamW, Decay, Lora, Muon, Precision, Rule, Scaling, Schedule, Settings, Start, Variant, Wanted,
};

use crate::args::{CourseArgs, OptimizerArg, ScheduleArg, StartArg};

/// Epochs where nobody says how many.
const EPOCHS: u64 = 3;
/// Fewer steps than this hardly teach anything: small sets of examples are repeated until they fill them.
const STEPS_MIN: u64 = 60;
/// More repetitions only learn by heart.
const EPOCHS_MAX: u64 = 10;

/// What a run is after, by which its defaults differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Tokens of examples.
    Predict,
    /// The same, with little of any one example.
    Private,
    /// Rewards of its own answers.
    Reward,
}

/// A run, settled.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) lora: Lora,
    pub(super) settings: Settings,
    pub(super) batch: usize,
    pub(super) steps: u64,
    pub(super) steps_per_epoch: u64,
    /// Steps from one evaluation to the next.
    pub(super) evaluate_every: u64,
    /// Name, value, reason.
    pub(super) choices: Vec<[String; 3]>,
}

/// A value and where it comes from.
struct Choice<T> {
    value: T,
    reason: String,
}

impl<T> Choice<T> {
    fn of(given: Option<T>, chosen: impl FnOnce() -> (T, String)) -> Self {
        match given {
            Some(value) => Choice { value, reason: "as asked".into() },
            None => {
                let (value, reason) = chosen();
                Choice { value, reason }
            }
        }
    }
}

impl Plan {
    pub(super) fn new(
        args: &CourseArgs,
        aim: Aim,
        model: &Model,
        examples: usize,
        numerics: Numerics,
    ) -> Self {
        let hidden = model.description.hidden_size;
        let rank = Choice::of(args.rank.map(usize::from), || match aim {
            Aim::Predict | Aim::Reward => {
                (16, "enough for tasks and styles; teach new facts with 64 or more".into())
            }
            Aim::Private => (4, "few numbers, since each gets its noise".into()),
        });
        let rate = Choice::of(args.rate, || match aim {
            Aim::Predict | Aim::Private => {
                (rate(hidden), format!("ten times that of full fine-tuning, for a width of {hidden}"))
            }
            Aim::Reward => {
                (rate(hidden) / 5.0, "a fifth of that of examples, since rewards are noisy".into())
            }
        });
        let batch = Choice::of(args.batch.map(|batch| batch as usize), || match aim {
            Aim::Private => super::private::batch(examples),
            Aim::Reward => (examples.min(8), "prompts, each with a group of answers".into()),
            Aim::Predict => ((examples / 32).clamp(4, 32), format!("for {examples} examples")),
        });
        let steps_per_epoch = examples.div_ceil(batch.value) as u64;
        let epochs = Choice::of(args.epochs.map(u64::from), || epochs(steps_per_epoch));
        let steps = (epochs.value * steps_per_epoch).min(args.steps.unwrap_or(u64::MAX));
        let alpha = args.alpha.unwrap_or(2.0 * rank.value as f32);
        let scaling = if args.rslora { Scaling::RootOfRank } else { Scaling::Rank };
        let variant = if args.dora { Variant::Dora } else { Variant::Plain };
        let start = match args.start {
            StartArg::Zero => Start::Zero,
            StartArg::Pissa => Start::Principal,
            StartArg::Loftq => Start::Residual,
        };
        let lora = Lora { rank: rank.value, alpha, scaling, variant, start, ..Lora::default() };
        let warmup_steps = (steps / 20).max(1);
        let schedule = Schedule { rate: rate.value, warmup_steps, steps, decay: decay(args.schedule) };
        let settings = Settings {
            wanted: Wanted::Adapter,
            rule: rule(args.optimizer),
            schedule,
            clip: (aim != Aim::Private).then_some(1.0),
            micro_tokens: args.micro_tokens as usize,
            numerics,
            recompute: bantam_train::Recompute::Layers,
        };
        let choices = vec![
            choice("rank", rank.value, rank.reason),
            choice("rate", rate.value, rate.reason),
            choice("batch", batch.value, batch.reason),
            choice("epochs", epochs.value, epochs.reason),
            choice("steps", steps, format!("{steps_per_epoch} an epoch, {warmup_steps} to warm up")),
        ];
        let evaluate_every = (steps / 10).max(1);
        Plan { lora, settings, batch: batch.value, steps, steps_per_epoch, evaluate_every, choices }
    }
}

fn choice(name: &str, value: impl ToString, reason: String) -> [String; 3] {
    [name.into(), value.to_string(), reason]
}

/// Schulman et al., "LoRA without regret" (2025): ten times the best rate of full fine-tuning, which falls with the width.
fn rate(hidden: usize) -> f32 {
    let rate = 10.0 * 5e-5 * (2000.0 / hidden as f64).powf(0.775);
    // Two digits say all that is known.
    let digit = 10f64.powf(rate.log10().floor() - 1.0);
    ((rate / digit).round() * digit) as f32
}

fn epochs(steps_per_epoch: u64) -> (u64, String) {
    let wanted = STEPS_MIN.div_ceil(steps_per_epoch.max(1));
    if wanted <= EPOCHS {
        return (EPOCHS, "as usual".into());
    }
    (wanted.min(EPOCHS_MAX), "few examples: repeated, and stopped where it no longer helps".into())
}

fn decay(schedule: ScheduleArg) -> Decay {
    match schedule {
        ScheduleArg::Linear => Decay::Linear,
        ScheduleArg::Cosine => Decay::Cosine { floor: 0.0 },
        ScheduleArg::Constant => Decay::Constant,
        ScheduleArg::Wsd => Decay::AtTheEnd { share: 0.2 },
    }
}

fn rule(optimizer: OptimizerArg) -> Rule {
    let adamw = AdamW { weight_decay: 0.0, ..AdamW::default() };
    match optimizer {
        OptimizerArg::Adamw => Rule::AdamW(adamw),
        OptimizerArg::Adamw8 => Rule::AdamW(AdamW { precision: Precision::EightBits, ..adamw }),
        OptimizerArg::Muon => Rule::Muon(Muon { adamw, ..Muon::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_with_the_width() {
        assert_eq!([576, 2048, 4096].map(rate), [1.3e-3, 4.9e-4, 2.9e-4]);
    }

    #[test]
    fn small_sets_are_repeated() {
        assert_eq!(epochs(313).0, 3);
        assert_eq!(epochs(10).0, 6);
        assert_eq!(epochs(1).0, 10);
    }
}
