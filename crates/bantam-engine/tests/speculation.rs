//! Guesses change no token: with them and without, to the bit of each log-probability.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;

use bantam_engine::{Engine, Error, Overflow, Request, Sampling, Settings, Speculation};
use bantam_model::KvStorage;

use common::{Answer, collect, golden, llama, request, settings};

/// A text that repeats itself, so that there is something to look up.
fn prompt() -> Vec<u32> {
    [5, 17, 30, 41, 5, 17, 30, 8, 41, 5, 17, 30].to_vec()
}

fn speculations() -> Vec<(&'static str, Speculation)> {
    let damaged = golden("tinyllama", Some(("model.layers.1.mlp.down_proj.weight", 3.0)));
    vec![
        ("lookup", Speculation::Lookup),
        ("the model itself", Speculation::Draft(llama())),
        ("a model that is nearly the same", Speculation::Draft(Arc::new(damaged))),
    ]
}

fn answers(settings: &Settings, requests: &[Request]) -> Vec<Answer> {
    let engine = Engine::start(llama(), settings.clone()).unwrap();
    let streams: Vec<_> = requests.iter().map(|ask| engine.submit(ask.clone()).unwrap()).collect();
    streams.into_iter().map(collect).collect()
}

#[track_caller]
fn assert_same(settings: &Settings, requests: &[Request]) -> usize {
    let plain = answers(settings, requests);
    let mut accepted = 0;
    for (name, speculation) in speculations() {
        let guessing = Settings { speculation, ..settings.clone() };
        for (plain, guessed) in plain.iter().zip(answers(&guessing, requests)) {
            assert_eq!(plain.tokens, guessed.tokens, "{name}");
            assert_eq!(plain.reason(), guessed.reason(), "{name}");
            assert_eq!(plain.usage().generated_tokens, guessed.usage().generated_tokens, "{name}");
            assert_eq!(plain.usage().guessed_tokens, 0);
            let usage = guessed.usage();
            assert!(usage.accepted_tokens <= usage.guessed_tokens, "{usage:?}");
            accepted += usage.accepted_tokens;
        }
    }
    accepted
}

fn greedy(prompt: &[u32], max_tokens: usize) -> Request {
    Request { prompt: prompt.to_vec(), max_tokens: Some(max_tokens), ..Request::default() }
}

#[test]
fn guesses_change_no_token() {
    for kv in [KvStorage::F32, KvStorage::Q8_0] {
        let settings = Settings { kv, ..settings() };
        let accepted = assert_same(&settings, &[greedy(&prompt(), 50)]);
        assert!(accepted > 20, "{accepted} guesses were right: a test of nothing");
        for seed in 0..5 {
            assert_same(&settings, &[request(seed, &prompt(), 50)]);
        }
    }
}

#[test]
fn a_model_guesses_itself_even_where_tokens_are_drawn() {
    let settings = Settings { speculation: Speculation::Draft(llama()), ..settings() };
    let answer = &answers(&settings, &[request(3, &prompt(), 40)])[0];
    let usage = answer.usage();
    assert!(usage.guessed_tokens > 20 && usage.accepted_tokens == usage.guessed_tokens, "{usage:?}");
}

#[test]
fn penalties_see_the_same_history() {
    let mut ask = greedy(&prompt(), 40);
    ask.sampling = Sampling { presence_penalty: 0.7, repeat_penalty: 1.3, ..Sampling::default() };
    ask.sampling.dry.multiplier = 0.8;
    assert_same(&settings(), &[ask]);
}

#[test]
fn ends_are_where_they_were() {
    let plain = &answers(&settings(), &[greedy(&prompt(), 40)])[0];
    for place in [1, 5, 6, 20] {
        let mut ask = greedy(&prompt(), 40);
        ask.stop_tokens = vec![plain.ids()[place]];
        assert_same(&settings(), &[ask]);
        assert_same(&settings(), &[greedy(&prompt(), place)]);
    }
    // As far as the context goes, and further.
    for overflow in [Overflow::Stop, Overflow::Shift { keep: 4 }] {
        assert_same(&settings(), &[Request { overflow, ..greedy(&prompt(), 150) }]);
    }
}

#[test]
fn others_in_the_batch_and_narrow_steps_change_nothing() {
    for step_rows_max in [4, 6, 64] {
        let settings = Settings { step_rows_max, ..settings() };
        let requests = [
            greedy(&prompt(), 30),
            request(1, &prompt(), 30),
            greedy(&prompt()[2..], 30),
            request(2, &prompt()[1..], 30),
        ];
        assert_same(&settings, &requests);
    }
}

#[test]
fn states_left_behind_hold_no_wrong_guess() {
    let settings = Settings { speculation: Speculation::Lookup, ..settings() };
    let engine = Engine::start(llama(), settings.clone()).unwrap();
    let first = collect(engine.submit(greedy(&prompt(), 20)).unwrap());
    let longer = [prompt(), first.ids(), vec![3, 4]].concat();
    let again = collect(engine.submit(greedy(&longer, 10)).unwrap());
    assert!(again.usage().reused_tokens >= longer.len() - 4, "{:?}", again.usage());
    let fresh = Settings { kept_bytes_max: 0, speculation: Speculation::Off, ..settings };
    assert_eq!(again.tokens, answers(&fresh, &[greedy(&longer, 10)])[0].tokens);
}

#[test]
fn a_draft_with_other_tokens_is_refused() {
    let mut other = golden("tinyllama", None);
    other.description.vocab_size += 1;
    let speculation = Speculation::Draft(Arc::new(other));
    let started = Engine::start(llama(), Settings { speculation, ..settings() });
    assert!(matches!(started.err(), Some(Error::OtherVocabulary { found: 97, wanted: 96 })));
}
