//! States that sequences share, that make room for each other, and that come back from files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bantam_engine::{Engine, Error, Event, PromptOutput, Reason, Request, Settings, Speculation};
use bantam_model::{KvStorage, Model};
use common::{Answer, collect, golden, llama, request, settings};

/// `count` tokens, other ones for each `seed`.
fn text(seed: u32, count: u32) -> Vec<u32> {
    (0..count).map(|i| (i % 997).pow(2) * 7 + i * (seed + 3) + seed).map(|number| number % 90).collect()
}

fn roomy() -> Settings {
    Settings { context_length: 400, ..settings() }
}

fn fresh(model: &Arc<Model>, settings: &Settings, ask: &Request) -> Answer {
    let alone = Settings { kept_bytes_max: 0, state_bytes_max: usize::MAX, ..settings.clone() };
    let engine = Engine::start(Arc::clone(model), alone).unwrap();
    collect(engine.submit(ask.clone()).unwrap())
}

fn page_bytes(settings: &Settings) -> usize {
    let one = Settings { context_length: 64, ..settings.clone() };
    Engine::start(llama(), one).unwrap().memory().sequence_bytes
}

/// Models whose layers see everything, a window, and either.
fn models() -> [(&'static str, Arc<Model>); 3] {
    ["tinyllama", "mistral", "gemma3"].map(|name| (name, Arc::new(golden(name, None))))
}

#[test]
fn what_others_computed_changes_no_token() {
    for (name, model) in models() {
        for (kv, step_rows_max) in [(KvStorage::F32, 128), (KvStorage::Q8_0, 33), (KvStorage::Q4_0, 128)] {
            let settings = Settings { kv, step_rows_max, ..roomy() };
            let engine = Engine::start(Arc::clone(&model), settings.clone()).unwrap();
            let prompt = text(1, 200);
            let first = collect(engine.submit(request(1, &prompt, 30)).unwrap());
            let conversation = [&prompt[..], &first.ids(), &text(2, 20)].concat();
            // Forks within a page, at its end, behind the last prompt, and a second time at the same place.
            for (seed, length, reused) in
                [(3, 10, 10), (4, 64, 64), (5, 150, 150), (6, 128, 128), (7, 150, 150)]
            {
                let fork = [&prompt[..length], &text(seed, 40)].concat();
                let same = fork.iter().zip(&prompt).take_while(|(a, b)| a == b).count();
                let found = collect(engine.submit(request(u64::from(seed), &fork, 8)).unwrap());
                assert_eq!(found.usage().reused_tokens, reused.max(same), "{name} {kv} at {length}");
                let wanted = fresh(&model, &settings, &request(u64::from(seed), &fork, 8));
                assert_eq!(found.tokens, wanted.tokens, "{name} {kv} at {length}");
            }
            let found = collect(engine.submit(request(9, &conversation, 8)).unwrap());
            assert_eq!(found.usage().reused_tokens, 229, "{name}: all but the last new token");
            assert_eq!(
                found.tokens,
                fresh(&model, &settings, &request(9, &conversation, 8)).tokens,
                "{name}"
            );
        }
    }
}

#[test]
fn requests_that_begin_alike_compute_it_once() {
    for (name, model) in models() {
        let settings = Settings { sequences_max: 32, step_rows_max: 48, ..roomy() };
        let engine = Engine::start(Arc::clone(&model), settings.clone()).unwrap();
        let shared = text(1, 150);
        let ask = |seed: u64| match seed % 4 {
            // Four choices of one prompt among others with the same beginning.
            0 => request(seed, &shared, 12),
            _ => request(seed, &[&shared[..], &text(seed as u32, 9)].concat(), 12),
        };
        let streams: Vec<_> = (0..32).map(|seed| engine.submit(ask(seed)).unwrap()).collect();
        let answers: Vec<Answer> = streams.into_iter().map(collect).collect();
        let computed: usize = answers.iter().map(|a| a.usage().prompt_tokens - a.usage().reused_tokens).sum();
        assert!(computed < 150 + 64 + 31 * (9 + 16), "{name}: {computed} tokens of prompts computed");
        for (seed, answer) in (0..).zip(answers) {
            assert_eq!(answer.tokens, fresh(&model, &settings, &ask(seed)).tokens, "{name}, request {seed}");
        }
    }
}

#[test]
fn states_are_shared_within_a_salt_only() {
    let engine = Engine::start(llama(), roomy()).unwrap();
    let reused = |salt: u64| {
        let ask = Request { salt, ..request(1, &text(1, 100), 2) };
        collect(engine.submit(ask).unwrap()).usage().reused_tokens
    };
    assert_eq!([reused(0), reused(7), reused(8), reused(7), reused(0)], [0, 0, 0, 99, 99]);
}

#[test]
fn what_does_not_fit_waits_and_has_the_same_tokens() {
    for (name, model) in models() {
        for speculation in [Speculation::Off, Speculation::Lookup] {
            // Guesses take part in all of this in one model as in another.
            if matches!(speculation, Speculation::Lookup) && name != "tinyllama" {
                continue;
            }
            let one = Settings { context_length: 400, speculation, ..settings() };
            let page = Engine::start(Arc::clone(&model), Settings { context_length: 64, ..one.clone() });
            let page = page.unwrap().memory().sequence_bytes;
            // One can fill the context, four would like to.
            let settings = Settings { state_bytes_max: 8 * page, ..one };
            let engine = Engine::start(Arc::clone(&model), settings.clone()).unwrap();
            let ask = |seed: u32| request(u64::from(seed), &text(seed, 20 + 15 * seed), 300);
            let streams: Vec<_> = (0..4).map(|seed| engine.submit(ask(seed)).unwrap()).collect();
            for (seed, stream) in (0..).zip(streams) {
                let (found, wanted) = (collect(stream), fresh(&model, &settings, &ask(seed)));
                assert_eq!(found.tokens, wanted.tokens, "{name}, request {seed}");
                assert_eq!(found.reason(), wanted.reason());
            }
            let figures = engine.figures();
            // Where all layers see a window, what lies before it goes first.
            assert!(figures.pauses > 0 || name != "tinyllama", "a test of nothing: {figures:?}");
            assert!(figures.state_bytes_peak <= 8 * page, "{name}: {figures:?} in {}", 8 * page);
        }
    }
}

/// One that is paused in its prompt tells no position twice.
#[test]
fn prompts_are_told_once_though_computed_twice() {
    let settings = Settings { context_length: 256, step_rows_max: 16, ..settings() };
    let page = page_bytes(&settings);
    let settings = Settings { state_bytes_max: 5 * page, ..settings };
    let engine = Engine::start(llama(), settings.clone()).unwrap();
    let early = engine.submit(request(1, &text(1, 60), 150)).unwrap();
    let told = |prompt_output| Request { prompt_output, ..request(2, &text(2, 190), 3) };
    let late = engine.submit(told(PromptOutput::Logprobs)).unwrap();
    let rows = engine.submit(told(PromptOutput::Logits)).unwrap();
    let early = std::thread::spawn(move || collect(early));
    let mut positions = 0;
    for event in rows {
        if let Event::Prompt { first, logits } = event {
            assert_eq!(first, positions);
            positions += logits.len() / 96;
        }
    }
    assert_eq!(positions, 190);
    let late = collect(late);
    assert_eq!(late.tokens, fresh(&llama(), &settings, &told(PromptOutput::Logprobs)).tokens);
    assert_eq!(late.tokens.len(), 189 + 3);
    assert_eq!(early.join().unwrap().tokens.len(), 150);
}

#[test]
fn nothing_is_left_where_nothing_is_kept() {
    let settings = Settings { kept_bytes_max: 0, sequences_max: 4, ..roomy() };
    let engine = Engine::start(llama(), settings).unwrap();
    let streams: Vec<_> =
        (0..9).map(|seed| engine.submit(request(seed, &text(1, 130), 20)).unwrap()).collect();
    for (place, stream) in streams.into_iter().enumerate() {
        if place % 3 == 0 { drop(stream) } else { assert_eq!(collect(stream).tokens.len(), 20) }
    }
    // The next request comes after all cancelled ones have ended, and this task after its last step.
    collect(engine.submit(request(1, &[1], 0)).unwrap());
    assert_eq!(saved(&engine).0, 0);
    let figures = engine.figures();
    assert_eq!((figures.state_bytes, figures.running, figures.waiting), (0, 0, 0));
}

#[test]
fn memory_for_less_than_one_is_refused_with_the_numbers() {
    let settings = Settings { context_length: 128, ..settings() };
    let page = page_bytes(&settings);
    let start = |state_bytes_max| Engine::start(llama(), Settings { state_bytes_max, ..settings.clone() });
    let message = start(3 * page - 1).err().unwrap().to_string();
    assert!(message.contains(&(3 * page).to_string()) && message.contains("128"), "{message}");
    let full = request(1, &text(1, 100), 28);
    let answer = collect(start(3 * page).unwrap().submit(full).unwrap());
    assert_eq!((answer.tokens.len(), answer.reason()), (28, Reason::Length));
}

/// Windows of the pages in the middle go first: an end is worth more than a place where nobody branched off.
#[test]
fn a_window_is_kept_where_a_sequence_ended() {
    let model = Arc::new(golden("gemma3", None));
    let one = Settings { context_length: 64, ..settings() };
    let page = Engine::start(Arc::clone(&model), one).unwrap().memory().sequence_bytes;
    let small = Settings { kept_bytes_max: page * 33 / 10, ..roomy() };
    let engine = Engine::start(Arc::clone(&model), small.clone()).unwrap();
    let prompt = text(1, 300);
    let ask = |length: usize, seed: u64| request(seed, &[&prompt[..length], &[seed as u32]].concat(), 3);
    let reused = |ask: Request| {
        let found = collect(engine.submit(ask.clone()).unwrap());
        assert_eq!(found.tokens, fresh(&model, &small, &ask).tokens);
        assert!(engine.figures().state_bytes <= small.kept_bytes_max, "{:?}", engine.figures());
        found.usage().reused_tokens
    };
    assert_eq!(reused(ask(300, 91)), 0);
    assert!(reused(ask(300, 92)) >= 300);
    assert!(reused(ask(100, 93)) < 100, "nobody had branched off there");
}

/// Each prompt prolongs the one before it, so that what is reused tells who ran before.
#[test]
fn who_asks_much_does_not_hold_up_who_asks_little() {
    let engine = Engine::start(llama(), Settings { sequences_max: 1, ..roomy() }).unwrap();
    let text = text(1, 300);
    let ask = |client: u64, length: usize| Request { client, ..request(1, &text[..length], 1) };
    let first = engine.submit(Request { max_tokens: Some(90), ..ask(1, 20) }).unwrap();
    let many: Vec<_> = [100, 150, 200].map(|length| engine.submit(ask(1, length)).unwrap()).into();
    let other = engine.submit(ask(2, 290)).unwrap();
    assert_eq!(collect(first).tokens.len(), 90);
    assert_eq!(collect(other).usage().reused_tokens, 20, "it came before those that were there before it");
    let reused: Vec<usize> = many.into_iter().map(|one| collect(one).usage().reused_tokens).collect();
    assert_eq!(reused, [99, 149, 199]);
}

/// What was computed of a prompt before it was cancelled is there for the next.
#[test]
fn a_prompt_is_cancelled_between_steps() {
    let settings = Settings { context_length: 50_000, step_rows_max: 64, ..settings() };
    let engine = Engine::start(llama(), settings).unwrap();
    let long = text(1, 40_000);
    let stream = engine.submit(request(1, &long, 5)).unwrap();
    while engine.figures().state_bytes == 0 {
        std::thread::yield_now();
    }
    stream.cancel();
    let answer = collect(stream);
    assert_eq!((answer.reason(), answer.tokens.len()), (Reason::Cancelled, 0));
    let again = collect(engine.submit(request(1, &long[..100], 1)).unwrap());
    assert!(again.usage().reused_tokens >= 64, "{:?}", again.usage());
}

/// A file in memory.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn saved(engine: &Engine) -> (usize, Vec<u8>) {
    let bytes = Bytes::default();
    let tokens = engine.save_states(bytes.clone()).unwrap();
    let bytes = std::mem::take(&mut *bytes.0.lock().unwrap());
    (tokens, bytes)
}

#[test]
fn states_survive_the_engine() {
    for (name, model) in models() {
        for kv in [KvStorage::F16, KvStorage::Q8_0] {
            let settings = Settings { kv, ..roomy() };
            let engine = Engine::start(Arc::clone(&model), settings.clone()).unwrap();
            let prompt = text(1, 150);
            collect(engine.submit(request(1, &prompt, 2)).unwrap());
            let salted = Request { salt: 5, ..request(1, &prompt[..100], 2) };
            collect(engine.submit(salted.clone()).unwrap());
            let (tokens, bytes) = saved(&engine);
            assert_eq!(tokens, 151 + 101);
            drop(engine);
            let engine = Engine::start(Arc::clone(&model), settings.clone()).unwrap();
            assert_eq!(engine.load_states(io::Cursor::new(bytes.clone())).unwrap(), tokens);
            assert_eq!(saved(&engine), (tokens, bytes), "{name}: what is read is what was written");
            for (ask, reused) in [(request(2, &prompt, 20), 149), (salted, 99)] {
                let found = collect(engine.submit(ask.clone()).unwrap());
                assert_eq!(found.usage().reused_tokens, reused, "{name}");
                assert_eq!(found.tokens, fresh(&model, &settings, &ask).tokens, "{name}");
            }
        }
    }
}

#[test]
fn saved_states_are_taken_in_as_far_as_they_may_be_kept() {
    let engine = Engine::start(llama(), roomy()).unwrap();
    collect(engine.submit(request(1, &text(1, 300), 2)).unwrap());
    let (_, bytes) = saved(&engine);
    let page = page_bytes(&roomy());
    let small = Settings { kept_bytes_max: 2 * page, ..roomy() };
    let engine = Engine::start(llama(), small).unwrap();
    assert_eq!(engine.load_states(io::Cursor::new(bytes)).unwrap(), 128);
    assert!(engine.figures().state_bytes <= 2 * page);
}

#[test]
fn states_of_others_and_damaged_ones_are_refused() {
    let engine = Engine::start(llama(), roomy()).unwrap();
    collect(engine.submit(request(1, &text(1, 150), 2)).unwrap());
    let (_, bytes) = saved(&engine);
    let read = |engine: &Engine, bytes: &[u8]| {
        let read = engine.load_states(io::Cursor::new(bytes.to_vec()));
        assert!(matches!(read, Err(Error::Saved { .. })), "{read:?}");
        read.err().unwrap().to_string()
    };
    let other = Engine::start(Arc::new(golden("mistral", None)), roomy()).unwrap();
    assert!(read(&other, &bytes).contains("another model"));
    let damaged = golden("tinyllama", Some(("model.layers.1.mlp.down_proj.weight", 3.0)));
    let other = Engine::start(Arc::new(damaged), roomy()).unwrap();
    assert!(read(&other, &bytes).contains("another model"), "the same shapes and other weights");
    let other = Engine::start(llama(), Settings { kv: KvStorage::F16, ..roomy() }).unwrap();
    assert!(read(&other, &bytes).contains("other settings"));
    let engine = Engine::start(llama(), roomy()).unwrap();
    for place in (0..bytes.len()).step_by(bytes.len() / 97) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 4;
        read(&engine, &flipped);
    }
    for length in (1..bytes.len()).step_by(bytes.len() / 41) {
        // Between two records nothing is missing.
        let _ = engine.load_states(io::Cursor::new(bytes[..length].to_vec()));
    }
    read(&engine, &bytes[..bytes.len() - 1]);
    read(&engine, b"");
    let huge = [&bytes[..16], &u64::MAX.to_le_bytes()].concat();
    read(&engine, &huge);
    assert_eq!(collect(engine.submit(request(1, &text(1, 20), 3)).unwrap()).tokens.len(), 3);
}
