//! Examples with common beginnings, which go through the model once: as if each went alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;

use bantam_model::{Adapter, Model, Numerics};
use bantam_train::{
    AdamW, Decay, Example, Lora, Recompute, Rule, Schedule, Settings, Trainer, Wanted, prefix_of,
};
use common::{golden_model, machine};

/// Three answers to one question, another question with the same head, and one without it.
fn examples() -> Vec<Example> {
    let head = [17, 3, 58, 91, 4, 33, 33, 70, 12, 40];
    let question = [5, 80, 2, 61, 47, 8];
    let after = |parts: &[&[u32]], learnt: usize| {
        let ids = [&head[..], &parts.concat()].concat();
        let learn = (0..ids.len()).map(|place| place + learnt >= ids.len()).collect();
        Example { ids, learn }
    };
    vec![
        after(&[&question, &[7, 9, 11]], 3),
        after(&[&[44, 45, 46, 47, 48, 49, 50, 51]], 2),
        after(&[&question, &[7, 9, 12, 60]], 4),
        Example::whole(vec![9, 8, 7, 6, 5, 4, 3]),
        after(&[&question, &[21]], 18),
        after(&[&question, &[7, 9, 11]], 3),
    ]
}

/// Losses of some steps, and what was learnt.
fn learnt(model: Model, adapter: Option<Adapter>, micro_tokens: usize) -> (Vec<f64>, Vec<f32>) {
    let settings = Settings {
        wanted: if adapter.is_some() { Wanted::Adapter } else { Wanted::All },
        // Far enough from zero that the signs of tiny gradients do not decide.
        rule: Rule::AdamW(AdamW { eps: 1e-3, ..AdamW::default() }),
        schedule: Schedule { rate: 0.005, warmup_steps: 0, steps: 6, decay: Decay::Constant },
        clip: None,
        micro_tokens,
        numerics: Numerics::Exact,
        recompute: Recompute::Layers,
    };
    let mut trainer = Trainer::new(model, adapter, settings).unwrap();
    let examples = examples();
    let all: Vec<&Example> = examples.iter().collect();
    let losses = (0..5).map(|_| trainer.step(&machine(), &all).unwrap().loss).collect();
    let numbers = match trainer.adapter() {
        Some(adapter) => numbers(adapter),
        None => trainer.model().tensors().values().flat_map(|tensor| tensor.to_f32()).collect(),
    };
    (losses, numbers)
}

fn numbers(adapter: &Arc<Adapter>) -> Vec<f32> {
    let sites = adapter.sites.values().flat_map(|site| [site.a.tensor.to_f32(), site.b.tensor.to_f32()]);
    let layers = adapter.prefix.iter().flat_map(|prefix| &prefix.layers);
    let ahead = layers.flat_map(|layer| [layer.keys.to_f32(), layer.values.to_f32()]);
    sites.chain(ahead).flatten().collect()
}

fn assert_same(family: &str, adapter: impl Fn(&Model) -> Option<Adapter>) {
    let run = |micro_tokens| {
        let model = golden_model(family);
        let adapter = adapter(&model);
        learnt(model, adapter, micro_tokens)
    };
    let (alone, together) = (run(1), run(1000));
    for (one, other) in alone.0.iter().zip(&together.0) {
        assert!((one - other).abs() < 1e-5, "{family}: {:?}, {:?}", alone.0, together.0);
    }
    let differences = alone.1.iter().zip(&together.1).map(|(one, other)| (one - other).abs());
    let greatest = differences.fold(0.0, f32::max);
    assert!(greatest < 1e-5, "{family}: {greatest}");
}

#[test]
fn weights_learn_the_same() {
    for family in ["llama3", "gemma3", "gemma2", "gpt2", "phi3", "olmo2"] {
        assert_same(family, |_| None);
    }
}

#[test]
fn adapters_learn_the_same() {
    for family in ["llama3", "gemma3", "qwen3"] {
        assert_same(family, |model| {
            Some(Lora { rank: 4, alpha: 8.0, ..Lora::default() }.start(model).unwrap())
        });
        assert_same(family, |model| Some(prefix_of(&machine(), model, &[4, 2, 9]).unwrap()));
    }
}
