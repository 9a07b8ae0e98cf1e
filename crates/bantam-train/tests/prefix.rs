//! Prefixes: a start that is the tokens it is from, gradients by finite differences, learning, and files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;

use bantam_model::{
    Adapter, Batch, Executor, Isa, KvPrefixLayer, KvStorage, Machine, Model, Numerics, Scratch, State, Want,
    forward,
};
use bantam_tensor::Tensor;
use bantam_tensor::format::adapter::AdapterForm;
use bantam_train::{
    AdamW, Decay, Error, Example, Lora, Plan, Recompute, Rule, Schedule, Settings, Tape, Trainer, Wanted,
    prefix_of,
};
use common::{
    assert_resumed_and_private_runs_are_alike, examples, golden_model, learn, machine, numbers, sequences,
    slope,
};

/// Families with windows, with rotary keys of other orders, with learned positions, with projections in one.
const FAMILIES: [&str; 5] = ["llama3", "gemma3", "phi3", "gpt2", "qwen3"];

fn settings() -> Settings {
    Settings {
        wanted: Wanted::Adapter,
        rule: Rule::AdamW(AdamW::default()),
        schedule: Schedule { rate: 0.02, warmup_steps: 1, steps: 12, decay: Decay::Constant },
        clip: Some(1.0),
        micro_tokens: 100,
        numerics: Numerics::Exact,
        recompute: Recompute::Layers,
    }
}

fn trainer(family: &str, tokens: &[u32]) -> Trainer {
    let model = golden_model(family);
    let adapter = prefix_of(&machine(), &model, tokens).unwrap();
    Trainer::new(model, Some(adapter), settings()).unwrap()
}

fn batch(adapter: &Arc<Adapter>) -> Batch {
    let (mut batch, ahead) = (Batch::default(), adapter.virtual_tokens());
    for tokens in sequences() {
        batch.push(&tokens, ahead, ahead + tokens.len(), Want::All);
        batch.adapt(adapter);
    }
    batch
}

/// Behind its tokens' own keys and values, an example is what it is behind the tokens.
#[test]
fn a_prefix_begins_as_its_tokens() {
    let begun: Vec<u32> = (0..13).map(|i| (i * 11 + 5) % 90).collect();
    for family in FAMILIES {
        let whole = sequences().into_iter().map(|ids| {
            let learn = (0..begun.len() + ids.len()).map(|place| place > begun.len()).collect();
            Example { ids: [&begun[..], &ids].concat(), learn }
        });
        let whole: Vec<Example> = whole.collect();
        let (whole, rest): (Vec<&Example>, Vec<Example>) = (whole.iter().collect(), examples());
        let rest: Vec<&Example> = rest.iter().collect();
        let model = golden_model(family);
        let settings = Settings { wanted: Wanted::All, ..settings() };
        let wanted = Trainer::new(model, None, settings).unwrap().evaluate(&machine(), &whole).unwrap();
        let found = trainer(family, &begun).evaluate(&machine(), &rest).unwrap();
        assert_eq!(wanted.learnt_tokens, found.learnt_tokens);
        assert!((wanted.loss - found.loss).abs() < 1e-5, "{family}: {found:?}, {wanted:?}");
    }
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

/// Keys or values moved.
fn moved(adapter: &Adapter, name: &str, direction: &[f32], h: f64) -> Adapter {
    let mut adapter = adapter.clone();
    for KvPrefixLayer { keys, values } in &mut adapter.prefix.as_mut().unwrap().layers {
        for tensor in [keys, values] {
            if tensor.name() == name {
                let values = tensor.to_f32();
                let values: Vec<f32> =
                    values.iter().zip(direction).map(|(x, d)| x + (h as f32) * d).collect();
                *tensor = Tensor::from_f32(tensor.name(), tensor.shape().to_vec(), &values).unwrap();
            }
        }
    }
    adapter
}

#[test]
fn gradients_agree_with_finite_differences() {
    for family in FAMILIES {
        let model = golden_model(family);
        let adapter = prefix_of(&machine(), &model, &[7, 31, 2]).unwrap();
        let (shared, machine) = (Arc::new(adapter.clone()), machine());
        let batch = batch(&shared);
        let mut tape = Tape::new(&machine, &batch, &Wanted::Adapter).unwrap();
        let logits = forward(&mut tape, &model).unwrap();
        let count = tape.values(&logits).len();
        let gradients = tape.backward(logits, numbers(5, count));
        assert_eq!(gradients.len(), 2 * model.description.layers.len(), "{family}");
        for (name, gradient) in &gradients {
            let norm = gradient.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            let direction: Vec<f32> = gradient.iter().map(|x| x / norm.max(1e-20) as f32).collect();
            let expected = slope(4e-3, |h| weighed(&model, &moved(&adapter, name, &direction, h)));
            assert!(
                norm > 0.0 && (norm - expected).abs() < 2e-3 * norm + 2e-3,
                "{family} {name}: {norm}, {expected}"
            );
        }
    }
}

#[test]
fn what_was_learnt_is_what_runs_and_what_is_written() {
    for family in FAMILIES {
        let mut trainer = trainer(family, &[7, 31, 2, 40]);
        let losses = learn(&mut trainer, 12);
        assert!(losses[11] < 0.95 * losses[0], "{family}: {losses:?}");
        let (model, adapter) = (trainer.model(), trainer.adapter().unwrap());
        let (machine, batch) = (machine(), batch(adapter));
        let mut tape = Tape::new(&machine, &batch, &Wanted::Nothing).unwrap();
        let taped = forward(&mut tape, model).unwrap();
        let file = adapter.to_file(model, AdapterForm::Peft).unwrap();
        let read = Arc::new(Adapter::bind(&file, model, Default::default()).unwrap());
        for adapter in [adapter, &read] {
            let begun = || {
                let mut state = State::new(&model.description, KvStorage::F32, 64);
                state.begin(adapter.prefix.as_ref().unwrap());
                state
            };
            let mut states: Vec<State> = sequences().iter().map(|_| begun()).collect();
            let mut states: Vec<&mut State> = states.iter_mut().collect();
            let (numerics, scratch) = (Numerics::Exact, &mut Scratch::default());
            let ran = Executor::run(&machine, model, numerics, &batch, &mut states, scratch).unwrap();
            let near = tape.values(&taped).iter().zip(&ran).all(|(taped, ran)| (taped - ran).abs() < 2e-4);
            assert!(near, "{family}");
        }
    }
}

#[test]
fn resumed_and_private_runs_know_prefixes() {
    let begin = || trainer("llama3", &[7, 31, 2]);
    assert_resumed_and_private_runs_are_alike(begin);
}

#[test]
fn a_plan_knows_prefixes() {
    let model = golden_model("llama3");
    let adapter = prefix_of(&machine(), &model, &[7, 31, 2]).unwrap();
    let planned = Plan::new(&model, Some(&adapter), &settings());
    let mut trainer = Trainer::new(model, Some(adapter), settings()).unwrap();
    let example = Example::whole((0..50).map(|i| i * 7 % 60).collect());
    trainer.step(&machine(), &[&example, &example]).unwrap();
    let (planned_bytes, found) = (planned.activations as f64, trainer.activation_bytes() as f64);
    assert!((planned_bytes / found - 1.0).abs() < 0.15, "planned {planned_bytes}, found {found}");
    let numbers: usize = trainer.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
    assert_eq!((planned.learning, planned.optimizer), (4 * numbers, 8 * numbers));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let model = golden_model("llama3");
    let prefix = prefix_of(&machine(), &model, &[7, 31, 2]).unwrap();
    let lora = Lora { rank: 2, ..Lora::default() }.start(&model).unwrap();
    assert!(
        Adapter::sum(&[(&prefix, 0.5)]).is_err() && Adapter::sum(&[(&prefix, 1.0), (&prefix, 1.0)]).is_err()
    );
    let both = Adapter::sum(&[(&prefix, 1.0), (&lora, 0.5)]).unwrap();
    assert_eq!((both.virtual_tokens(), both.sites.len()), (3, lora.sites.len()));
    assert!(prefix.check(&golden_model("gpt2")).is_err() && prefix_of(&machine(), &model, &[]).is_err());
    assert!(prefix_of(&machine(), &model, &[1 << 20]).is_err());
    // A sequence stands behind its prefix.
    let (shared, mut batch) = (Arc::new(prefix), Batch::default());
    batch.push(&[1, 2], 0, 2, Want::All);
    batch.adapt(&shared);
    let refused = Tape::new(&machine(), &batch, &Wanted::Nothing).err();
    assert!(matches!(refused, Some(Error::Continued { span: 0, position: 0, wanted: 3 })));
}
