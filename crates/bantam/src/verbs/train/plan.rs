//! What a run does, from its config and the sizes of model and data; each choice with its reason.

use bantam_data::Order;
use bantam_model::{Model, Numerics};
use bantam_train::{AdamW, Decay, Muon, Precision, Recompute, Rule, Schedule, Settings, Wanted};

use super::config::{Config, CourseConfig, OptimizerConfig, OrderConfig, ScheduleConfig};
use crate::units::grouped;
use crate::verbs::learning::{BatchSize, Route};

/// Steps that a run is to have, about, where nobody says how large they are.
const STEPS: u64 = 1000;
/// The rate of models up to a width, and the width.
const RATE: (f32, usize) = (3e-3, 576);

/// A run, settled.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) route: Route,
    /// Name, value, reason.
    pub(super) choices: Vec<[String; 3]>,
}

impl Plan {
    /// For examples of so many tokens together.
    pub(super) fn new(config: &Config, model: &Model, tokens: u64, numerics: Numerics) -> Self {
        let course = &config.course;
        let all = course.tokens.unwrap_or(tokens * course.epochs).max(1);
        let batch_tokens = course.batch_tokens.unwrap_or_else(|| batch_tokens(all)).max(1);
        let steps = all.div_ceil(batch_tokens as u64);
        let rate = course.rate.unwrap_or_else(|| rate(model.description.hidden_size));
        let warmup_steps = ((steps as f64 * course.warmup) as u64).max(1);
        let because =
            |given: bool, reason: &str| if given { "as asked".to_owned() } else { reason.to_owned() };
        let choices = vec![
            ["tokens".into(), grouped(all), because(course.tokens.is_some(), "those of all epochs")],
            [
                "batch".into(),
                format!("{batch_tokens} tokens"),
                because(course.batch_tokens.is_some(), "a thousandth of all, from 4,096 to 262,144"),
            ],
            ["steps".into(), grouped(steps), format!("{warmup_steps} to warm up")],
            ["rate".into(), rate.to_string(), because(course.rate.is_some(), "falls with widths above 576")],
        ];
        let schedule = Schedule { rate, warmup_steps, steps, decay: decay(course) };
        let settings = Settings {
            wanted: Wanted::All,
            rule: rule(course),
            schedule,
            clip: Some(course.clip),
            micro_tokens: course.micro_tokens,
            numerics,
            recompute: if course.keep_activations { Recompute::Nothing } else { Recompute::Layers },
        };
        let route = Route {
            steps,
            epochs: all.div_ceil(tokens.max(1)),
            evaluate_every: (steps / course.evaluations).max(1),
            batch: BatchSize::Tokens(batch_tokens),
            order: order(config),
            seed: course.seed,
            patience: course.patience,
        };
        Plan { settings, route, choices }
    }
}

fn batch_tokens(all: u64) -> usize {
    (all / STEPS).clamp(4096, 1 << 18) as usize
}

/// 3e-3 is that of SmolLM2-135M; wider models take less, in proportion.
fn rate(hidden: usize) -> f32 {
    let (rate, width) = RATE;
    rate * (width as f32 / hidden as f32).min(1.0)
}

fn order(config: &Config) -> Order {
    match config.data.order {
        OrderConfig::Shuffled => Order::Shuffled,
        OrderConfig::Given => Order::AsGiven,
        OrderConfig::Length => Order::ByLength,
        OrderConfig::Rank | OrderConfig::Loss => Order::ByRank,
        OrderConfig::BestLast => Order::BestLast { share: config.data.best_share },
    }
}

fn decay(course: &CourseConfig) -> Decay {
    match course.schedule {
        ScheduleConfig::Wsd => Decay::AtTheEnd { share: course.decay },
        ScheduleConfig::Cosine => Decay::Cosine { floor: course.floor },
        ScheduleConfig::Linear => Decay::Linear,
        ScheduleConfig::Constant => Decay::Constant,
    }
}

fn rule(course: &CourseConfig) -> Rule {
    let CourseConfig { beta1, beta2, weight_decay, .. } = *course;
    let adamw = AdamW { beta1, beta2, weight_decay, ..AdamW::default() };
    match course.optimizer {
        OptimizerConfig::Adamw => Rule::AdamW(adamw),
        OptimizerConfig::Adamw8bit => Rule::AdamW(AdamW { precision: Precision::EightBits, ..adamw }),
        OptimizerConfig::Muon => Rule::Muon(Muon { weight_decay, adamw, ..Muon::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_the_data() {
        assert_eq!([1_000, 10_000_000, 1_000_000_000_000].map(batch_tokens), [4096, 10_000, 262_144]);
        assert_eq!([64, 576, 1152].map(rate), [3e-3, 3e-3, 1.5e-3]);
    }
}
