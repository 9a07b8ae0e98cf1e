//! Answers under a constraint: every token is an allowed one, and forcing, company and guesses change none.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bantam_engine::{
    Allowed, Constraint, Engine, Error, Overflow, PromptOutput, Reason, Request, Settings, Speculation,
};
use common::{Answer, collect, llama, request, settings};

/// Rounds of one token from a few and then as many that must come as the first one says; then token 1 may end it.
#[derive(Clone, Debug)]
struct Rounds {
    committed: Vec<u32>,
    words: [u32; 3],
    rounds: usize,
    forces: bool,
    /// Fails at the token with this number.
    fails_at: usize,
    panics: bool,
    asked: Arc<AtomicUsize>,
}

const END: u32 = 1;

impl Rounds {
    fn new(rounds: usize) -> Self {
        let asked = Arc::default();
        let (words, fails_at) = ([0; 3], usize::MAX);
        Rounds { committed: Vec::new(), words, rounds, forces: true, fails_at, panics: false, asked }
    }

    /// What may come behind some tokens: a single one, a few, or nothing.
    fn next(&self, tokens: &[u32]) -> Vec<u32> {
        let (mut at, mut round) = (0, 0);
        while at < tokens.len() {
            let count = 1 + tokens[at] as usize % 6;
            if at + count > tokens.len() {
                return vec![40 + (tokens[at] + (tokens.len() - at) as u32) % 50];
            }
            (at, round) = (at + count, round + 1);
        }
        match round {
            _ if round >= self.rounds => Vec::new(),
            2.. => [END].into_iter().chain(10..30).collect(),
            _ => (10..30).collect(),
        }
    }
}

impl Constraint for Rounds {
    fn allowed(&mut self) -> Result<Allowed<'_>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.words = [0; 3];
        for id in self.next(&self.committed) {
            self.words[id as usize / 32] |= 1 << (id % 32);
        }
        Ok(Allowed::Set(&self.words))
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        assert!(!self.panics || self.committed.len() < self.fails_at, "a constraint with a bug");
        if self.committed.len() == self.fails_at || !self.next(&self.committed).contains(&token) {
            return Err(Error::Constraint { reason: format!("token {token} was not foreseen") });
        }
        self.committed.push(token);
        Ok(())
    }

    fn forced(&mut self) -> Result<Vec<u32>, Error> {
        let mut tokens = self.committed.clone();
        while self.forces
            && let [only] = self.next(&tokens)[..]
        {
            tokens.push(only);
        }
        Ok(tokens.split_off(self.committed.len()))
    }

    fn is_complete(&self) -> bool {
        self.next(&self.committed).is_empty()
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

fn prompt() -> Vec<u32> {
    [5, 17, 30, 41, 5, 17, 30, 8, 41, 5, 17, 30].to_vec()
}

fn under(constraint: Rounds, ask: Request) -> Request {
    Request { constraint: Some(Box::new(constraint)), stop_tokens: vec![END], ..ask }
}

fn drawn(seed: u64, constraint: Rounds) -> Request {
    under(constraint, request(seed, &prompt(), 40))
}

fn answer(settings: &Settings, ask: Request) -> Answer {
    let engine = Engine::start(llama(), settings.clone()).unwrap();
    collect(engine.submit(ask).unwrap())
}

#[test]
fn every_token_is_an_allowed_one_and_ends_come_where_they_may() {
    let (mut complete, mut stopped) = (0, 0);
    for seed in 0..20 {
        let rounds = Rounds::new(5);
        let asked = Arc::clone(&rounds.asked);
        let answer = answer(&settings(), drawn(seed, rounds.clone()));
        let ids = answer.ids();
        for at in 0..ids.len() {
            assert!(rounds.next(&ids[..at]).contains(&ids[at]), "{ids:?} at {at}");
        }
        let choices = match answer.reason() {
            Reason::Complete => {
                assert!(rounds.next(&ids).is_empty());
                complete += 1;
                0
            }
            Reason::Stop(END) => {
                assert!(rounds.next(&ids).contains(&END));
                stopped += 1;
                1
            }
            reason => panic!("{reason:?} of {ids:?}"),
        };
        let usage = answer.usage();
        assert!(usage.forced_tokens > 0 && usage.generated_tokens == ids.len(), "{usage:?}");
        let chosen = usage.generated_tokens - usage.forced_tokens + choices;
        assert_eq!(asked.load(Ordering::Relaxed), chosen, "forced tokens are not sampled");
    }
    assert!(complete > 2 && stopped > 2, "{complete} and {stopped}: a test of little");
}

#[test]
fn forced_tokens_are_those_that_would_have_been_sampled() {
    for seed in 0..10 {
        let forced = answer(&settings(), drawn(seed, Rounds::new(6)));
        let sampled = answer(&settings(), drawn(seed, Rounds { forces: false, ..Rounds::new(6) }));
        assert_eq!(forced.ids(), sampled.ids());
        assert_eq!(forced.reason(), sampled.reason());
        assert_eq!(sampled.usage().forced_tokens, 0);
    }
}

#[test]
fn company_steps_and_guesses_change_no_token() {
    let expected: Vec<Answer> = (0..6).map(|seed| answer(&settings(), drawn(seed, Rounds::new(6)))).collect();
    for (step_rows_max, speculation) in [
        (128, Speculation::Off),
        (7, Speculation::Off),
        (3, Speculation::Lookup),
        (64, Speculation::Lookup),
        (64, Speculation::Draft(llama())),
        (8, Speculation::Draft(llama())),
    ] {
        let settings = Settings { step_rows_max, speculation, sequences_max: 3, ..settings() };
        let engine = Engine::start(llama(), settings.clone()).unwrap();
        let others: Vec<_> =
            (0..3).map(|seed| engine.submit(request(seed, &prompt(), 30)).unwrap()).collect();
        let streams = (0..6).map(|seed| engine.submit(drawn(seed, Rounds::new(6))).unwrap());
        for (expected, stream) in expected.iter().zip(streams.collect::<Vec<_>>()) {
            let found = collect(stream);
            assert_eq!(found.tokens, expected.tokens, "{settings:?}");
            assert_eq!(found.reason(), expected.reason());
        }
        assert!(others.into_iter().all(|other| collect(other).ids().len() == 30));
    }
}

#[test]
fn limits_hold_within_forced_tokens() {
    let whole = answer(&settings(), drawn(3, Rounds::new(6))).ids();
    for most in 0..whole.len() {
        let ask = Request { max_tokens: Some(most), ..drawn(3, Rounds::new(6)) };
        let cut = answer(&settings(), ask);
        assert_eq!(cut.ids(), whole[..most]);
        assert_eq!(cut.reason(), Reason::Length);
    }
    let short = Settings { context_length: prompt().len() + 4, ..settings() };
    let full = answer(&short, drawn(3, Rounds::new(6)));
    assert_eq!((full.ids(), full.reason()), (whole[..5].to_vec(), Reason::ContextFull));
    let shifting = Request { overflow: Overflow::Shift { keep: 2 }, ..drawn(3, Rounds::new(6)) };
    let ids = answer(&short, shifting).ids();
    assert!(
        ids.len() > 5 && Rounds::new(6).next(&ids).contains(&END) || Rounds::new(6).next(&ids).is_empty()
    );
}

#[test]
fn what_is_told_of_the_prompt_comes_first() {
    let ask = drawn(2, Rounds::new(4));
    let told = Request { prompt_output: PromptOutput::Logprobs, ..ask.clone() };
    let (plain, told) = (answer(&settings(), ask).ids(), answer(&settings(), told).ids());
    assert_eq!(told[..11], prompt()[1..]);
    assert_eq!(told[11..], plain);
}

#[test]
fn a_constraint_that_fails_ends_its_own_request() {
    let expected = answer(&settings(), drawn(1, Rounds::new(6))).tokens;
    let engine = Engine::start(llama(), settings()).unwrap();
    for (fails_at, panics) in [(4, false), (0, false), (3, true), (0, true)] {
        let broken = Rounds { fails_at, panics, ..Rounds::new(6) };
        let broken = engine.submit(drawn(2, broken)).unwrap();
        let sound = engine.submit(drawn(1, Rounds::new(6))).unwrap();
        let (broken, sound) = (collect(broken), collect(sound));
        let is_known = matches!(broken.end, Err(Error::Constraint { .. }) if !panics)
            || matches!(broken.end, Err(Error::Panic { .. }) if panics);
        assert!(is_known, "{:?}", broken.end);
        assert!(broken.ids().len() <= fails_at + 1);
        assert_eq!(sound.tokens, expected);
    }
}
