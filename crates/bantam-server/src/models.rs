//! The models that are served, by their names.

use std::sync::Arc;

use crate::counters::Counters;
use crate::error::Error;
use crate::fault::{Fault, Kind};
use crate::queue::Queue;
use crate::served::Served;
use bantam_grammar::Vocabulary;

/// A model, the queue before it, and what was done.
pub(crate) struct Model {
    pub(crate) served: Served,
    pub(crate) queue: Queue,
    pub(crate) counters: Counters,
    /// What grammars are compiled over.
    pub(crate) vocabulary: Vocabulary,
}

/// All models, the default one first.
pub(crate) struct Models(Vec<Arc<Model>>);

impl Models {
    /// Models whose names and aliases are all different; before each, so many requests may wait.
    pub(crate) fn new(served: Vec<Served>, waiting_max: usize) -> Result<Self, Error> {
        if served.is_empty() {
            return Err(Error::NoModel);
        }
        let mut names: Vec<String> = served.iter().flat_map(names).map(canonical).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::SameName { name: twice[0].clone() });
        }
        let model = |served: Served| {
            let queue = Queue::new(served.sequences_max, waiting_max);
            let vocabulary = Vocabulary::new(&served.tokenizer, served.vocab_size, &served.stop_tokens);
            Arc::new(Model { served, queue, counters: Counters::default(), vocabulary })
        };
        Ok(Models(served.into_iter().map(model).collect()))
    }

    /// The model of a name; the default one for no name.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&Arc<Model>, Fault> {
        let wanted = canonical(name.unwrap_or_default());
        let has_name = |model: &&Arc<Model>| names(&model.served).any(|name| canonical(name) == wanted);
        let found = if wanted.is_empty() { self.0.first() } else { self.0.iter().find(has_name) };
        found.ok_or_else(|| self.unknown(name.unwrap_or_default()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.0.iter()
    }

    fn unknown(&self, name: &str) -> Fault {
        let names: Vec<&str> = self.0.iter().flat_map(|model| names(&model.served)).collect();
        // Clients know this as a model that was not found by these words.
        let message = format!("model `{name}` not found: this server has {}", names.join(", "));
        Fault {
            param: Some("model".into()),
            code: Some("model_not_found"),
            ..Fault::new(Kind::NotFound, message)
        }
    }
}

fn names(served: &Served) -> impl Iterator<Item = &str> {
    std::iter::once(&served.name).chain(&served.aliases).map(String::as_str)
}

/// Names are the same whatever their case, and `:latest` is what a name without a tag means.
fn canonical(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)
}
