//! Which pages go when memory is wanted.

use super::Tree;

impl Tree {
    /// Lets go of pages that no state shares, until so many bytes are free or there is nothing left to go. Windows of
    /// layers go first where no sequence has ended and none has branched off: there, one is least likely to come back.
    pub(crate) fn evict(&mut self, bytes: usize) {
        let wanted = self.bytes.saturating_sub(bytes);
        if self.window_nodes > 0 && self.bytes > wanted {
            self.evict_windows(wanted);
        }
        while self.bytes > wanted
            && let Some(place) = self.oldest_leaf()
        {
            self.remove(place);
        }
    }

    fn oldest_leaf(&self) -> Option<usize> {
        let mut oldest = self.by_age.iter().map(|(_, place)| *place);
        oldest.find(|place| {
            let node = self.node(*place);
            node.children.is_empty() && !node.chunk.is_shared()
        })
    }

    fn evict_windows(&mut self, wanted: usize) {
        let spared = self.checkpoints();
        let places: Vec<usize> = self.by_age.iter().map(|(_, place)| *place).collect();
        for place in places {
            if self.bytes <= wanted {
                return;
            }
            if !spared[place] && !self.node(place).chunk.is_shared() {
                self.forget_windows(place);
            }
        }
    }

    fn forget_windows(&mut self, place: usize) {
        let model = std::sync::Arc::clone(&self.model);
        if self.node_mut(place).chunk.forget_windows(&model.description) {
            self.recount(place);
        }
    }

    /// By place: the nodes that the windows behind an end or a branch reach over.
    fn checkpoints(&self) -> Vec<bool> {
        let mut spared = vec![false; self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            if node.as_ref().is_none_or(|node| node.children.len() == 1) {
                continue;
            }
            let mut at = Some(place);
            for _ in 0..self.window_nodes {
                let Some(place) = at else { break };
                spared[place] = true;
                at = self.node(place).parent;
            }
        }
        spared
    }
}
