//! What the engine tells, in which order, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use bantam_engine::sampling::Dry;
use bantam_engine::{
    Engine, Error, Event, Overflow, PromptOutput, Reason, Request, Sampling, Settings, Stopping,
};
use bantam_model::description::Mixer;
use common::{collect, golden, llama, request, settings};

#[test]
fn prompt_logits_come_for_every_position_in_order() {
    let engine = Engine::start(llama(), Settings { step_rows_max: 4, ..settings() }).unwrap();
    let ask = Request {
        prompt: (1..40).collect(),
        max_tokens: Some(0),
        prompt_output: PromptOutput::Logits,
        ..Request::default()
    };
    let (mut positions, mut end) = (0, None);
    // Ten steps, of which two may be ahead of the reader: it would hang if reading did not wake the engine.
    for event in engine.submit(ask).unwrap() {
        match event {
            Event::Prompt { first, logits } => {
                assert_eq!((first, logits.len()), (positions, 96 * 4.min(39 - positions)));
                positions += logits.len() / 96;
            }
            Event::Done { reason, usage } => {
                end = Some((reason, usage.prompt_tokens, usage.generated_tokens))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((positions, end), (39, Some((Reason::Length, 39, 0))));
}

#[test]
fn a_reader_that_is_behind_holds_back_nobody_else() {
    let engine = Engine::start(llama(), Settings { step_rows_max: 4, ..settings() }).unwrap();
    let logits = Request { prompt_output: PromptOutput::Logits, ..request(1, &[7; 40], 1) };
    let slow = engine.submit(logits).unwrap();
    for seed in 0..3 {
        assert_eq!(collect(engine.submit(request(seed, &[1, 2, 3], 5)).unwrap()).tokens.len(), 5);
    }
    assert_eq!(collect(slow).tokens.len(), 1);
}

#[test]
fn a_full_context_is_told() {
    let engine = Engine::start(llama(), Settings { context_length: 16, ..settings() }).unwrap();
    let mut ask = request(1, &[1, 2, 3, 4], 100);
    ask.max_tokens = None;
    let answer = collect(engine.submit(ask.clone()).unwrap());
    assert_eq!((answer.tokens.len(), answer.reason()), (13, Reason::ContextFull));
    ask.max_tokens = Some(100);
    ask.overflow = Overflow::Shift { keep: 2 };
    let answer = collect(engine.submit(ask).unwrap());
    assert_eq!((answer.tokens.len(), answer.reason()), (100, Reason::Length));
    assert!(answer.shifts > 5, "{} shifts", answer.shifts);
    let full = collect(engine.submit(request(1, &[1; 16], 9)).unwrap());
    assert_eq!((full.tokens.len(), full.reason()), (1, Reason::ContextFull));
    let too_long = engine.submit(request(1, &[1; 17], 1)).err().unwrap().to_string();
    assert!(too_long.contains("17") && too_long.contains("16"), "{too_long}");
}

#[test]
fn stop_tokens_end_an_answer_and_are_not_part_of_it() {
    let engine = Engine::start(llama(), settings()).unwrap();
    let mut ask = request(9, &[10, 20, 30], 10);
    let free = collect(engine.submit(ask.clone()).unwrap()).ids();
    let stop = free[4];
    let first = free.iter().position(|id| *id == stop).unwrap();
    ask.stop_tokens = vec![stop];
    let stopped = collect(engine.submit(ask.clone()).unwrap());
    assert_eq!((stopped.ids(), stopped.reason()), (free[..first].to_vec(), Reason::Stop(stop)));
    assert_eq!(stopped.usage().generated_tokens, first);
    ask.stopping = Stopping::Forbidden;
    let unstopped = collect(engine.submit(ask).unwrap());
    assert_eq!((unstopped.tokens.len(), unstopped.reason()), (10, Reason::Length));
    assert!(!unstopped.ids().contains(&stop));
}

/// Each prompt prolongs the one before it, so that what is reused tells who ran before whom.
#[test]
fn requests_start_in_the_order_of_their_coming() {
    let engine = Engine::start(llama(), Settings { sequences_max: 1, ..settings() }).unwrap();
    let ask =
        |length: u32| Request { max_tokens: Some(0), ..request(1, &(0..length).collect::<Vec<_>>(), 0) };
    let first = engine.submit(request(1, &[0, 1, 2, 3], 40)).unwrap();
    let streams: Vec<_> = [10, 20, 30, 40].map(|length| engine.submit(ask(length)).unwrap()).into();
    assert_eq!(collect(first).tokens.len(), 40);
    let reused: Vec<usize> =
        streams.into_iter().map(|stream| collect(stream).usage().reused_tokens).collect();
    assert_eq!(reused, [4, 10, 20, 30]);
}

#[test]
fn the_state_least_recently_used_goes_first() {
    let one = Engine::start(llama(), settings()).unwrap().memory().sequence_bytes;
    let engine = Engine::start(llama(), Settings { kept_bytes_max: 2 * one, ..settings() }).unwrap();
    let reused = |first: u32| {
        let prompt: Vec<u32> = (first..first + 20).collect();
        collect(engine.submit(request(1, &prompt, 1)).unwrap()).usage().reused_tokens
    };
    assert_eq!([reused(0), reused(30), reused(0)], [0, 0, 19]);
    assert_eq!(reused(60), 0, "and the one from 30 goes");
    assert_eq!([reused(0), reused(30)], [19, 0]);
}

/// More sequences than a step has rows: all come to their end, none is passed over for ever.
#[test]
fn no_sequence_starves_in_small_steps() {
    let settings = Settings { step_rows_max: 2, sequences_max: 16, ..settings() };
    let engine = Engine::start(llama(), settings).unwrap();
    let long = engine.submit(request(1, &[1; 8], 50)).unwrap();
    let others: Vec<_> = (0..5).map(|i| engine.submit(request(i, &[2; 20], 5)).unwrap()).collect();
    for other in others {
        assert_eq!(collect(other).tokens.len(), 5);
    }
    assert_eq!(collect(long).tokens.len(), 50);
}

#[test]
fn a_cancelled_or_abandoned_request_makes_room() {
    let settings = Settings { sequences_max: 1, context_length: 100_000, ..settings() };
    let engine = Engine::start(llama(), settings).unwrap();
    let mut first = engine.submit(request(1, &[1, 2], 90_000)).unwrap();
    let waiting = engine.submit(request(2, &[3, 4], 3)).unwrap();
    let last = engine.submit(request(2, &[3, 4], 3)).unwrap();
    assert!(matches!(first.next(), Some(Event::Token { .. })));
    // One that has not begun ends at once, while the first still runs.
    waiting.cancel();
    let waited = collect(waiting);
    assert_eq!(
        (waited.reason(), waited.usage().prompt_tokens, waited.tokens.len()),
        (Reason::Cancelled, 2, 0)
    );
    let canceller = first.canceller();
    let ended = std::thread::spawn(move || collect(first));
    canceller();
    assert_eq!(ended.join().unwrap().reason(), Reason::Cancelled);
    assert_eq!(collect(last).tokens.len(), 3);
    drop(engine.submit(request(1, &[1, 2], 90_000)).unwrap());
    assert_eq!(collect(engine.submit(request(2, &[3, 4], 3)).unwrap()).tokens.len(), 3);
}

#[test]
fn streams_end_with_their_engine() {
    let settings = Settings { context_length: 100_000, sequences_max: 1, ..settings() };
    let engine = Engine::start(llama(), settings).unwrap();
    let streams = [1, 2].map(|seed| engine.submit(request(seed, &[1, 2], 90_000)).unwrap());
    drop(engine);
    for stream in streams {
        assert!(matches!(collect(stream).end, Err(Error::Stopped)));
    }
}

#[test]
fn numbers_that_are_none_end_one_request_with_the_layer() {
    let damaged = golden("tinyllama", Some(("model.layers.1.mlp.down_proj.weight", f32::NAN)));
    let engine = Engine::start(Arc::new(damaged), settings()).unwrap();
    for _ in 0..2 {
        let failed = collect(engine.submit(request(1, &[1, 2], 3)).unwrap()).end.unwrap_err();
        assert!(matches!(failed, Error::Model(_)) && failed.to_string().contains("layer 1"), "{failed}");
    }

    // Only the row of token 0 is damaged: whoever does not read it goes on as ever, in the same step.
    let damaged = golden("tinyllama", Some(("model.embed_tokens.weight", f32::NAN)));
    let engine = Engine::start(Arc::new(damaged), settings()).unwrap();
    let sound = Engine::start(llama(), settings()).unwrap();
    let ask = |seed| {
        // It must not come upon token 0 by itself.
        Request { stop_tokens: vec![0], stopping: Stopping::Forbidden, ..request(seed, &[5, 6, 7, 8], 10) }
    };
    let expected: Vec<_> = (0..4).map(|i| collect(sound.submit(ask(i)).unwrap()).tokens).collect();
    let streams: Vec<_> = (0..4).map(|i| engine.submit(ask(i)).unwrap()).collect();
    let bad: Vec<_> = (0..2).map(|i| engine.submit(request(i, &[4, 0, 3], 5)).unwrap()).collect();
    for (stream, expected) in streams.into_iter().zip(expected) {
        assert_eq!(collect(stream).tokens, expected);
    }
    for stream in bad {
        let failed = collect(stream).end.unwrap_err().to_string();
        assert!(failed.contains("layer 0"), "{failed}");
    }
}

/// A step that breaks off is its requests' failure, and no hang.
#[test]
fn a_panic_is_told() {
    let mut model = golden("tinyllama", None);
    let Mixer::Attention(attention) = &mut model.description.layers[1].mixer;
    attention.head_dim = 5;
    let engine = Engine::start(Arc::new(model), settings()).unwrap();
    let streams: Vec<_> = (0..3).map(|seed| engine.submit(request(seed, &[1, 2], 3)).unwrap()).collect();
    for stream in streams {
        let failed = collect(stream).end.unwrap_err();
        assert!(matches!(failed, Error::Panic { .. }), "{failed}");
    }
}

#[test]
fn requests_that_cannot_be_are_refused_at_once() {
    let engine = Engine::start(llama(), settings()).unwrap();
    assert!(matches!(engine.submit(request(0, &[], 1)).err(), Some(Error::EmptyPrompt)));
    assert!(engine.submit(request(0, &[1_000_000], 1)).err().unwrap().to_string().contains("1000000"));
    for (change, name) in [
        ((|s: &mut Sampling| s.temperature = -1.0) as fn(&mut Sampling), "temperature"),
        (|s| s.top_p = 1.5, "top_p"),
        (|s| s.min_p = f32::NAN, "min_p"),
        (|s| s.typical = -0.1, "typical"),
        (|s| s.repeat_penalty = 0.0, "repeat_penalty"),
        (|s| s.frequency_penalty = f32::INFINITY, "frequency_penalty"),
        (|s| s.presence_penalty = f32::NAN, "presence_penalty"),
        (|s| s.dry = Dry { multiplier: -1.0, ..Dry::default() }, "dry_multiplier"),
        (|s| s.dry.base = 0.5, "dry_base"),
        (|s| s.logit_bias = vec![(1, f32::NAN)], "logit_bias"),
        (|s| s.logit_bias = vec![(96, 1.0)], "logit_bias"),
    ] {
        let mut ask = request(0, &[1], 1);
        change(&mut ask.sampling);
        let message = engine.submit(ask).err().unwrap().to_string();
        assert!(message.contains(name), "{message}");
    }
    let mut nothing = request(0, &[1], 1);
    nothing.sampling.logit_bias = (0..96).map(|token| (token, f32::NEG_INFINITY)).collect();
    assert!(matches!(collect(engine.submit(nothing).unwrap()).end, Err(Error::NothingToChoose)));
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let model = llama();
    for (change, name) in [
        ((|s: &mut Settings| s.context_length = 0) as fn(&mut Settings), "context_length"),
        (|s| s.step_rows_max = 0, "step_rows_max"),
        (|s| s.sequences_max = 0, "sequences_max"),
    ] {
        let mut settings = settings();
        change(&mut settings);
        let message = Engine::start(Arc::clone(&model), settings).err().unwrap().to_string();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn memory_is_known_before_it_is_used() {
    let settings = Settings { sequences_max: 3, step_rows_max: 512, kept_bytes_max: 77, ..settings() };
    let engine = Engine::start(llama(), settings).unwrap();
    let memory = engine.memory();
    // Two layers of two heads of 8 keys and 16 places for values, 64 positions of 4 bytes.
    assert_eq!(memory.sequence_bytes, 2 * 2 * (8 + 16) * 64 * 4);
    assert_eq!((memory.running_bytes_max, memory.kept_bytes_max), (3 * memory.sequence_bytes, 77));
}
