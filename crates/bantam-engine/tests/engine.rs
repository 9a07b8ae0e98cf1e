//! The engine over a tiny model: what is promised of a request holds whatever happens around it.

use std::path::Path;
use std::sync::Arc;

use bantam_engine::{Engine, Event, Overflow, PromptOutput, Reason, Request, Sampling, Settings, Usage};
use bantam_model::{KvStorage, Model};
use bantam_tensor::format::safetensors;
use bantam_tensor::{Checkpoint, Tensor};
use serde_json::Value;

#[path = "../../../testdata/golden/weights.rs"]
mod golden_weights;

/// The golden Llama, perhaps with one number changed.
fn model(damage: Option<(&str, f32)>) -> Arc<Model> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/golden");
    let golden: Value = serde_json::from_slice(&std::fs::read(dir.join("tinyllama.json")).unwrap()).unwrap();
    let tensors: Vec<Tensor> = golden["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, shape)| {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let mut values = golden_weights::tensor(name, &shape);
            if let Some((damaged, value)) = damage
                && damaged == name
            {
                values[0] = value;
            }
            Tensor::from_f32(name, shape, &values).unwrap()
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(dir.join("configs/tinyllama.json"), folder.path().join("config.json")).unwrap();
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    Arc::new(Model::bind(&Checkpoint::open(folder.path()).unwrap()).unwrap())
}

fn settings() -> Settings {
    Settings { context_length: 64, threads: 2, kv: KvStorage::F32, ..Settings::default() }
}

fn request(seed: u64, prompt: &[u32], max_tokens: usize) -> Request {
    let sampling = Sampling { temperature: 1.0, top_p: 0.95, seed, ..Sampling::default() };
    Request { prompt: prompt.to_vec(), max_tokens: Some(max_tokens), sampling, ..Request::default() }
}

/// Ids and log-probabilities, to the bit, and how it ended.
fn collect(stream: impl Iterator<Item = Event>) -> (Vec<(u32, u32)>, Reason, Usage) {
    let mut tokens = Vec::new();
    for event in stream {
        match event {
            Event::Token { id, logprob, .. } => tokens.push((id, logprob.to_bits())),
            Event::Done { reason, usage } => return (tokens, reason, usage),
            Event::Failed(error) => panic!("{error}"),
            Event::Prompt { .. } | Event::Shifted { .. } => {}
        }
    }
    panic!("a stream without an end");
}

#[test]
fn tokens_do_not_depend_on_what_happens_around_a_request() {
    let model = model(None);
    let prompt: Vec<u32> = (0..30).map(|i| (i * 7) % 90).collect();
    let alone = |settings: Settings| {
        let engine = Engine::start(Arc::clone(&model), settings).unwrap();
        collect(engine.submit(request(5, &prompt, 12)).unwrap()).0
    };
    let expected = alone(settings());
    assert_eq!(expected.len(), 12);
    assert_eq!(expected, alone(Settings { step_rows_max: 7, ..settings() }), "prompt in small steps");
    assert_eq!(expected, alone(Settings { threads: 1, ..settings() }), "one thread");

    let engine = Engine::start(Arc::clone(&model), Settings { step_rows_max: 9, ..settings() }).unwrap();
    let others: Vec<_> =
        (0..6).map(|i| engine.submit(request(i, &prompt[..5 + i as usize], 20)).unwrap()).collect();
    let among = collect(engine.submit(request(5, &prompt, 12)).unwrap()).0;
    assert_eq!(expected, among, "among others");
    others.into_iter().for_each(|other| assert_eq!(collect(other).0.len(), 20));

    let again = collect(engine.submit(request(5, &prompt, 12)).unwrap());
    assert!(again.2.reused_tokens >= 29, "the state is reused: {:?}", again.2);
    assert_eq!(expected, again.0, "after reuse");
}

#[test]
fn prompt_logits_come_for_every_position_in_order() {
    let engine = Engine::start(model(None), Settings { step_rows_max: 4, ..settings() }).unwrap();
    let ask = Request {
        prompt: (1..12).collect(),
        max_tokens: Some(0),
        prompt_output: PromptOutput::Logits,
        ..Request::default()
    };
    let (mut positions, mut reason) = (0, None);
    for event in engine.submit(ask).unwrap() {
        match event {
            Event::Prompt { first, logits } => {
                assert_eq!(first, positions);
                positions += logits.len() / engine.model().description.vocab_size;
            }
            Event::Done { reason: found, usage } => {
                reason = Some(found);
                assert_eq!((usage.prompt_tokens, usage.generated_tokens), (11, 0));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((positions, reason), (11, Some(Reason::Length)));
}

#[test]
fn a_full_context_is_told() {
    let engine = Engine::start(model(None), Settings { context_length: 16, ..settings() }).unwrap();
    let mut ask = request(1, &[1, 2, 3, 4], 100);
    let (tokens, reason, _) = collect(engine.submit(ask.clone()).unwrap());
    assert_eq!((tokens.len(), reason), (13, Reason::ContextFull));
    ask.overflow = Overflow::Shift { keep: 2 };
    let events: Vec<Event> = engine.submit(ask).unwrap().collect();
    let shifts = events.iter().filter(|event| matches!(event, Event::Shifted { .. })).count();
    assert!(shifts > 5, "{shifts} shifts");
    assert!(matches!(events.last(), Some(Event::Done { reason: Reason::Length, .. })));
    let too_long = engine.submit(request(1, &[1; 17], 1)).err().unwrap().to_string();
    assert!(too_long.contains("17") && too_long.contains("16"), "{too_long}");
}

#[test]
fn stop_tokens_end_an_answer_and_are_not_part_of_it() {
    let engine = Engine::start(model(None), settings()).unwrap();
    let mut ask = request(9, &[10, 20, 30], 10);
    let (tokens, ..) = collect(engine.submit(ask.clone()).unwrap());
    let stop = tokens[4].0;
    ask.stop_tokens = vec![stop];
    let first = tokens.iter().position(|t| t.0 == stop).unwrap();
    let (stopped, reason, usage) = collect(engine.submit(ask).unwrap());
    assert_eq!((stopped.len(), reason, usage.generated_tokens), (first, Reason::Stop(stop), first));
}

#[test]
fn a_cancelled_or_abandoned_request_makes_room() {
    let engine =
        Engine::start(model(None), Settings { sequences_max: 1, context_length: 4096, ..settings() })
            .unwrap();
    let mut first = engine.submit(request(1, &[1, 2], 4000)).unwrap();
    let second = engine.submit(request(2, &[3, 4], 3)).unwrap();
    assert!(matches!(first.next(), Some(Event::Token { .. })));
    first.cancel();
    assert!(matches!(first.last(), Some(Event::Done { reason: Reason::Cancelled, .. })));
    assert_eq!(collect(second).0.len(), 3);
    drop(engine.submit(request(1, &[1, 2], 4000)).unwrap());
    assert_eq!(collect(engine.submit(request(2, &[3, 4], 3)).unwrap()).0.len(), 3);
}

#[test]
fn numbers_that_are_none_end_a_request_with_the_layer() {
    let damaged = model(Some(("model.layers.1.mlp.down_proj.weight", f32::NAN)));
    let engine = Engine::start(damaged, settings()).unwrap();
    match engine.submit(request(1, &[1, 2], 3)).unwrap().last() {
        Some(Event::Failed(error)) => assert!(error.to_string().contains("layer 1"), "{error}"),
        other => panic!("{other:?}"),
    }
    // The engine goes on.
    assert!(engine.submit(request(1, &[1, 2], 3)).unwrap().last().is_some());
}

#[test]
fn requests_that_cannot_be_are_refused_at_once() {
    let engine = Engine::start(model(None), settings()).unwrap();
    assert!(engine.submit(request(0, &[], 1)).is_err());
    assert!(engine.submit(request(0, &[1_000_000], 1)).err().unwrap().to_string().contains("1000000"));
    for (change, name) in [
        ((|s: &mut Sampling| s.temperature = -1.0) as fn(&mut Sampling), "temperature"),
        (|s| s.top_p = 1.5, "top_p"),
        (|s| s.min_p = f32::NAN, "min_p"),
        (|s| s.repeat_penalty = 0.0, "repeat_penalty"),
        (|s| s.dry.base = 0.5, "dry_base"),
        (|s| s.logit_bias = vec![(1, f32::NAN)], "logit_bias"),
    ] {
        let mut ask = request(0, &[1], 1);
        change(&mut ask.sampling);
        let message = engine.submit(ask).err().unwrap().to_string();
        assert!(message.contains(name), "{message}");
    }
}
