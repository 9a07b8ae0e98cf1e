//! What a run does, chosen from the sizes of model and data where the user says nothing; each choice with its reason.

use bantam_data::Order;
use bantam_model::{Model, Numerics};
use bantam_train::{
    AdamW, Decay, Lora, Muon, Precision, Preference, Recompute, Rule, Scaling, Schedule, Settings, Start,
    Variant, Wanted,
};

use crate::args::{CourseArgs, MethodArg, OptimizerArg, OrderArg, RecomputeArg, ScheduleArg, StartArg};
use crate::units;
use crate::verbs::learning::{BatchSize, Route, private_batch};

/// Epochs where nobody says how many.
const EPOCHS: u64 = 3;
/// Fewer steps than this hardly teach anything: small sets of examples are repeated until they fill them.
const STEPS_MIN: u64 = 60;
/// More repetitions only learn by heart.
const EPOCHS_MAX: u64 = 10;
/// Keys and values are numbers around one, and few; PEFT's comparison of methods has the same rate.
const PREFIX_RATE: f64 = 5e-3;
/// Bytes of activations that are kept rather than computed again where nobody says.
const KEPT_MAX: usize = 1 << 30;
/// Rates under noise, in those without.
const PRIVATE: f64 = 15.0;
/// How much of all is the best that comes last.
const BEST_SHARE: f64 = 0.2;

/// What a run is after, by which its defaults differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Aim {
    /// Tokens of examples.
    Predict,
    /// The better of two answers.
    Prefer(Preference),
    /// Tokens, with little of any one example.
    Private,
    /// Rewards of its own answers.
    Reward,
}

/// What learns.
#[derive(Clone, Debug)]
pub(super) enum Learner {
    /// A low-rank adapter.
    Lora(Lora),
    /// Keys and values before the first token, which begin as those of these tokens.
    Prefix(Vec<u32>),
    /// All weights.
    Weights,
}

/// A run, settled.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) learner: Learner,
    pub(super) settings: Settings,
    pub(super) route: Route,
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
        model: &Model,
        examples: usize,
        aim: Aim,
        begun: Option<Vec<u32>>,
        numerics: Numerics,
    ) -> Self {
        let rate = Choice::of(args.rate, || rate(args.method, aim, model.description.hidden_size));
        let batch = Choice::of(args.batch.map(|batch| batch as usize), || match aim {
            Aim::Private => private_batch(examples),
            Aim::Reward => (examples.min(8), "prompts, each with a group of answers".into()),
            Aim::Predict | Aim::Prefer(_) => {
                ((examples / 32).clamp(4, 32), format!("for {examples} examples"))
            }
        });
        let steps_per_epoch = examples.div_ceil(batch.value) as u64;
        let epochs = Choice::of(args.epochs.map(u64::from), || epochs(steps_per_epoch));
        let steps = (epochs.value * steps_per_epoch).min(args.steps.unwrap_or(u64::MAX));
        let warmup_steps = (steps / 20).max(1);
        let schedule = Schedule { rate: rate.value, warmup_steps, steps, decay: decay(args.schedule) };
        let mut choices = vec![
            choice("rate", rate.value, rate.reason),
            choice("batch", batch.value, batch.reason),
            choice("epochs", epochs.value, epochs.reason),
            choice("steps", steps, format!("{steps_per_epoch} an epoch, {warmup_steps} to warm up")),
        ];
        let learner = learner(args, aim, begun, &mut choices);
        let (recompute, micro_tokens) = recompute(args, model, &mut choices);
        let settings = Settings {
            wanted: if matches!(learner, Learner::Weights) { Wanted::All } else { Wanted::Adapter },
            rule: rule(args.optimizer),
            schedule,
            clip: (aim != Aim::Private).then_some(1.0),
            micro_tokens,
            numerics,
            recompute,
        };
        let route = Route {
            steps,
            epochs: steps.div_ceil(steps_per_epoch.max(1)),
            evaluate_every: (steps / 10).max(1),
            batch: BatchSize::Examples(batch.value),
            order: order(args.order),
            seed: 0,
            // Which adapter is kept must not depend on examples where little may be told of them.
            patience: if aim == Aim::Private { 0 } else { args.patience },
        };
        Plan { learner, settings, route, choices }
    }
}

/// What is computed again, and how many tokens go through the model together. It follows from sizes alone and not from
/// the memory that happens to be free, so that a run goes on with the same bits on another day.
fn recompute(args: &CourseArgs, model: &Model, choices: &mut Vec<[String; 3]>) -> (Recompute, usize) {
    let tokens = |chosen| args.micro_tokens.map_or(chosen, |tokens| tokens as usize);
    let (few, many) = (tokens(512), tokens(2048));
    let is_kept = Choice::of(args.recompute.map(|of| matches!(of, RecomputeArg::Nothing)), || {
        let kept = bantam_train::Plan::kept_bytes(model, few);
        let bytes = units::bytes(kept as u64);
        (kept <= KEPT_MAX, format!("to keep all of {few} tokens takes up to {bytes}"))
    });
    choices.push(choice("recompute", if is_kept.value { "nothing" } else { "layers" }, is_kept.reason));
    if is_kept.value { (Recompute::Nothing, few) } else { (Recompute::Layers, many) }
}

fn learner(args: &CourseArgs, aim: Aim, begun: Option<Vec<u32>>, choices: &mut Vec<[String; 3]>) -> Learner {
    match (args.method, begun) {
        (_, Some(begun)) => {
            let reason = match args.prefix_text {
                Some(_) => "before each sequence, begun as the text",
                None => "before each sequence, begun as the first of the examples",
            };
            choices.insert(0, choice("virtual", begun.len(), reason.into()));
            Learner::Prefix(begun)
        }
        (MethodArg::Full, None) => Learner::Weights,
        (MethodArg::Lora | MethodArg::Prefix, None) => Learner::Lora(lora(args, aim, choices)),
    }
}

fn lora(args: &CourseArgs, aim: Aim, choices: &mut Vec<[String; 3]>) -> Lora {
    let rank = Choice::of(args.rank.map(usize::from), || match aim {
        Aim::Private => (4, "few numbers, since each gets its noise".into()),
        _ => (16, "enough for tasks and styles; teach new facts with 64 or more".into()),
    });
    choices.insert(0, choice("rank", rank.value, rank.reason));
    let alpha = args.alpha.unwrap_or(2.0 * rank.value as f32);
    let scaling = if args.rslora { Scaling::RootOfRank } else { Scaling::Rank };
    let variant = if args.dora { Variant::Dora } else { Variant::Plain };
    let start = match args.start {
        StartArg::Zero => Start::Zero,
        StartArg::Pissa => Start::Principal,
        StartArg::Loftq => Start::Residual,
    };
    Lora { rank: rank.value, alpha, scaling, variant, start, ..Lora::default() }
}

fn order(order: OrderArg) -> Order {
    match order {
        OrderArg::Shuffled => Order::Shuffled,
        OrderArg::Given => Order::AsGiven,
        OrderArg::Length => Order::ByLength,
        OrderArg::Rank => Order::ByRank,
        OrderArg::BestLast => Order::BestLast { share: BEST_SHARE },
    }
}

fn choice(name: &str, value: impl ToString, reason: String) -> [String; 3] {
    [name.into(), value.to_string(), reason]
}

/// Schulman et al., "LoRA without regret" (2025): for an adapter ten times the best rate for all weights, which falls with
/// the width.
fn rate(method: MethodArg, aim: Aim, hidden: usize) -> (f32, String) {
    let of_all = 5e-5 * (2000.0 / hidden as f64).powf(0.775);
    let (of_method, reason) = match method {
        MethodArg::Lora => {
            (10.0 * of_all, format!("ten times that for all weights, for a width of {hidden}"))
        }
        MethodArg::Full => (of_all, format!("for a width of {hidden}")),
        MethodArg::Prefix => (PREFIX_RATE, "as keys and values want it, whatever the width".into()),
    };
    match aim {
        Aim::Predict => (rounded(of_method), reason),
        // Most of each number's step is noise then, and the rest has to be long enough.
        Aim::Private => {
            (rounded(PRIVATE * of_method), format!("{PRIVATE} times the usual against noise; {reason}"))
        }
        Aim::Reward => (rounded(of_method / 5.0), format!("a fifth for rewards, which are noisy; {reason}")),
        // Further steps soon make both answers unlikely.
        Aim::Prefer(_) => (rounded(of_method / 20.0), format!("a twentieth for preferences; {reason}")),
    }
}

/// Two digits say all that is known.
fn rounded(rate: f64) -> f32 {
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
        let of = |method| [576, 2048, 4096].map(|hidden| rate(method, Aim::Predict, hidden).0);
        assert_eq!(of(MethodArg::Lora), [1.3e-3, 4.9e-4, 2.9e-4]);
        assert_eq!(of(MethodArg::Full), [1.3e-4, 4.9e-5, 2.9e-5]);
    }

    #[test]
    fn small_sets_are_repeated() {
        assert_eq!(epochs(313).0, 3);
        assert_eq!(epochs(10).0, 6);
        assert_eq!(epochs(1).0, 10);
    }
}
