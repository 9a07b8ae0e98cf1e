//! Private steps: what is cut, what noise is added, and that nothing else differs from a plain step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use bantam_model::{Isa, Machine, Numerics, Role};
use bantam_train::{
    Accountant, AdamW, Decay, Error, Example, Lora, Noise, Privacy, Recompute, Rule, Schedule, Settings,
    Trainer, Wanted,
};
use common::{golden_model, state};

fn trainer(lora: &Lora) -> Trainer {
    let settings = Settings {
        wanted: Wanted::Adapter,
        rule: Rule::AdamW(AdamW::default()),
        schedule: Schedule { rate: 0.01, warmup_steps: 1, steps: 10, decay: Decay::Constant },
        clip: None,
        micro_tokens: 64,
        numerics: Numerics::Exact,
        recompute: Recompute::Layers,
    };
    let model = golden_model("llama3");
    let adapter = lora.start(&model).unwrap();
    Trainer::new(model, Some(adapter), settings).unwrap()
}

fn lora() -> Lora {
    Lora { rank: 4, alpha: 8.0, ..Lora::default() }
}

/// Of one length, so that means over tokens and over examples are the same.
fn examples() -> Vec<Example> {
    (0..5).map(|i| Example::whole((0..8).map(|j| (i * 17 + j * 7 + 3) % 60).collect())).collect()
}

#[test]
fn without_noise_or_clipping_a_step_is_a_plain_one() {
    let machine = Machine::new(Isa::best(), 2);
    let (examples, noise) = (examples(), Noise::new([3; 32]));
    let all: Vec<&Example> = examples.iter().collect();
    let privacy = Privacy { clip: 1e6, noise_multiplier: 0.0, sampling_rate: 1.0, examples: all.len() };
    let (mut plain, mut private) = (trainer(&lora()), trainer(&lora()));
    for _ in 0..3 {
        let wanted = plain.step(&machine, &all).unwrap();
        let found = private.step_private(&machine, &all, privacy, &noise).unwrap();
        assert!((wanted.loss - found.loss).abs() < 1e-5, "{wanted:?}, {found:?}");
        assert!(
            (wanted.grad_norm - found.grad_norm).abs() < 1e-4 * wanted.grad_norm,
            "{wanted:?}, {found:?}"
        );
    }
}

/// The gradient of one example alone is what its part of a batch is, and no longer than the clip.
#[test]
fn no_example_moves_the_sum_further_than_the_clip() {
    let machine = Machine::new(Isa::best(), 2);
    let (examples, noise) = (examples(), Noise::new([3; 32]));
    let clip = 1e-3;
    let privacy = Privacy { clip, noise_multiplier: 0.0, sampling_rate: 1.0, examples: 1 };
    for example in &examples {
        let found = trainer(&lora()).step_private(&machine, &[example], privacy, &noise).unwrap();
        assert!((found.grad_norm - clip).abs() < 1e-3 * clip, "{}", found.grad_norm);
    }
    let all: Vec<&Example> = examples.iter().collect();
    let found = trainer(&lora()).step_private(&machine, &all, privacy, &noise).unwrap();
    assert!(found.grad_norm <= clip * 5.0 * 1.001 && found.grad_norm > clip, "{}", found.grad_norm);
}

#[test]
fn a_step_without_examples_is_noise_of_the_size_that_is_told() {
    let machine = Machine::new(Isa::best(), 1);
    let noise = Noise::new([9; 32]);
    let privacy = Privacy { clip: 0.5, noise_multiplier: 2.0, sampling_rate: 0.1, examples: 40 };
    let mut trainer = trainer(&lora());
    let numbers: usize = trainer.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
    let found = trainer.step_private(&machine, &[], privacy, &noise).unwrap();
    let wanted = 0.5 * 2.0 / (0.1 * 40.0) * (numbers as f64).sqrt();
    assert!((found.grad_norm / wanted - 1.0).abs() < 0.05, "{}, wanted {wanted}", found.grad_norm);
    assert_eq!((found.tokens, trainer.steps(), trainer.examples()), (0, 1, 0));
}

#[test]
fn a_resumed_private_run_has_the_bits_of_one_that_never_stopped() {
    let machine = Machine::new(Isa::best(), 2);
    let (examples, noise) = (examples(), Noise::new([5; 32]));
    let privacy = Privacy { clip: 0.1, noise_multiplier: 0.7, sampling_rate: 0.4, examples: examples.len() };
    let run = |trainer: &mut Trainer, steps: usize| {
        for _ in 0..steps {
            let chosen = noise.chosen(trainer.steps(), examples.len(), privacy.sampling_rate);
            let chosen: Vec<&Example> = chosen.iter().map(|place| &examples[*place]).collect();
            trainer.step_private(&machine, &chosen, privacy, &noise).unwrap();
        }
    };
    let mut whole = trainer(&lora());
    run(&mut whole, 3);
    let half = state(&whole);
    run(&mut whole, 3);
    let mut resumed = trainer(&lora());
    resumed.read_state(&mut half.as_slice()).unwrap();
    run(&mut resumed, 3);
    assert_eq!(state(&resumed), state(&whole));
}

#[test]
fn what_cannot_be_taken_apart_is_refused() {
    let machine = Machine::new(Isa::best(), 1);
    let (examples, noise) = (examples(), Noise::new([3; 32]));
    let privacy = Privacy { clip: 1.0, noise_multiplier: 1.0, sampling_rate: 0.5, examples: 5 };
    let mut head = trainer(&Lora { targets: vec![Role::Head, Role::Query], ..lora() });
    let refused = head.step_private(&machine, &[&examples[0]], privacy, &noise).unwrap_err();
    assert!(matches!(refused, Error::Setting { name: "targets", .. }), "{refused}");
    for wrong in [
        Privacy { clip: 0.0, ..privacy },
        Privacy { noise_multiplier: f64::NAN, ..privacy },
        Privacy { sampling_rate: 1.5, ..privacy },
        Privacy { examples: 0, ..privacy },
    ] {
        assert!(
            trainer(&lora()).step_private(&machine, &[&examples[0]], wrong, &noise).is_err(),
            "{wrong:?}"
        );
    }
}

/// Truth: `dp_accounting.rdp.RdpAccountant` 0.6 with the same orders (conformance/accountant.py prints it).
#[test]
fn epsilons_are_those_of_a_reference_accountant() {
    for (sampling_rate, noise_multiplier, steps, delta, epsilon) in EPSILONS {
        let found = Accountant { sampling_rate, noise_multiplier, steps }.epsilon(delta);
        assert!(
            (found / epsilon - 1.0).abs() < 1e-3,
            "{sampling_rate} {noise_multiplier}: {found}, {epsilon}"
        );
    }
    for (q, steps, epsilon, delta) in [(0.01, 1000, 1.0, 1e-5), (0.1, 100, 8.0, 1e-3), (0.5, 30, 3.0, 1e-4)] {
        let noise_multiplier = Accountant::noise_for(q, steps, epsilon, delta).unwrap();
        let at = |noise_multiplier| Accountant { sampling_rate: q, noise_multiplier, steps }.epsilon(delta);
        assert!(at(noise_multiplier) <= epsilon && at(0.999 * noise_multiplier) > epsilon);
    }
    assert_eq!(
        Accountant { sampling_rate: 0.1, noise_multiplier: 0.0, steps: 1 }.epsilon(1e-5),
        f64::INFINITY
    );
    assert_eq!(Accountant::noise_for(1.0, u64::MAX, 0.1, 1e-5), None);
}

const EPSILONS: [(f64, f64, u64, f64, f64); 7] = [
    (0.01, 1.0, 1000, 1e-05, 2.101367),
    (0.001, 0.7, 5000, 1e-06, 2.290779),
    (0.05, 0.6, 200, 0.0001, 15.226953),
    (0.1, 2.0, 100, 0.001, 1.799004),
    (0.25, 2.5, 60, 0.0001, 3.471680),
    (0.5, 4.0, 300, 1e-05, 12.115102),
    (1.0, 3.0, 10, 1e-05, 5.023950),
];
