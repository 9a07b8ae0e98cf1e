//! The loop that both kinds of byte-pair encoding share: always join the best pair, of equals the leftmost.
//!
//! A heap of candidates over a linked list of symbols, so a word of n characters takes O(n log n) however
//! long it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NONE: u32 = u32::MAX;

/// A stretch of the word that is one piece so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) id: Option<u32>,
    prev: u32,
    next: u32,
}

impl Symbol {
    pub(crate) fn new(start: usize, end: usize, id: Option<u32>) -> Self {
        Self { start: start as u32, end: end as u32, id, prev: NONE, next: NONE }
    }

    fn len(&self) -> u32 {
        self.end - self.start
    }
}

/// What two neighbours would become.
pub(crate) struct Join {
    /// Smaller is sooner.
    pub(crate) order: u32,
    pub(crate) id: u32,
}

/// Buffers kept between words.
#[derive(Default)]
pub(crate) struct Workspace {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<Candidate>>,
}

/// Ordered by `order`, then by place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    order: u32,
    left: u32,
    len: u32,
    id: u32,
}

impl Workspace {
    /// Starts a word with these symbols, in order.
    pub(crate) fn start(&mut self, symbols: impl Iterator<Item = Symbol>) {
        self.symbols.clear();
        self.heap.clear();
        self.symbols.extend(symbols);
        let count = self.symbols.len();
        for (i, symbol) in self.symbols.iter_mut().enumerate() {
            symbol.prev = if i == 0 { NONE } else { i as u32 - 1 };
            symbol.next = if i + 1 == count { NONE } else { i as u32 + 1 };
        }
    }

    /// Joins neighbours for as long as `join` knows what they become.
    pub(crate) fn merge(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        for left in 0..self.symbols.len() as u32 {
            self.offer(left, &join);
        }
        while let Some(Reverse(best)) = self.heap.pop() {
            let left = self.symbols[best.left as usize];
            let Some(right) = self.right_of(&left).copied() else { continue };
            // The candidate is stale if either side was joined with something else since.
            let is_stale = left.len() == 0 || left.len() + right.len() != best.len;
            if is_stale || join(&left, &right).is_none_or(|j| j.id != best.id) {
                continue;
            }
            self.take(best, left.next, right);
            self.offer(best.left, &join);
            if left.prev != NONE {
                self.offer(left.prev, &join);
            }
        }
    }

    /// The symbols that are left, in order.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|s| s.len() > 0)
    }

    fn right_of(&self, symbol: &Symbol) -> Option<&Symbol> {
        self.symbols.get(symbol.next as usize)
    }

    fn take(&mut self, best: Candidate, gone: u32, right: Symbol) {
        let left = &mut self.symbols[best.left as usize];
        (left.end, left.next, left.id) = (right.end, right.next, Some(best.id));
        self.symbols[gone as usize].end = right.start;
        if let Some(after) = self.symbols.get_mut(right.next as usize) {
            after.prev = best.left;
        }
    }

    fn offer(&mut self, left: u32, join: &impl Fn(&Symbol, &Symbol) -> Option<Join>) {
        let symbol = &self.symbols[left as usize];
        let Some(right) = self.right_of(symbol) else { return };
        if let Some(Join { order, id }) = join(symbol, right) {
            self.heap.push(Reverse(Candidate { order, left, len: symbol.len() + right.len(), id }));
        }
    }
}
