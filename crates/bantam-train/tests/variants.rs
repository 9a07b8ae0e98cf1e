//! Kinds and starts of adapters: gradients by finite differences, starts that change nothing, and files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;

use bantam_model::{
    Adapter, Batch, Executor, Isa, KvStorage, Machine, Model, Numerics, Scratch, State, Want, forward,
};
use bantam_tensor::format::adapter::AdapterForm;
use bantam_tensor::{Storage, Tensor};
use bantam_train::{
    AdamW, Decay, Error, Example, Lora, Recompute, Rule, Schedule, Settings, Start, Tape, Trainer, Variant,
    Wanted,
};
use common::{
    assert_resumed_and_private_runs_are_alike, examples, golden_model, golden_tensors, learn, model_of,
    numbers, sequences, slope,
};

fn settings(wanted: Wanted) -> Settings {
    Settings {
        wanted,
        rule: Rule::AdamW(AdamW::default()),
        schedule: Schedule { rate: 0.01, warmup_steps: 1, steps: 12, decay: Decay::Constant },
        clip: Some(1.0),
        micro_tokens: 100,
        numerics: Numerics::Exact,
        recompute: Recompute::Layers,
    }
}

fn lora(variant: Variant, start: Start) -> Lora {
    Lora { rank: 4, alpha: 8.0, variant, start, ..Lora::default() }
}

/// With numbers of no pattern in every matrix.
fn adapter_of(model: &Model, lora: &Lora) -> Adapter {
    let mut adapter = lora.start(model).unwrap();
    for (place, low_rank) in adapter.sites.values_mut().enumerate() {
        let b = &mut low_rank.b.tensor;
        let values: Vec<f32> = numbers(place as u64, b.elements()).iter().map(|x| 0.1 * x).collect();
        *b = Tensor::from_f32(b.name(), b.shape().to_vec(), &values).unwrap();
        if let Some(magnitude) = &mut low_rank.magnitude {
            let lengths = &mut magnitude.lengths;
            let values: Vec<f32> =
                lengths.to_f32().iter().enumerate().map(|(i, x)| x * (0.8 + 0.01 * i as f32)).collect();
            *lengths = Tensor::from_f32(lengths.name(), lengths.shape().to_vec(), &values).unwrap();
        }
    }
    adapter.settle(&Machine::new(Isa::best(), 1), model);
    adapter
}

fn batch(adapter: &Arc<Adapter>) -> Batch {
    let mut batch = Batch::default();
    for tokens in sequences() {
        batch.push(&tokens, 0, tokens.len(), Want::All);
        batch.adapt(adapter);
    }
    batch
}

/// Logits times fixed factors, summed.
fn weighed(model: &Model, adapter: &Adapter) -> f64 {
    let (machine, adapter) = (Machine::new(Isa::best(), 1), Arc::new(adapter.clone()));
    let batch = batch(&adapter);
    let mut tape = Tape::new(&machine, &batch, &Wanted::Nothing).unwrap();
    let logits = forward(&mut tape, model).unwrap();
    let logits = tape.values(&logits);
    logits.iter().zip(numbers(5, logits.len())).map(|(x, w)| f64::from(*x) * f64::from(w)).sum()
}

/// One matrix of an adapter moved, the norms of rows held, as the paper has it.
fn moved(adapter: &Adapter, name: &str, direction: &[f32], h: f64) -> Adapter {
    let mut adapter = adapter.clone();
    for low_rank in adapter.sites.values_mut() {
        let lengths = low_rank.magnitude.as_mut().map(|of| &mut of.lengths);
        for tensor in [&mut low_rank.a.tensor, &mut low_rank.b.tensor].into_iter().chain(lengths) {
            if tensor.name() == name {
                let values: Vec<f32> =
                    tensor.to_f32().iter().zip(direction).map(|(x, d)| x + (h as f32) * d).collect();
                *tensor = Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &values).unwrap();
            }
        }
    }
    adapter
}

#[test]
fn gradients_agree_with_finite_differences() {
    let machine = Machine::new(Isa::best(), 2);
    for family in ["llama3", "phi", "gpt2"] {
        for (variant, start) in [(Variant::Dora, Start::Zero), (Variant::Plain, Start::Principal)] {
            let model = golden_model(family);
            let adapter = adapter_of(&model, &lora(variant, start));
            let shared = Arc::new(adapter.clone());
            let batch = batch(&shared);
            let mut tape = Tape::new(&machine, &batch, &Wanted::Adapter).unwrap();
            let logits = forward(&mut tape, &model).unwrap();
            let count = tape.values(&logits).len();
            let gradients = tape.backward(logits, numbers(5, count));
            let tensors = 2 + usize::from(variant == Variant::Dora);
            assert_eq!(gradients.len(), tensors * adapter.sites.len(), "{family} {variant:?}");
            for (name, gradient) in gradients.iter().step_by(3).chain(gradients.iter().skip(1).step_by(3)) {
                let norm = gradient.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                let direction: Vec<f32> = gradient.iter().map(|x| x / norm.max(1e-20) as f32).collect();
                let expected = slope(4e-3, |h| weighed(&model, &moved(&adapter, name, &direction, h)));
                assert!(
                    (norm - expected).abs() < 2e-3 * norm + 2e-3,
                    "{family} {variant:?} {name}: {norm}, {expected}"
                );
            }
        }
    }
}

#[test]
fn starts_change_nothing_and_learn() {
    let machine = Machine::new(Isa::best(), 2);
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    for family in ["llama3", "phi3", "gpt2"] {
        let mut plain = Trainer::new(golden_model(family), None, settings(Wanted::All)).unwrap();
        let expected = plain.evaluate(&machine, &all).unwrap().loss;
        for (variant, start) in [(Variant::Dora, Start::Zero), (Variant::Plain, Start::Principal)] {
            let model = golden_model(family);
            let adapter = lora(variant, start).start(&model).unwrap();
            let mut trainer = Trainer::new(model, Some(adapter), settings(Wanted::Adapter)).unwrap();
            let found = trainer.evaluate(&machine, &all).unwrap().loss;
            assert!((found - expected).abs() < 1e-5, "{family} {variant:?} {start:?}: {found}, {expected}");
            let losses = learn(&mut trainer, 12);
            assert!(losses[11] < 0.9 * losses[0], "{family} {variant:?} {start:?}: {losses:?}");
        }
    }
}

/// Any pair of rank 4 leaves at least as much of the weights as the start does.
#[test]
fn a_principal_start_is_the_nearest_product() {
    let model = golden_model("llama3");
    let adapter = lora(Variant::Plain, Start::Principal).start(&model).unwrap();
    for linear in model.linears() {
        let Some(low_rank) = adapter.start.get(&linear.site) else { continue };
        let rest: f64 = low_rank.added_to(&linear.matrix).iter().map(|x| f64::from(*x).powi(2)).sum();
        let all: f64 = linear.matrix.tensor.to_f32().iter().map(|x| f64::from(*x).powi(2)).sum();
        let other = lora(Variant::Plain, Start::Zero).start(&model).unwrap();
        let random = numbers(3, linear.matrix.outputs * 4);
        let mut other = other.sites[&linear.site].clone();
        other.b.tensor = Tensor::from_f32("b", vec![linear.matrix.outputs, 4], &random).unwrap();
        let with_other: f64 = other.added_to(&linear.matrix).iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!(rest < 0.95 * all && rest < with_other, "{}: {rest} of {all}, {with_other}", linear.site);
        // The rest is at right angles to what was taken: squares add up.
        let values: f64 = low_rank
            .added_to(&linear.matrix)
            .iter()
            .zip(linear.matrix.tensor.to_f32())
            .map(|(rest, all)| f64::from(*rest) * f64::from(all - rest))
            .sum();
        assert!(values.abs() < 2e-2 * all, "{}: {values} of {all}", linear.site);
    }
}

fn logits(model: &Model, adapter: &Arc<Adapter>) -> Vec<f32> {
    let machine = Machine::new(Isa::best(), 2);
    let batch = batch(adapter);
    let room = |tokens: Vec<u32>| State::new(&model.description, KvStorage::F32, tokens.len());
    let mut states: Vec<State> = sequences().into_iter().map(room).collect();
    let mut states: Vec<&mut State> = states.iter_mut().collect();
    Executor::run(&machine, model, Numerics::Exact, &batch, &mut states, &mut Scratch::default()).unwrap()
}

#[test]
fn what_was_learnt_is_what_runs_and_what_is_written() {
    for (variant, start) in [(Variant::Dora, Start::Zero), (Variant::Plain, Start::Principal)] {
        let model = golden_model("llama3");
        let adapter = lora(variant, start).start(&model).unwrap();
        let mut trainer = Trainer::new(model.clone(), Some(adapter), settings(Wanted::Adapter)).unwrap();
        learn(&mut trainer, 4);
        let adapter = trainer.adapter().unwrap();
        let machine = Machine::new(Isa::best(), 2);
        let batch = batch(adapter);
        let mut tape = Tape::new(&machine, &batch, &Wanted::Nothing).unwrap();
        let taped = forward(&mut tape, &model).unwrap();
        let near = |found: &[f32], wanted: &[f32]| {
            found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 2e-4)
        };
        let ran = logits(&model, adapter);
        assert!(near(tape.values(&taped), &ran), "{variant:?} {start:?}");
        let file = adapter.to_file(&model, AdapterForm::Peft).unwrap();
        let read = Adapter::bind(&file, &model, Default::default()).unwrap();
        assert!(read.start.is_empty());
        let rank = if start == Start::Principal { 8 } else { 4 };
        assert!(read.sites.values().all(|low_rank| low_rank.rank() == rank), "{variant:?} {start:?}");
        assert!(near(&logits(&model, &Arc::new(read)), &ran), "{variant:?} {start:?}");
    }
}

#[test]
fn resumed_and_private_runs_know_lengths() {
    let _machine = Machine::new(Isa::best(), 2);
    let begin = || {
        let model = golden_model("llama3");
        let adapter = lora(Variant::Dora, Start::Zero).start(&model).unwrap();
        Trainer::new(model, Some(adapter), settings(Wanted::Adapter)).unwrap()
    };
    assert_resumed_and_private_runs_are_alike(begin);
}

/// A residual start brings a quantised model nearer to its original.
#[test]
fn a_residual_start_is_nearer_to_the_original() {
    let original = golden_model("llama3");
    let quantize = |tensor: &Tensor| {
        let is_matrix =
            tensor.shape().len() == 2 && tensor.cols().is_multiple_of(32) && tensor.name().contains("proj");
        let values = tensor.to_f32();
        let values = if is_matrix {
            let bytes = bantam_tensor::quant::quantize(Storage::Q4_0, &values).unwrap();
            Tensor::new("t", tensor.shape().to_vec(), Storage::Q4_0, bytes.into()).unwrap().to_f32()
        } else {
            values
        };
        Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &values).unwrap()
    };
    let tensors: Vec<Tensor> = golden_tensors("llama3").iter().map(quantize).collect();
    let model = model_of("llama3", &tensors);
    let lora = lora(Variant::Plain, Start::Residual);
    let refused = lora.start(&model).unwrap_err();
    assert!(matches!(refused, Error::Setting { name: "start", .. }), "{refused}");
    let empty = Arc::new(Adapter::default());
    let truth = logits(&original, &empty);
    let far = |found: &[f32]| found.iter().zip(&truth).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
    let without = far(&logits(&model, &empty));
    let with = far(&logits(&model, &Arc::new(lora.start_from(&model, &original).unwrap())));
    assert!(with < 0.9 * without, "{with}, {without}");
    let other = golden_model("qwen2");
    assert!(lora.start_from(&model, &other).is_err());
    // Nothing would ever be learnt from two zero factors.
    assert!(lora.start_from(&model, &model).is_err());
}

#[test]
fn what_does_not_go_together_is_refused() {
    let model = golden_model("llama3");
    let refused = lora(Variant::Dora, Start::Principal).start(&model).unwrap_err();
    assert!(matches!(refused, Error::Setting { name: "start", .. }), "{refused}");
    let adapter = lora(Variant::Dora, Start::Zero).start(&model).unwrap();
    let refused = Trainer::new(model, Some(adapter), settings(Wanted::All)).err().unwrap();
    assert!(matches!(refused, Error::Setting { name: "wanted", .. }), "{refused}");
}
