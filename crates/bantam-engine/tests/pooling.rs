//! Vectors of whole prompts: what the head is applied to, whatever the steps and the others in them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use bantam_engine::{Engine, Event, Pooling, PromptOutput, Reason, Request, Settings};
use common::{golden, llama, request, settings};

fn pooled(engine: &Engine, prompt: &[u32], pooling: Pooling) -> Vec<f32> {
    let ask = Request {
        prompt: prompt.to_vec(),
        prompt_output: PromptOutput::Pooled(pooling),
        ..Request::default()
    };
    let events: Vec<Event> = engine.submit(ask).unwrap().collect();
    let [Event::Pooled(vector), Event::Done { reason: Reason::Length, usage }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((usage.prompt_tokens, usage.reused_tokens, usage.generated_tokens), (prompt.len(), 0, 0));
    vector.clone()
}

/// All hidden states of a prompt: each position is the last one of a prompt that ends there.
fn states(engine: &Engine, prompt: &[u32]) -> Vec<Vec<f32>> {
    (1..=prompt.len()).map(|end| pooled(engine, &prompt[..end], Pooling::Last)).collect()
}

#[test]
fn the_head_makes_logits_of_what_is_pooled() {
    let engine = Engine::start(llama(), settings()).unwrap();
    let prompt = [5, 80, 33, 2, 7];
    let ask = Request {
        prompt: prompt.to_vec(),
        max_tokens: Some(0),
        prompt_output: PromptOutput::Logits,
        ..Request::default()
    };
    let logits: Vec<f32> = engine
        .submit(ask)
        .unwrap()
        .filter_map(|event| if let Event::Prompt { logits, .. } = event { Some(logits) } else { None })
        .flatten()
        .collect();
    let head = engine.model().weights.head.matrix.tensor.to_f32();
    for (state, logits) in states(&engine, &prompt).iter().zip(logits.chunks_exact(96)) {
        for (row, logit) in head.chunks_exact(state.len()).zip(logits) {
            let product: f32 = row.iter().zip(state).map(|(w, x)| w * x).sum();
            assert!((product - logit).abs() < 1e-4, "{product} {logit}");
        }
    }
}

#[test]
fn poolings_are_of_the_same_states() {
    let engine = Engine::start(llama(), settings()).unwrap();
    let prompt = [9, 1, 44, 60];
    let states = states(&engine, &prompt);
    assert_eq!(pooled(&engine, &prompt, Pooling::First), states[0]);
    let mean = pooled(&engine, &prompt, Pooling::Mean);
    for (place, mean) in mean.iter().enumerate() {
        let sum: f32 = states.iter().map(|state| state[place]).sum();
        assert!((mean - sum / 4.0).abs() < 1e-5);
    }
}

#[test]
fn steps_and_neighbours_change_nothing() {
    for name in ["tinyllama", "gemma3"] {
        let start = |settings| Engine::start(std::sync::Arc::new(golden(name, None)), settings).unwrap();
        let prompt: Vec<u32> = (0..30).map(|i| (i * 7 + 3) % 96).collect();
        let alone = start(settings());
        let busy = start(Settings { step_rows_max: 7, sequences_max: 4, ..settings() });
        let others: Vec<_> = (0..2).map(|seed| busy.submit(request(seed, &[1, 2, 3], 40)).unwrap()).collect();
        for pooling in [Pooling::Mean, Pooling::Last, Pooling::First] {
            assert_eq!(pooled(&alone, &prompt, pooling), pooled(&busy, &prompt, pooling), "{name}");
        }
        assert!(others.into_iter().all(|stream| stream.count() == 41));
    }
}
