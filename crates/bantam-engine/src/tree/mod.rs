//! What sequences have computed, for those that begin alike: a tree over pages.
//!
//! A node stands for the tokens from the root to it, and holds the pages of the last of them: as many as a page has, or
//! fewer where a sequence has ended. Running sequences share the pages of their nodes, and what a sequence computes is
//! in the tree as soon as a page is full. What no state shares may go, least recently used first.
//!
//! All states of an engine are made for the same greatest length, so that rotary angles that depend on it are the same
//! in all of them: pages stand for their tokens, their adapter and their salt, whoever computed them.

mod evict;
mod saved;

use std::collections::BTreeSet;
use std::sync::Arc;

use bantam_model::{Adapter, Chunk, Model, PAGE, State};

pub(crate) use saved::fingerprint;

/// What states are shared within: none is shared with other adapters or salts.
#[derive(Clone, Default)]
pub(crate) struct Key {
    /// Held, so that no other one can have its address.
    pub(crate) adapter: Option<Arc<Adapter>>,
    pub(crate) salt: u64,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let address = |key: &Key| key.adapter.as_ref().map(Arc::as_ptr);
        self.salt == other.salt && address(self) == address(other)
    }
}

/// All nodes.
pub(crate) struct Tree {
    model: Arc<Model>,
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    roots: Vec<(Key, usize)>,
    /// When each node was used last, and its place. A node is never older than those below it.
    by_age: BTreeSet<(u64, usize)>,
    clock: u64,
    bytes: usize,
    /// Nodes that the window of a layer reaches over, at most; zero if no layer has one.
    window_nodes: usize,
}

struct Node {
    /// None for a root, [`PAGE`] for a node with others below it.
    tokens: Vec<u32>,
    chunk: Chunk,
    bytes: usize,
    parent: Option<usize>,
    children: Vec<usize>,
    used: u64,
    /// Tells it from others that had its place.
    born: u64,
}

/// A node that may have gone meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId {
    place: usize,
    born: u64,
}

impl Tree {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        let window = model.description.layers.iter().filter_map(|layer| layer.window()).max();
        Tree {
            model,
            nodes: Vec::new(),
            free: Vec::new(),
            roots: Vec::new(),
            by_age: BTreeSet::new(),
            clock: 0,
            bytes: 0,
            window_nodes: window.map_or(0, |window| window.div_ceil(PAGE) + 1),
        }
    }

    /// Bytes of all pages in it, shared ones too.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of pages that no state shares.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.nodes.iter().flatten().filter(|node| !node.chunk.is_shared()).map(|node| node.bytes).sum()
    }

    /// Has an empty state take over as many of the tokens as there are.
    pub(crate) fn resume(&mut self, key: &Key, tokens: &[u32], state: &mut State) {
        let Some(root) = self.roots.iter().find(|(known, _)| known == key).map(|(_, root)| *root) else {
            return;
        };
        let (path, length) = self.path(root, tokens);
        let chunks: Vec<&Chunk> = path.iter().map(|place| &self.node(*place).chunk).collect();
        state.resume(&chunks, length);
        if let Some(last) = state.length().div_ceil(PAGE).checked_sub(1) {
            self.touch(path[last]);
        }
    }

    /// The nodes whose tokens these begin with, and how many tokens that is; of the last node, it may be some only.
    fn path(&self, root: usize, tokens: &[u32]) -> (Vec<usize>, usize) {
        let (mut path, mut length, mut at) = (Vec::new(), 0, root);
        loop {
            let rest = &tokens[length..];
            let children = self.node(at).children.iter();
            let commons = children.map(|place| (common(&self.node(*place).tokens, rest), *place));
            let Some((common, place)) = commons.max_by_key(|(common, _)| *common).filter(|best| best.0 > 0)
            else {
                return (path, length);
            };
            path.push(place);
            length += common;
            if common < PAGE {
                return (path, length);
            }
            at = place;
        }
    }

    /// Puts a chunk behind a node, or behind the root; the node that stands for it from now on, which may have been there
    /// before. `None` if the node has gone.
    pub(crate) fn insert(
        &mut self,
        key: &Key,
        behind: Option<NodeId>,
        tokens: &[u32],
        chunk: &Chunk,
    ) -> Option<NodeId> {
        let parent = match behind {
            Some(id) => {
                self.nodes.get(id.place)?.as_ref().filter(|node| node.born == id.born).map(|_| id.place)?
            }
            None => self.root(key),
        };
        let place = match self.child_with(parent, tokens) {
            Some(place) => {
                self.complete(place, tokens, chunk);
                place
            }
            None => {
                self.drop_shorter(parent, tokens);
                self.add(Some(parent), tokens.to_vec(), chunk.clone())
            }
        };
        self.touch(place);
        Some(NodeId { place, born: self.node(place).born })
    }

    /// What a node holds.
    pub(crate) fn chunk(&self, id: NodeId) -> &Chunk {
        &self.node(id.place).chunk
    }

    fn child_with(&self, parent: usize, tokens: &[u32]) -> Option<usize> {
        let mut children = self.node(parent).children.iter().copied();
        children.find(|place| self.node(*place).tokens.starts_with(tokens))
    }

    /// Takes over what a chunk has and the node for the same tokens has not.
    fn complete(&mut self, place: usize, tokens: &[u32], chunk: &Chunk) {
        let node = self.node_mut(place);
        if node.tokens.len() == tokens.len() {
            node.chunk.complete(chunk);
            self.recount(place);
        }
    }

    /// Leaves that the tokens begin with are of no more use beside them.
    fn drop_shorter(&mut self, parent: usize, tokens: &[u32]) {
        let is_shorter = |place: &usize| {
            let node = self.node(*place);
            node.tokens.len() < PAGE && tokens.starts_with(&node.tokens) && !node.chunk.is_shared()
        };
        let shorter: Vec<usize> = self.node(parent).children.iter().copied().filter(is_shorter).collect();
        shorter.into_iter().for_each(|place| self.remove(place));
    }

    fn root(&mut self, key: &Key) -> usize {
        if let Some((_, root)) = self.roots.iter().find(|(known, _)| known == key) {
            return *root;
        }
        let root = self.add(None, Vec::new(), Chunk::default());
        self.roots.push((key.clone(), root));
        root
    }

    fn add(&mut self, parent: Option<usize>, tokens: Vec<u32>, chunk: Chunk) -> usize {
        self.clock += 1;
        let (bytes, born, used) = (chunk.bytes(), self.clock, self.clock);
        let node = Node { tokens, chunk, bytes, parent, children: Vec::new(), used, born };
        let place = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            self.nodes.len() - 1
        });
        self.nodes[place] = Some(node);
        self.by_age.insert((used, place));
        self.bytes += bytes;
        if let Some(parent) = parent {
            self.node_mut(parent).children.push(place);
        }
        place
    }

    /// Takes a node without children out.
    fn remove(&mut self, place: usize) {
        let Some(node) = self.nodes[place].take() else { return };
        self.by_age.remove(&(node.used, place));
        self.bytes -= node.bytes;
        self.free.push(place);
        match node.parent {
            Some(parent) => self.node_mut(parent).children.retain(|child| *child != place),
            None => self.roots.retain(|(_, root)| *root != place),
        }
    }

    /// It is used now, and so is all before it, a little later.
    fn touch(&mut self, place: usize) {
        let mut next = Some(place);
        while let Some(place) = next {
            self.clock += 1;
            let now = self.clock;
            let node = self.node_mut(place);
            let before = std::mem::replace(&mut node.used, now);
            next = node.parent;
            self.by_age.remove(&(before, place));
            self.by_age.insert((now, place));
        }
    }

    fn recount(&mut self, place: usize) {
        let node = self.node_mut(place);
        let bytes = node.chunk.bytes();
        let before = std::mem::replace(&mut node.bytes, bytes);
        self.bytes = self.bytes - before + bytes;
    }

    #[track_caller]
    fn node(&self, place: usize) -> &Node {
        self.nodes[place].as_ref().unwrap_or_else(|| unreachable!("links lead to nodes that are there"))
    }

    #[track_caller]
    fn node_mut(&mut self, place: usize) -> &mut Node {
        self.nodes[place].as_mut().unwrap_or_else(|| unreachable!("links lead to nodes that are there"))
    }
}

/// Tokens that both begin with.
pub(crate) fn common(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
