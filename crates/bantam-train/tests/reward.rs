//! Learning from rewards: one step is the plain gradient, many make rewarded answers likelier.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_model::{Isa, Machine, Numerics};
use bantam_train::{
    AdamW, Decay, Error, Example, Grpo, Lora, Recompute, Rollout, Rule, Schedule, Settings, Trainer, Wanted,
    advantages,
};
use common::golden_model;

fn trainer() -> Trainer {
    let settings = Settings {
        wanted: Wanted::Adapter,
        rule: Rule::AdamW(AdamW::default()),
        schedule: Schedule { rate: 0.01, warmup_steps: 1, steps: 20, decay: Decay::Constant },
        clip: Some(1.0),
        micro_tokens: 12,
        numerics: Numerics::Exact,
        recompute: Recompute::Layers,
    };
    let model = golden_model("llama3");
    let adapter = Lora { rank: 4, alpha: 8.0, ..Lora::default() }.start(&model).unwrap();
    Trainer::new(model, Some(adapter), settings).unwrap()
}

fn answer(tail: &[u32]) -> Example {
    let ids = [&[4, 8, 15], tail].concat();
    let learn = (0..ids.len()).map(|place| place >= 3).collect();
    Example { ids, learn }
}

fn rollouts(trainer: &mut Trainer, machine: &Machine, rewards: &[f64], answers: &[Example]) -> Vec<Rollout> {
    let all: Vec<&Example> = answers.iter().collect();
    let log_probs = trainer.token_log_probs(machine, &all, false).unwrap();
    let reference = trainer.token_log_probs(machine, &all, true).unwrap();
    let parts = answers.iter().zip(advantages(rewards)).zip(log_probs.into_iter().zip(reference));
    parts
        .map(|((example, advantage), (log_probs, reference))| Rollout {
            example: example.clone(),
            log_probs,
            reference,
            advantage,
        })
        .collect()
}

#[test]
fn rewarded_answers_become_likelier() {
    let machine = Machine::new(Isa::best(), 2);
    let answers = [answer(&[16, 23, 42]), answer(&[50, 51]), answer(&[9, 9, 9, 2]), answer(&[31])];
    for how in [Grpo::default(), Grpo { beta: 0.05, ..Grpo::default() }] {
        let mut trainer = trainer();
        let all: Vec<&Example> = answers.iter().collect();
        let before = trainer.log_probs(&machine, &all).unwrap();
        for _ in 0..12 {
            let rollouts = rollouts(&mut trainer, &machine, &[1.0, 0.0, 0.0, 0.0], &answers);
            let all: Vec<&Rollout> = rollouts.iter().collect();
            // Twice from the same answers, of which the second sees ratios that are not 1.
            trainer.step_rewarded(&machine, how, &all).unwrap();
            trainer.step_rewarded(&machine, how, &all).unwrap();
        }
        let after = trainer.token_log_probs(&machine, &all, false).unwrap();
        let after: Vec<f64> = after.iter().map(|of| of.iter().sum()).collect();
        assert!(after[0] > before[0] + 3.0, "{how:?}: {before:?}, {after:?}");
        // The reference stays what it was.
        assert_eq!(trainer.log_probs(&machine, &all).unwrap(), before);
    }
}

/// Where the model is still the one that answered, all ratios are 1: the step is that of the cross entropy with the
/// advantages as weights.
#[test]
fn without_rewards_nothing_moves() {
    let machine = Machine::new(Isa::best(), 1);
    let mut trainer = trainer();
    let answers = [answer(&[16, 23, 42]), answer(&[50, 51])];
    let rollouts = rollouts(&mut trainer, &machine, &[0.5, 0.5], &answers);
    let all: Vec<&Rollout> = rollouts.iter().collect();
    let report = trainer.step_rewarded(&machine, Grpo { beta: 1.0, ..Grpo::default() }, &all).unwrap();
    assert!(report.grad_norm < 1e-6 && report.loss.abs() < 1e-9, "{report:?}");
}

#[test]
fn rollouts_without_their_log_probs_are_refused() {
    let machine = Machine::new(Isa::best(), 1);
    let mut trainer = trainer();
    let rollout =
        Rollout { example: answer(&[1, 2]), log_probs: vec![-1.0], reference: vec![], advantage: 1.0 };
    let refused = trainer.step_rewarded(&machine, Grpo::default(), &[&rollout]).unwrap_err();
    assert!(matches!(refused, Error::Setting { name: "log-probabilities", .. }), "{refused}");
    let rollout = Rollout { log_probs: vec![-1.0, -1.0], ..rollout };
    let how = Grpo { beta: 0.1, ..Grpo::default() };
    assert!(trainer.step_rewarded(&machine, how, &[&rollout]).is_err());
    assert_eq!(trainer.steps(), 0);
}
