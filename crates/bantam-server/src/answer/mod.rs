//! Answers on their way: from what is asked, through the queue and the engine, to pieces in their order.
//!
//! Who drops [`Answers`] ends everything behind it: waiting for a turn, and the engine's work, before its next step.

mod choice;
mod timed;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_engine::{Request, Usage};
use bantam_grammar::Grammar;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::ask::{Ask, Prepared, check_sampling};
use crate::deadline;
use crate::fault::Fault;
use crate::fault::broken;
use crate::models::Model;
use crate::notes;
use crate::queue::Permit;
use crate::served::Running;
use crate::structure::Format;
use timed::Timed;

pub(crate) use choice::{CallPiece, Choice, Chunk, Ended, Piece, Summary, Token};

/// Answers on their way, numbered by prompt, then by choice.
pub(crate) struct Answers {
    pieces: UnboundedReceiver<(usize, Piece)>,
    /// Tokens of each prompt.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// Answers in all.
    pub(crate) count: usize,
    left: usize,
    work: JoinSet<()>,
}

/// All of one answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    pub(crate) prompt: Vec<Token>,
    /// What the prompt was pooled to.
    pub(crate) vector: Vec<f32>,
    pub(crate) thinking: String,
    pub(crate) text: String,
    pub(crate) calls: Vec<Called>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) summary: Summary,
}

/// A call that is complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Called {
    pub(crate) id: String,
    pub(crate) name: String,
    /// A JSON object.
    pub(crate) arguments: String,
}

impl Whole {
    fn call(&mut self, piece: CallPiece) {
        match piece {
            CallPiece::Begin { id, name } => self.calls.push(Called { id, name, arguments: String::new() }),
            CallPiece::Arguments(more) => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments.push_str(&more);
                }
            }
            CallPiece::End => {}
        }
    }
}

type Pieces = UnboundedSender<(usize, Piece)>;

impl Answers {
    /// Begins to answer.
    ///
    /// # Errors
    ///
    /// What is wrong with what is asked; a queue that is full.
    pub(crate) async fn begin(model: Arc<Model>, ask: Ask) -> Result<Self, Fault> {
        let begun = Instant::now();
        let place = model.queue.enter()?;
        check_sampling(&ask.sampling, &model.served)?;
        let (ask, prepared, grammar) = prepare(&model, ask.completed(&model.served)).await?;
        notes::tell(prepared.iter().flat_map(|prompt| prompt.notes.iter().cloned()));
        if let (Some(limit), Some(first)) = (ask.time_max, prepared.first()) {
            deadline::admit(limit, model.wait(), first.ids.len(), &model.counters.pace)?;
        }
        let until = ask.time_max.and_then(|limit| begun.checked_add(limit));
        let mut jobs = Vec::with_capacity(prepared.len() * ask.choices);
        for prompt in &prepared {
            for number in 0..ask.choices {
                let mut request = ask.request(prompt, number, &model.served);
                request.adapter.clone_from(&model.adapter);
                request.constraint = prompt
                    .constraint
                    .clone()
                    .map(|constraint| Box::new(Timed::new(constraint, Arc::clone(&model.counters))) as _);
                jobs.push((request, Choice::new(&ask, prompt, &model.served, grammar.clone())));
            }
        }
        let (out, pieces) = unbounded_channel();
        let count = jobs.len();
        let mut work = JoinSet::new();
        work.spawn(run(model, place, jobs, out, until));
        let prompts = prepared.into_iter().map(|prompt| prompt.ids).collect();
        Ok(Answers { pieces, prompts, count, left: count, work })
    }

    /// The next piece and the number of its answer; `None` when all answers have ended.
    pub(crate) async fn next(&mut self) -> Option<(usize, Piece)> {
        if self.left == 0 {
            return None;
        }
        let Some(piece) = self.pieces.recv().await else {
            self.left = 0;
            return Some((0, Piece::Failed(broken("an answer broke off"))));
        };
        self.left -= usize::from(matches!(piece.1, Piece::Done(_) | Piece::Failed(_)));
        if self.left == 0 {
            // Who has read the end finds the model let go.
            while self.work.join_next().await.is_some() {}
        }
        Some(piece)
    }

    /// All answers, when they are all there.
    ///
    /// # Errors
    ///
    /// The first failure of one of them.
    pub(crate) async fn collect(mut self) -> Result<Vec<Whole>, Fault> {
        let mut all = vec![Whole::default(); self.count];
        while let Some((number, piece)) = self.next().await {
            let whole = &mut all[number];
            match piece {
                Piece::Prompt(tokens) => whole.prompt = tokens,
                Piece::Vector(vector) => whole.vector = vector,
                Piece::Chunk(chunk) => {
                    whole.thinking.push_str(&chunk.thinking);
                    whole.text.push_str(&chunk.text);
                    whole.tokens.extend(chunk.tokens);
                }
                Piece::Call(_, piece) => whole.call(piece),
                Piece::Done(summary) => whole.summary = summary,
                Piece::Failed(fault) => return Err(fault),
            }
        }
        Ok(all)
    }
}

/// Tokens for the prompts, and what the answers are held to, made where that holds up nobody.
pub(crate) async fn prepare(
    model: &Arc<Model>,
    ask: Ask,
) -> Result<(Ask, Vec<Prepared>, Option<Grammar>), Fault> {
    let model = Arc::clone(model);
    let work = move || {
        let compile =
            |format: &Format| model.vocabulary.compile(&format.spec).map_err(|error| format.refusal(&error));
        let grammar = ask.format.as_ref().map(compile).transpose()?;
        let format = ask.format.as_ref().zip(grammar.as_ref());
        let prepared = ask.prompts.iter().map(|prompt| prompt.prepare(&model, format));
        let prepared = prepared.collect::<Result<_, _>>()?;
        Ok((ask, prepared, grammar))
    };
    spawn_blocking(work).await.map_err(|_| broken("reading the prompt broke off"))?
}

/// Runs answers, each when it is its turn, and waits for them.
async fn run(
    model: Arc<Model>,
    _place: Permit,
    jobs: Vec<(Request, Choice)>,
    pieces: Pieces,
    until: Option<Instant>,
) {
    let (mut work, mut clocks) = (JoinSet::new(), JoinSet::new());
    let mut guards = Vec::with_capacity(jobs.len());
    for (number, (request, mut choice)) in jobs.into_iter().enumerate() {
        let out = Out { number, pieces: pieces.clone(), model: Arc::clone(&model) };
        let Some(turn) = turn_until(&model, until).await else {
            out.send(choice.end_unbegun());
            continue;
        };
        let Ok(turn) = turn else { return };
        choice.begin();
        match model.served.generator.submit(request) {
            Ok(Running { events, cancel }) => {
                let cancel = Arc::new(Cancel(cancel));
                guards.push(Guard(Arc::clone(&cancel)));
                if let Some(until) = until {
                    clocks.spawn(expire(until, choice.expired(), Arc::clone(&cancel)));
                }
                work.spawn_blocking(move || follow(events, &cancel, choice, &out, turn));
            }
            Err(error) => out.send(Piece::Failed(error.into())),
        }
    }
    while work.join_next().await.is_some() {}
}

/// A turn, or nothing if it does not come in time.
async fn turn_until(model: &Model, until: Option<Instant>) -> Option<Result<Permit, Fault>> {
    match until {
        None => Some(model.queue.turn().await),
        Some(until) => timeout_at(until, model.queue.turn()).await.ok(),
    }
}

/// Ends an answer when its time is over.
async fn expire(until: Instant, expired: Arc<AtomicBool>, cancel: Arc<Cancel>) {
    sleep_until(until).await;
    expired.store(true, Ordering::Relaxed);
    (cancel.0)();
}

/// Follows one answer to its end. A panic is the end of this answer alone.
fn follow(
    events: Box<dyn Iterator<Item = bantam_engine::Event> + Send>,
    cancel: &Cancel,
    mut choice: Choice,
    out: &Out,
    turn: Permit,
) {
    let followed = catch_unwind(AssertUnwindSafe(|| {
        for event in events {
            choice.take(event).into_iter().for_each(|piece| out.send(piece));
            if choice.is_over() {
                (cancel.0)();
            }
        }
    }));
    drop(turn);
    if followed.is_err() {
        out.send(Piece::Failed(broken("an answer broke off")));
    }
}

/// Where the pieces of one answer go.
struct Out {
    number: usize,
    pieces: Pieces,
    model: Arc<Model>,
}

impl Out {
    fn send(&self, piece: Piece) {
        let counters = &self.model.counters;
        match &piece {
            Piece::Done(Summary { ended, usage, timings, .. }) => {
                let first_token = timings.queued + timings.prefill;
                let is_cut = matches!(ended, Ended::Length | Ended::Expired);
                counters.pace.note(usage.prompt_tokens, timings.prefill);
                counters.done(usage, is_cut, first_token, first_token + timings.decode);
            }
            Piece::Failed(_) => counters.failed.add(1),
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Chunk(_) | Piece::Call(..) => {}
        }
        // Where nobody reads on the answers were dropped, which cancels.
        let _ = self.pieces.send((self.number, piece));
    }
}

struct Cancel(Box<dyn Fn() + Send + Sync>);

/// Cancels when it is dropped; what has ended takes no harm.
struct Guard(Arc<Cancel>);

impl Drop for Guard {
    fn drop(&mut self) {
        (self.0.0)();
    }
}

/// Usage of several answers to the same prompts: each prompt counts once.
pub(crate) fn total(usages: impl IntoIterator<Item = Usage>, choices: usize) -> Usage {
    let mut total = Usage::default();
    for (number, usage) in usages.into_iter().enumerate() {
        if number.is_multiple_of(choices) {
            total.prompt_tokens += usage.prompt_tokens;
            total.reused_tokens += usage.reused_tokens;
        }
        total.generated_tokens += usage.generated_tokens;
    }
    total
}
