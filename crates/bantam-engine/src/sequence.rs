//! A request on its way: its tokens, its state, and what is to be computed next.

use std::sync::Arc;

use bantam_model::{Adapter, Machine, PAGE, State, Want};

use crate::pooling::Pool;
use crate::request::{Event, Overflow, PromptOutput, Reason, Request, Stopping, Usage};
use crate::sampling::{Sampler, logprobs};
use crate::settings::Settings;
use crate::speculation::{Guessing, Speculator};
use crate::stream::Outlet;
use crate::tree::{Key, NodeId, Tree, common};
use crate::{Allowed, Constraint, Error};

/// A running sequence.
pub(crate) struct Sequence {
    /// Prompt and answer so far, behind as many places as the adapter's prefix takes.
    pub(crate) tokens: Vec<u32>,
    /// How many these are. No token stands there.
    ahead: usize,
    pub(crate) state: State,
    /// Its place in the order of arrival.
    pub(crate) number: u64,
    request: Request,
    key: Key,
    /// The last of its pages that is in the tree, and how many are.
    placed: (Option<NodeId>, usize),
    /// Whether it has run.
    pub(crate) has_begun: bool,
    /// Positions of the prompt that were told.
    told: usize,
    sampler: Sampler,
    constraint: Option<Box<dyn Constraint>>,
    /// What may follow the newest token.
    guesses: Vec<u32>,
    guessing: Guessing,
    pool: Pool,
    usage: Usage,
    pub(crate) outlet: Outlet,
}

/// What a sequence has in a step.
pub(crate) struct Rows {
    /// Guesses among them.
    pub(crate) count: usize,
    pub(crate) want: Want,
}

/// What a step still has room for.
pub(crate) struct Room {
    pub(crate) rows: usize,
    /// Rows of prompts of which all logits are wanted.
    pub(crate) wanted: usize,
}

impl Rows {
    /// How many of them give logits, or hidden states.
    pub(crate) fn wanted(&self) -> usize {
        match self.want {
            Want::Nothing => 0,
            Want::Last => 1,
            Want::All | Want::Hidden => self.count,
        }
    }
}

impl Sequence {
    /// One with an empty state.
    pub(crate) fn new(mut request: Request, state: State, number: u64, outlet: Outlet) -> Self {
        let usage = Usage { prompt_tokens: request.prompt.len(), ..Usage::default() };
        let ahead = request.adapter.as_ref().map_or(0, |adapter| adapter.virtual_tokens());
        request.prompt.splice(..0, std::iter::repeat_n(0, ahead));
        let tokens = request.prompt.clone();
        let mut sampling = request.sampling.clone();
        if request.stopping == Stopping::Forbidden {
            sampling.logit_bias.extend(request.stop_tokens.iter().map(|token| (*token, f32::NEG_INFINITY)));
        }
        Sequence {
            tokens,
            ahead,
            state,
            number,
            constraint: request.constraint.take(),
            key: Key { adapter: request.adapter.clone(), salt: request.salt },
            request,
            placed: (None, 0),
            has_begun: false,
            told: 0,
            sampler: Sampler::new(sampling),
            guesses: Vec::new(),
            guessing: Guessing::new(),
            pool: Pool::default(),
            usage,
            outlet,
        }
    }

    /// Who asks.
    pub(crate) fn client(&self) -> u64 {
        self.request.client
    }

    /// Whether it may go on from what others computed, and leaves its own to them.
    fn shares(&self) -> bool {
        self.request.prompt_output == PromptOutput::None
    }

    /// Begins, or goes on after a pause: with what the tree has of its tokens. At least the last one is left to compute,
    /// since its logits are needed.
    pub(crate) fn begin(&mut self, tree: &mut Tree) {
        if self.shares() {
            tree.resume(&self.key, &self.tokens[..self.tokens.len() - 1], &mut self.state);
        }
        self.put_prefix();
        if !self.has_begun {
            self.usage.reused_tokens = self.state.length() - self.ahead;
        }
    }

    /// Sees that the state has all of the adapter's prefix.
    fn put_prefix(&mut self) {
        let prefix = self.request.adapter.as_ref().and_then(|adapter| adapter.prefix.as_ref());
        if let Some(prefix) = prefix.filter(|_| self.state.length() < self.ahead) {
            self.state.begin(prefix);
        }
    }

    /// Gives its pages back; what is in the tree may be there still when it begins again.
    pub(crate) fn pause(&mut self) {
        self.state.truncate(0);
        self.placed = (None, 0);
        self.guesses.clear();
        self.guessing.truncate(0);
        self.pool = Pool::default();
    }

    /// Puts its full pages into the tree.
    pub(crate) fn share(&mut self, tree: &mut Tree) {
        let full = self.state.length() / PAGE;
        if self.shares() {
            if self.placed.1 > full {
                self.placed = (None, 0);
            }
            while self.placed.1 < full {
                self.place(tree);
            }
        }
        self.state.forget_unseen();
    }

    /// Puts its last page there too, as far as it is filled.
    pub(crate) fn share_all(&mut self, tree: &mut Tree) {
        self.share(tree);
        let rest = &self.tokens[self.state.length() / PAGE * PAGE..self.state.length()];
        if self.shares() && !rest.is_empty() {
            tree.insert(&self.key, self.placed.0, rest, &self.state.chunk(self.state.length() / PAGE));
        }
    }

    /// Puts the next full page there.
    fn place(&mut self, tree: &mut Tree) {
        let (node, index) = self.placed;
        let tokens = &self.tokens[index * PAGE..][..PAGE];
        match tree.insert(&self.key, node, tokens, &self.state.chunk(index)) {
            Some(id) => {
                self.state.adopt(index, tree.chunk(id));
                self.placed = (Some(id), index + 1);
            }
            // What was before it has gone: once more from the root.
            None => self.placed = (None, 0),
        }
    }

    /// Whether it does well to wait until another one has computed more of what both begin with.
    pub(crate) fn is_behind(&self, other: &Sequence) -> bool {
        let alike = self.shares() && other.shares() && other.is_in_prompt() && self.key == other.key;
        let left = self.request.prompt.len().min(other.request.prompt.len());
        alike
            && other.state.length() + WAIT_WORTH < left
            && other.state.length() + WAIT_WORTH < common(&self.request.prompt, &other.request.prompt)
    }

    /// Whether it begins with more than the full pages of another one.
    pub(crate) fn wants_tail_of(&self, other: &Sequence) -> bool {
        self.shares() && self.key == other.key && common(&self.tokens, &other.tokens) > other.placed.1 * PAGE
    }

    /// Whether it has no new token yet.
    pub(crate) fn is_in_prompt(&self) -> bool {
        self.usage.generated_tokens == 0
    }

    /// Whether only the newest token is still to be computed.
    pub(crate) fn is_decoding(&self) -> bool {
        self.usage.generated_tokens > 0 && self.pending() == 1
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.outlet.is_cancelled()
    }

    /// Tokens that are not computed.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.state.length()
    }

    /// Has what may follow its newest token guessed, for a step that has `rows` rows and room for `room` more; how many
    /// guesses there are.
    pub(crate) fn guess(
        &mut self,
        speculator: &mut Speculator,
        machine: &Machine,
        settings: &Settings,
        (rows, room): (usize, usize),
    ) -> usize {
        // The newest token's own successor comes without a guess, and must have a place too.
        let in_context = self.state.length_max() - self.tokens.len();
        let wanted =
            self.request.max_tokens.map_or(usize::MAX, |most| most - self.usage.generated_tokens - 1);
        let most = room.min(in_context).min(wanted);
        let (at, of) = ((&self.tokens[self.ahead..], &self.sampler), &mut self.guessing);
        // A smaller model that fails guesses nothing.
        self.guesses = speculator.guess(machine, settings, of, at, (rows, most)).unwrap_or_default();
        self.guesses.len()
    }

    /// The tokens of its rows in a step.
    pub(crate) fn input(&self, rows: &Rows) -> Vec<u32> {
        let pending = self.tokens[self.state.length()..].iter().chain(&self.guesses);
        pending.take(rows.count).copied().collect()
    }

    /// What it puts into a step; none if there is no room, or its reader is behind.
    pub(crate) fn rows(&self, room: &mut Room) -> Option<Rows> {
        let output = if self.is_in_prompt() { self.request.prompt_output } else { PromptOutput::None };
        let wants_all = matches!(output, PromptOutput::Logprobs | PromptOutput::Logits);
        let most = if wants_all { room.rows.min(room.wanted) } else { room.rows };
        let count = (self.pending() + self.guesses.len()).min(most);
        if count == 0 || self.outlet.is_full() {
            return None;
        }
        let want = match output {
            PromptOutput::Pooled(_) => Want::Hidden,
            _ if wants_all || !self.guesses.is_empty() => Want::All,
            _ if count >= self.pending() => Want::Last,
            _ => Want::Nothing,
        };
        room.rows -= count;
        room.wanted -= if wants_all { count } else { 0 };
        Some(Rows { count, want })
    }

    /// Takes the logits of its rows of a step, or their hidden states, of so many numbers each; the reason if the
    /// sequence has ended.
    pub(crate) fn take(
        &mut self,
        rows: &Rows,
        outputs: &[f32],
        width: usize,
    ) -> Result<Option<Reason>, Error> {
        if let PromptOutput::Pooled(pooling) = self.request.prompt_output {
            self.pool.take(pooling, outputs, width);
            let is_whole = self.tokens.len() == self.state.length();
            return Ok(is_whole.then(|| {
                self.outlet.send(Event::Pooled(self.pool.finish(pooling)));
                Reason::Length
            }));
        }
        let (logits, vocab_size) = (outputs, width);
        if rows.want == Want::All && self.usage.generated_tokens == 0 {
            self.tell_prompt(rows, logits, vocab_size);
        }
        if self.tokens.len() > self.state.length() || rows.want == Want::Nothing {
            return Ok(None);
        }
        if self.request.max_tokens == Some(0) {
            return Ok(Some(Reason::Length));
        }
        self.choose_all(logits, vocab_size)
    }

    /// Chooses behind the newest token, and behind each guess as long as they turn out right.
    fn choose_all(&mut self, logits: &[f32], vocab_size: usize) -> Result<Option<Reason>, Error> {
        let guesses = std::mem::take(&mut self.guesses);
        let length = self.tokens.len();
        if self.is_in_prompt() {
            let ended = self.force()?;
            if ended.is_some() || self.tokens.len() > length {
                return Ok(ended);
            }
        }
        let first = logits.len() / vocab_size - 1 - guesses.len();
        let mut ended = None;
        let mut right = 0;
        for row in logits.chunks_exact(vocab_size).skip(first) {
            ended = self.choose(row)?;
            let is_right =
                guesses.get(right).is_some_and(|guess| self.tokens.get(length + right) == Some(guess));
            right += usize::from(is_right);
            if ended.is_some() || !is_right {
                break;
            }
        }
        if !guesses.is_empty() {
            self.usage.guessed_tokens += guesses.len();
            self.usage.accepted_tokens += right;
            // What was computed for wrong guesses, and for the newest token if it is a right one.
            self.state.truncate(length + right);
            self.guessing.note(guesses.len(), right, length + right - self.ahead);
        }
        if ended.is_some() { Ok(ended) } else { self.force() }
    }

    fn tell_prompt(&mut self, rows: &Rows, logits: &[f32], vocab_size: usize) {
        // After a pause, some is computed for the second time.
        let first = (self.state.length() - rows.count).max(self.told);
        let again = first + rows.count - self.state.length();
        let logits = &logits[(again * vocab_size).min(logits.len())..];
        self.told = self.told.max(self.state.length());
        if logits.is_empty() {
            return;
        }
        if self.request.prompt_output == PromptOutput::Logits {
            self.outlet.send(Event::Prompt { first: first - self.ahead, logits: logits.to_vec() });
            return;
        }
        // The last row of the prompt has no token after it yet.
        for (row, id) in logits.chunks_exact(vocab_size).zip(&self.tokens[first + 1..]) {
            let (logprob, top) = logprobs::of(row, *id, self.request.top_logprobs.unwrap_or(0));
            self.outlet.send(Event::Token { id: *id, logprob: Some(logprob), top });
        }
    }

    fn choose(&mut self, logits: &[f32]) -> Result<Option<Reason>, Error> {
        let allowed = match &mut self.constraint {
            Some(constraint) => constraint.allowed()?,
            None => Allowed::All,
        };
        let id = self.sampler.choose_among(logits, allowed, &self.tokens[self.ahead..])?;
        if self.request.stop_tokens.contains(&id) {
            return Ok(Some(Reason::Stop(id)));
        }
        let Some(id) = self.in_time(id)? else { return Ok(Some(Reason::Length)) };
        let told = self.request.top_logprobs.map(|count| logprobs::of(logits, id, count));
        let (logprob, top) = told.unzip();
        self.append(Event::Token { id, logprob, top: top.unwrap_or_default() }, id)
    }

    /// What comes where a token was chosen: where its answer must still be met, perhaps another one, or nothing.
    fn in_time(&mut self, id: u32) -> Result<Option<u32>, Error> {
        match (self.left(), &mut self.constraint) {
            (Some(left), Some(constraint)) => constraint.in_time(id, left),
            _ => Ok(Some(id)),
        }
    }

    /// How many tokens may still come, where a limit of the answer or of the context says so.
    fn left(&self) -> Option<usize> {
        let in_answer = self.request.max_tokens.map(|most| most.saturating_sub(self.usage.generated_tokens));
        // The last one need not have a place, since nothing is computed behind it.
        let in_context = (self.state.length_max() + 1).saturating_sub(self.tokens.len());
        let in_context = (self.request.overflow == Overflow::Stop).then_some(in_context);
        in_answer.into_iter().chain(in_context).min()
    }

    /// Appends the tokens that must come next. The next step reads them together with the newest token.
    fn force(&mut self) -> Result<Option<Reason>, Error> {
        let forced = self.constraint.as_mut().map(|constraint| constraint.forced()).transpose()?;
        for id in forced.unwrap_or_default() {
            if self.request.stop_tokens.contains(&id) {
                return Ok(Some(Reason::Stop(id)));
            }
            self.usage.forced_tokens += 1;
            let ended = self.append(Event::Token { id, logprob: Some(0.0), top: Vec::new() }, id)?;
            if ended.is_some() {
                return Ok(ended);
            }
        }
        Ok(None)
    }

    /// Makes a token the newest one, and tells it; the reason if the sequence has ended.
    fn append(&mut self, event: Event, id: u32) -> Result<Option<Reason>, Error> {
        self.tokens.push(id);
        self.usage.generated_tokens += 1;
        self.outlet.send(event);
        if let Some(constraint) = &mut self.constraint {
            constraint.commit(id)?;
            if constraint.is_complete() {
                return Ok(Some(Reason::Complete));
            }
        }
        if Some(self.usage.generated_tokens) == self.request.max_tokens {
            return Ok(Some(Reason::Length));
        }
        Ok(self.make_room())
    }

    /// Sees that the newest token has a place in the context.
    fn make_room(&mut self) -> Option<Reason> {
        let context = self.state.length_max();
        if self.tokens.len() <= context {
            return None;
        }
        let Overflow::Shift { keep } = self.request.overflow else { return Some(Reason::ContextFull) };
        let keep = self.ahead + keep.min((context - self.ahead) / 2);
        let dropped = ((self.tokens.len() - keep) / 2).max(1);
        self.tokens.drain(keep..keep + dropped);
        // Keys know their old positions: everything behind what stays is read again.
        self.state.truncate(keep);
        self.put_prefix();
        self.guessing.truncate(keep - self.ahead);
        self.outlet.send(Event::Shifted { dropped });
        None
    }

    /// What changes the model for it.
    pub(crate) fn adapter(&self) -> Option<&Arc<Adapter>> {
        self.request.adapter.as_ref()
    }

    /// Tells the end.
    pub(crate) fn end(self, reason: Reason) {
        let is_cut = self.constraint.as_ref().is_some_and(|constraint| constraint.is_cut_short());
        let reason = match reason {
            Reason::Complete | Reason::Stop(_) if is_cut => Reason::Length,
            reason => reason,
        };
        self.outlet.send(Event::Done { reason, usage: self.usage });
    }

    pub(crate) fn fail(self, error: Error) {
        self.outlet.send(Event::Failed(error));
    }
}

/// Fewer tokens that another one is about to compute are not worth waiting for.
const WAIT_WORTH: usize = 16;
