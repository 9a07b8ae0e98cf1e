//! A request's tokens and their probabilities depend on the request alone, to the bit.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use bantam_engine::{Engine, Event, PromptOutput, Request, Sampling, Settings};
use bantam_model::KvStorage;
use common::{Answer, collect, golden, llama, request, settings};

fn prompt() -> Vec<u32> {
    (0..30).map(|i| (i * 7) % 90).collect()
}

fn alone(settings: Settings) -> Answer {
    let engine = Engine::start(llama(), settings).unwrap();
    collect(engine.submit(request(5, &prompt(), 12)).unwrap())
}

#[test]
fn neither_threads_nor_steps_change_a_token() {
    let expected = alone(settings()).tokens;
    assert_eq!(expected.len(), 12);
    for step_rows_max in [1, 2, 7, 29, 30] {
        let found = alone(Settings { step_rows_max, ..settings() }).tokens;
        assert_eq!(expected, found, "{step_rows_max} rows a step");
    }
    for threads in [1, 3] {
        assert_eq!(expected, alone(Settings { threads, ..settings() }).tokens, "{threads} threads");
    }
}

#[test]
fn other_requests_do_not_change_a_token() {
    for (kv, step_rows_max, sequences_max) in [
        (KvStorage::F32, 9, 16),
        (KvStorage::F16, 64, 16),
        (KvStorage::F16, 3, 16),
        (KvStorage::F32, 64, 2),
        (KvStorage::Q8_0, 9, 16),
        (KvStorage::Q4_0, 5, 16),
    ] {
        let settings = Settings { kv, step_rows_max, sequences_max, ..settings() };
        let expected = alone(settings.clone()).tokens;
        let engine = Engine::start(llama(), settings.clone()).unwrap();
        let other = |i: u64| request(i, &prompt()[..5 + i as usize], 20);
        let others: Vec<_> = (0..6).map(|i| engine.submit(other(i)).unwrap()).collect();
        let among = collect(engine.submit(request(5, &prompt(), 12)).unwrap());
        assert_eq!(expected, among.tokens, "{settings:?}");
        for other in others {
            assert_eq!(collect(other).tokens.len(), 20);
        }
    }
}

#[test]
fn reused_states_do_not_change_a_token() {
    let engine = Engine::start(llama(), settings()).unwrap();
    let fresh = |ask: &Request| {
        let engine = Engine::start(llama(), Settings { kept_bytes_max: 0, ..settings() }).unwrap();
        collect(engine.submit(ask.clone()).unwrap())
    };
    let first = request(5, &prompt(), 12);
    let answer = collect(engine.submit(first.clone()).unwrap());
    assert_eq!(answer.usage().reused_tokens, 0);
    let conversation: Vec<u32> = prompt().into_iter().chain(answer.ids()).chain([3, 4]).collect();
    let branch: Vec<u32> = prompt()[..20].iter().copied().chain([91, 92]).collect();
    // The same again: the last token is computed all the same, since its logits are needed.
    for (ask, reused) in [
        (first, 29),
        // The last token of an answer was never read.
        (request(6, &conversation, 10), 41),
        (request(7, &branch, 10), 20),
        (request(8, &[95, 1, 2], 10), 0),
        (request(7, &branch[..1], 10), 0),
    ] {
        let found = collect(engine.submit(ask.clone()).unwrap());
        assert_eq!(found.usage().reused_tokens, reused, "{:?}", ask.prompt);
        assert_eq!(found.tokens, fresh(&ask).tokens, "{:?}", ask.prompt);
    }
}

/// LongRoPE's frequencies depend on the length that a sequence may reach: the engine's context for all of them.
#[test]
fn angles_that_depend_on_length_allow_reuse() {
    let model = Arc::new(golden("phi3_longrope", None));
    assert!(model.description.depends_on_length(), "a model whose angles depend on the length");
    let short: Vec<u32> = (0..10).map(|i| i * 3 + 1).collect();
    let long: Vec<u32> = short.iter().copied().chain((0..30).map(|i| i * 2 + 1)).collect();
    let engine = Engine::start(Arc::clone(&model), settings()).unwrap();
    collect(engine.submit(request(1, &short, 3)).unwrap());
    let after_reuse = collect(engine.submit(request(2, &long, 5)).unwrap());
    assert_eq!(after_reuse.usage().reused_tokens, 10);
    let engine = Engine::start(model, settings()).unwrap();
    assert_eq!(after_reuse.tokens, collect(engine.submit(request(2, &long, 5)).unwrap()).tokens);
}

#[test]
fn shifting_reads_what_is_left_as_if_it_were_new() {
    let engine = Engine::start(llama(), Settings { context_length: 16, ..settings() }).unwrap();
    let sampling = Sampling::default();
    let ask = Request {
        prompt: vec![1, 2, 3, 4, 5, 6],
        max_tokens: Some(40),
        overflow: bantam_engine::Overflow::Shift { keep: 2 },
        sampling,
        top_logprobs: Some(0),
        ..Request::default()
    };
    let mut window = ask.prompt.clone();
    let (mut shifts, mut checked) = (0, 0);
    for event in engine.submit(ask.clone()).unwrap() {
        match event {
            Event::Token { id, logprob, .. } => {
                let one = Request {
                    prompt: window.clone(),
                    max_tokens: Some(1),
                    top_logprobs: Some(0),
                    ..Request::default()
                };
                let fresh = Engine::start(llama(), Settings { context_length: 16, ..settings() }).unwrap();
                let wanted = collect(fresh.submit(one).unwrap()).tokens;
                assert_eq!(wanted, [(id, logprob.map(f32::to_bits))], "after {window:?}");
                window.push(id);
                checked += 1;
            }
            Event::Shifted { dropped } => {
                window.drain(2..2 + dropped);
                assert_eq!(window[..2], [1, 2]);
                shifts += 1;
            }
            Event::Done { .. } => {}
            other => panic!("{other:?}"),
        }
        assert!(window.len() <= 17, "the context is never passed");
    }
    // The first of 7 tokens, when there are 17; then each time that these 7 are there again.
    assert_eq!((checked, shifts), (40, 1 + (40 - 11) / 7));
}

#[test]
fn the_prompts_logprobs_are_those_of_its_logits() {
    for step_rows_max in [4, 64] {
        let engine = Engine::start(llama(), Settings { step_rows_max, ..settings() }).unwrap();
        let ask = |prompt_output| {
            let ask = Request { prompt_output, top_logprobs: Some(3), ..request(3, &prompt(), 2) };
            engine.submit(ask).unwrap().collect::<Vec<Event>>()
        };
        let mut rows = Vec::new();
        for event in ask(PromptOutput::Logits) {
            if let Event::Prompt { first, logits } = event {
                assert_eq!(first, rows.len());
                rows.extend(logits.chunks_exact(96).map(<[f32]>::to_vec));
            }
        }
        assert_eq!(rows.len(), 30);
        let mut told = Vec::new();
        for event in ask(PromptOutput::Logprobs) {
            if let Event::Token { id, logprob, top } = event {
                told.push((id, logprob.unwrap(), top));
            }
        }
        assert_eq!(told.len(), 29 + 2);
        for ((row, wanted), (id, logprob, top)) in rows.iter().zip(&prompt()[1..]).zip(told) {
            let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
            let exact = f64::from(row[id as usize]) - sum.ln();
            assert_eq!(id, *wanted);
            assert!((f64::from(logprob) - exact).abs() < 1e-5, "{logprob}, wanted {exact}");
            let likelier = row.iter().filter(|logit| **logit > row[top[2].0 as usize]).count();
            assert!(top.len() == 3 && top[0].1 >= top[1].1 && top[1].1 >= top[2].1 && likelier == 2);
        }
    }
}
