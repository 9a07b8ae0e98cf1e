//! Thinking that takes no more than its budget.

use bantam_engine::{Allowed, Constraint, Error};
use bantam_text::{Parser, Shown, Special, Stage, TextStream, Tokenizer};

/// Ends thinking that takes more than its budget: what ends it is forced. What else holds for the answer goes on
/// holding.
pub struct ThinkingBudget {
    tokenizer: Tokenizer,
    /// Tells where it is.
    parser: Parser,
    text: TextStream,
    /// Tokens that it may still think.
    left: usize,
    has_ended: bool,
    /// What must come now, the last first.
    forced: Vec<u32>,
    /// The bit of what must come now.
    words: Vec<u32>,
    inner: Option<Box<dyn Constraint>>,
}

impl ThinkingBudget {
    /// For an answer that is about to begin, whose thinking `parser` tells; it may take `budget` tokens. `inner` holds
    /// for the answer, too.
    pub fn new(
        parser: Parser,
        tokenizer: &Tokenizer,
        budget: usize,
        inner: Option<Box<dyn Constraint>>,
    ) -> Self {
        let mut budget = ThinkingBudget {
            tokenizer: tokenizer.clone(),
            parser,
            text: tokenizer.stream(Shown::All).continuing(),
            left: budget,
            has_ended: false,
            forced: Vec::new(),
            words: Vec::new(),
            inner,
        };
        budget.end_if_spent();
        budget
    }

    fn end_if_spent(&mut self) {
        let is_spent = self.left == 0 && !self.has_ended;
        let Some(close) = self.parser.thinking_close().filter(|_| is_spent) else { return };
        self.has_ended = true;
        // White space behind the mark would have to suit what else holds.
        let behind = if self.inner.is_some() { "" } else { "\n\n" };
        let text = format!("\n{close}{behind}");
        self.forced = self.tokenizer.to_ids(&text, Special::Parse).unwrap_or_default();
        self.forced.reverse();
    }
}

impl Constraint for ThinkingBudget {
    fn allowed(&mut self) -> Result<Allowed<'_>, Error> {
        if let Some(&id) = self.forced.last() {
            self.words.clear();
            self.words.resize(id as usize / 32, 0);
            self.words.push(1 << (id % 32));
            return Ok(Allowed::Set(&self.words));
        }
        match &mut self.inner {
            Some(inner) => inner.allowed(),
            None => Ok(Allowed::All),
        }
    }

    fn commit(&mut self, token: u32) -> Result<(), Error> {
        if let Some(inner) = &mut self.inner {
            inner.commit(token)?;
        }
        self.forced.pop();
        if self.parser.stage() == Stage::Thinking {
            self.left = self.left.saturating_sub(1);
        }
        let text = self.text.push(token);
        self.parser.push(&text);
        self.end_if_spent();
        Ok(())
    }

    fn forced(&mut self) -> Result<Vec<u32>, Error> {
        if !self.forced.is_empty() {
            return Ok(self.forced.iter().rev().copied().collect());
        }
        self.inner.as_mut().map_or(Ok(Vec::new()), |inner| inner.forced())
    }

    fn is_complete(&self) -> bool {
        self.forced.is_empty() && self.inner.as_ref().is_some_and(|inner| inner.is_complete())
    }

    fn in_time(&mut self, token: u32, left: usize) -> Result<Option<u32>, Error> {
        match &mut self.inner {
            Some(inner) if self.forced.is_empty() => inner.in_time(token, left),
            _ => Ok(Some(token)),
        }
    }

    fn is_cut_short(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_cut_short())
    }

    fn fork(&self) -> Box<dyn Constraint> {
        Box::new(ThinkingBudget {
            tokenizer: self.tokenizer.clone(),
            parser: self.parser.clone(),
            text: self.text.clone(),
            left: self.left,
            has_ended: self.has_ended,
            forced: self.forced.clone(),
            words: Vec::new(),
            inner: self.inner.clone(),
        })
    }
}

impl std::fmt::Debug for ThinkingBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThinkingBudget")
            .field("left", &self.left)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
