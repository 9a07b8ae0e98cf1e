//! Requests with adapters: each has the tokens that it has alone, whoever else runs or ran before.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use bantam_engine::{Engine, Error, PromptOutput, Request, Settings, Speculation};
use bantam_model::{Adapter, BaseCheck, Model};
use bantam_tensor::Tensor;
use bantam_tensor::format::adapter::{AdapterFile, AdapterForm, AdapterPair};
use bantam_tensor::kernels::matmul::Layout;
use common::{Answer, collect, golden, llama, request, settings};

/// An adapter that changes all projections of the model's first layer.
fn adapter(model: &Model, seed: usize) -> Arc<Adapter> {
    // A tied head has no name of its own.
    let table = model.weights.embed.tensor.name();
    let first = model.linears().filter(|linear| linear.site.layer == 0);
    let pairs = first.filter(|linear| linear.matrix.tensor.name() != table).map(|linear| {
        let name = linear.matrix.tensor.name();
        let tensor = |rows: usize, cols: usize| {
            let value = |i: usize| ((i * 7 + seed * 13) % 17) as f32 / 40.0 - 0.2;
            let values: Vec<f32> = (0..rows * cols).map(value).collect();
            Tensor::from_f32(name, vec![rows, cols], &values).unwrap()
        };
        AdapterPair {
            module: name.strip_suffix(".weight").unwrap().into(),
            a: tensor(3, linear.matrix.inputs),
            b: tensor(linear.matrix.outputs, 3),
            scale: 1.5,
            magnitude: None,
        }
    });
    let file = AdapterFile {
        form: AdapterForm::Peft,
        pairs: pairs.collect(),
        fingerprint: None,
        base_name: None,
        architecture: None,
        base_layout: Layout::OutIn,
    };
    Arc::new(Adapter::bind(&file, model, BaseCheck::Fingerprint).unwrap())
}

fn with(seed: u64, prompt: &[u32], adapter: Option<&Arc<Adapter>>) -> Request {
    Request { adapter: adapter.cloned(), ..request(seed, prompt, 12) }
}

fn fresh(model: &Arc<Model>, ask: &Request) -> Answer {
    let engine = Engine::start(Arc::clone(model), Settings { kept_bytes_max: 0, ..settings() }).unwrap();
    collect(engine.submit(ask.clone()).unwrap())
}

#[test]
fn requests_of_several_adapters_run_together() {
    let model = llama();
    let adapters = [None, Some(adapter(&model, 1)), Some(adapter(&model, 2))];
    let prompt: Vec<u32> = (0..20).map(|i| (i * 7) % 90).collect();
    let ask = |place: usize| with(5, &prompt, adapters[place % 3].as_ref());
    let alone: Vec<Answer> = (0..3).map(|place| fresh(&model, &ask(place))).collect();
    assert!(alone[0].tokens != alone[1].tokens && alone[1].tokens != alone[2].tokens);
    for step_rows_max in [7, 64] {
        let settings = Settings { step_rows_max, ..settings() };
        let engine = Engine::start(Arc::clone(&model), settings).unwrap();
        let streams: Vec<_> = (0..7).map(|place| engine.submit(ask(place)).unwrap()).collect();
        for (place, stream) in streams.into_iter().enumerate() {
            assert_eq!(collect(stream).tokens, alone[place % 3].tokens, "{place}");
        }
    }
}

#[test]
fn a_state_is_reused_by_its_own_adapter_only() {
    let model = llama();
    let (one, other) = (adapter(&model, 1), adapter(&model, 2));
    let engine = Engine::start(Arc::clone(&model), settings()).unwrap();
    let prompt: Vec<u32> = (0..30).map(|i| (i * 7) % 90).collect();
    for (adapter, reused) in
        [(Some(&one), 0), (None, 0), (Some(&other), 0), (Some(&one), 29), (None, 29), (Some(&other), 29)]
    {
        let ask = with(5, &prompt, adapter);
        let found = collect(engine.submit(ask.clone()).unwrap());
        assert_eq!(found.usage().reused_tokens, reused);
        assert_eq!(found.tokens, fresh(&model, &ask).tokens);
    }
}

#[test]
fn guesses_change_no_token_of_an_adapted_model() {
    let model = llama();
    let adapter = adapter(&model, 1);
    let ask = with(5, &[1, 2, 3, 1, 2, 3, 1, 2], Some(&adapter));
    let expected = fresh(&model, &ask).tokens;
    for speculation in [Speculation::Lookup, Speculation::Draft(Arc::clone(&model))] {
        let settings = Settings { speculation, ..settings() };
        let engine = Engine::start(Arc::clone(&model), settings).unwrap();
        assert_eq!(collect(engine.submit(ask.clone()).unwrap()).tokens, expected);
    }
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let adapter = adapter(&golden("gemma3", None), 1);
    let engine = Engine::start(llama(), settings()).unwrap();
    let ask = Request { prompt_output: PromptOutput::Logprobs, ..with(1, &[1, 2], Some(&adapter)) };
    assert!(matches!(engine.submit(ask), Err(Error::Adapter(_))));
}
