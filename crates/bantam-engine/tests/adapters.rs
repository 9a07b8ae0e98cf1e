//! Requests with adapters: each has the tokens that it has alone, whoever else runs or ran before.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use bantam_engine::{Engine, Error, Event, Overflow, PromptOutput, Request, Settings, Speculation};
use bantam_model::{
    Adapter, BaseCheck, Batch, Executor, KvPrefix, KvPrefixLayer, KvStorage, Machine, Model, Scratch, State,
    Want,
};
use bantam_tensor::Tensor;
use common::{Answer, collect, golden, llama, request, settings};

#[path = "../../../testdata/golden/adapter.rs"]
mod golden_adapter;

/// An adapter that changes all projections of the model's first layer.
fn adapter(model: &Model, seed: usize) -> Arc<Adapter> {
    let file = golden_adapter::of_first_layer(model, seed);
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

/// An adapter that is so many virtual tokens.
fn prefix(model: &Model, tokens: usize) -> Arc<Adapter> {
    let bantam_model::description::Mixer::Attention(attention) = &model.description.layers[0].mixer;
    let tensor = |seed: usize| {
        let values: Vec<f32> = (0..tokens * attention.kv_width())
            .map(|i| ((i * 7 + seed * 13) % 17) as f32 / 8.0 - 1.0)
            .collect();
        Tensor::from_f32("prefix", vec![tokens, attention.kv_width()], &values).unwrap()
    };
    let layers = (0..model.description.layers.len())
        .map(|layer| KvPrefixLayer { keys: tensor(2 * layer), values: tensor(2 * layer + 1) });
    Arc::new(Adapter { prefix: Some(KvPrefix { layers: layers.collect() }), ..Adapter::default() })
}

#[test]
fn sequences_begin_behind_their_prefix() {
    let model = llama();
    let engine = Engine::start(Arc::clone(&model), settings()).unwrap();
    let prompt: Vec<u32> = (0..20).map(|i| (i * 7) % 90).collect();
    for tokens in [1, 5] {
        let adapter = prefix(&model, tokens);
        let mut batch = Batch::default();
        batch.push(&prompt, tokens, 64, Want::All);
        batch.adapt(&adapter);
        let mut state = State::new(&model.description, KvStorage::F32, 64);
        state.begin(adapter.prefix.as_ref().unwrap());
        let (machine, settings) = (Machine::new(settings().isa, 1), settings());
        let (states, scratch) = (&mut [&mut state], &mut Scratch::default());
        let wanted = Executor::run(&machine, &model, settings.numerics, &batch, states, scratch).unwrap();
        let ask = Request { prompt_output: PromptOutput::Logits, ..with(1, &prompt, Some(&adapter)) };
        let mut found = Vec::new();
        for event in engine.submit(ask).unwrap() {
            if let Event::Prompt { first, logits } = event {
                assert_eq!(first * model.description.vocab_size, found.len());
                found.extend(logits);
            }
        }
        assert_eq!(found, wanted, "{tokens}");
    }
}

#[test]
fn sequences_with_a_prefix_share_it_and_nothing_else() {
    let model = llama();
    let (one, other) = (prefix(&model, 5), prefix(&model, 9));
    let engine = Engine::start(Arc::clone(&model), settings()).unwrap();
    let prompt: Vec<u32> = (0..30).map(|i| (i * 7) % 90).collect();
    for (adapter, reused) in [(&one, 0), (&other, 0), (&one, 29), (&other, 29)] {
        let ask = with(5, &prompt, Some(adapter));
        let found = collect(engine.submit(ask.clone()).unwrap());
        assert_eq!((found.usage().reused_tokens, found.usage().prompt_tokens), (reused, 30));
        assert_eq!(found.tokens, fresh(&model, &ask).tokens);
    }
    // Guesses, and what is forgotten when the context is full, leave the prefix where it is.
    let shifting = Request {
        overflow: Overflow::Shift { keep: 2 },
        max_tokens: Some(90),
        ..with(3, &[1, 2, 3, 1, 2, 3, 1, 2], Some(&one))
    };
    let expected = fresh(&model, &shifting);
    assert!(expected.shifts > 1);
    for speculation in [Speculation::Lookup, Speculation::Draft(Arc::clone(&model))] {
        let settings = Settings { speculation, ..settings() };
        let engine = Engine::start(Arc::clone(&model), settings).unwrap();
        assert_eq!(collect(engine.submit(shifting.clone()).unwrap()).tokens, expected.tokens);
    }
    let too_long = with(1, &[7; 60], Some(&one));
    assert!(matches!(engine.submit(too_long), Err(Error::PromptTooLong { prompt: 60, context: 59 })));
}
