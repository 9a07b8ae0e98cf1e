//! Whole models of every family: the tape gives the executor's logits, its gradients agree with finite
//! differences of the loss, and nothing depends on threads.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::collections::BTreeMap;

use bantam_model::description::{Layer, Mixer};
use bantam_model::{
    Batch, Executor, Isa, KvStorage, Machine, Model, Numerics, Scratch, State, Want, forward,
};
use bantam_train::{Gradients, Tape, Wanted, gradients, loss, sgd};
use common::{families, golden_model, golden_tensors, numbers, sequences, slope};

#[test]
fn the_tape_gives_the_bits_of_the_executor() {
    let machine = Machine::new(Isa::best(), 2);
    for family in families() {
        let model = golden_model(&family);
        let mut batch = Batch::default();
        let sequences = sequences();
        sequences.iter().for_each(|tokens| batch.push(tokens, 0, tokens.len(), Want::All));
        let room = |tokens: &Vec<u32>| State::new(&model.description, KvStorage::F32, tokens.len());
        let mut states: Vec<State> = sequences.iter().map(room).collect();
        let mut states: Vec<&mut State> = states.iter_mut().collect();
        let mut scratch = Scratch::default();
        let expected =
            Executor::run(&machine, &model, Numerics::Exact, &batch, &mut states, &mut scratch).unwrap();
        let mut tape = Tape::new(&machine, &batch, &Wanted::All).unwrap();
        let logits = forward(&mut tape, &model).unwrap();
        assert_eq!(tape.values(&logits), expected, "{family}");
    }
}

#[test]
fn every_tensor_has_a_gradient_of_its_own_length() {
    let machine = Machine::new(Isa::best(), 2);
    for family in families() {
        let found = gradients(&machine, &golden_model(&family), &sequences()).unwrap();
        let lengths = |(name, of): (&String, &Vec<f32>)| (name.clone(), of.len());
        let found: BTreeMap<String, usize> = found.of.iter().map(lengths).collect();
        let expected = golden_tensors(&family).into_iter().map(|t| (t.name().to_owned(), t.elements()));
        assert_eq!(found, expected.collect(), "{family}");
    }
}

/// For each tensor, along a direction that has a part of the gradient and a part of chance, with a step of
/// 1/50 of unit length, shorter where the loss is steep. Tolerance: 3e-4 of the gradient's norm, and 1e-5 for
/// the rounding of the loss; 1e-2 of the norm where queries, keys and values are clipped, since the loss has
/// bends then.
#[test]
fn gradients_agree_with_finite_differences_of_the_loss() {
    let (machine, sequences) = (Machine::new(Isa::best(), 2), sequences());
    for family in families() {
        let model = golden_model(&family);
        let all = gradients(&machine, &model, &sequences).unwrap();
        let tolerance = if clips(&model) { 1e-2 } else { 3e-4 };
        for (name, gradient) in &all.of {
            let norm = all.norms()[name.as_str()];
            let direction = direction(gradient);
            let expected = slope(0.02 / (1.0 + norm), |h| {
                loss(&machine, &moved(&model, &all, name, &direction, h), &sequences).unwrap()
            });
            let along = |(g, d): (&f32, &f32)| f64::from(*g) * f64::from(*d);
            let found: f64 = gradient.iter().zip(&direction).map(along).sum();
            let difference = (found - expected).abs();
            assert!(
                difference <= tolerance * norm + 1e-5,
                "{family}, {name}: {found}, by differences {expected}, norm {norm}"
            );
        }
    }
}

fn clips(model: &Model) -> bool {
    model.description.layers.iter().any(|Layer { mixer: Mixer::Attention(a), .. }| a.clip.is_some())
}

/// Of length one at most.
fn direction(gradient: &[f32]) -> Vec<f32> {
    let unit = |x: &[f32]| {
        let norm = x.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-20);
        x.iter().map(|x| x / norm / 2.0).collect::<Vec<f32>>()
    };
    let chance = numbers(gradient.len() as u64, gradient.len());
    unit(gradient).iter().zip(unit(&chance)).map(|(g, c)| g + c).collect()
}

/// The model with `h` times a direction added to one tensor.
fn moved(model: &Model, all: &Gradients, name: &str, direction: &[f32], h: f64) -> Model {
    let mut step = all.clone();
    for (other, of) in &mut step.of {
        if other == name { of.copy_from_slice(direction) } else { of.fill(0.0) }
    }
    let mut model = model.clone();
    sgd::descend(&mut model, &step, -h as f32).unwrap();
    model
}

#[test]
fn gradients_do_not_depend_on_threads_or_instructions() {
    for family in ["llama3", "gemma2", "phi", "stablelm_12b"] {
        let model = golden_model(family);
        let run = |isa, threads| gradients(&Machine::new(isa, threads), &model, &sequences()).unwrap();
        let expected = run(Isa::best(), 1);
        let mut others: Vec<Gradients> = [2, 3].map(|threads| run(Isa::best(), threads)).into();
        others.extend(Isa::available().into_iter().map(|isa| run(isa, 2)));
        for found in others {
            assert_eq!(found.loss.to_bits(), expected.loss.to_bits(), "{family}");
            assert_eq!(found.of, expected.of, "{family}");
        }
    }
}
