//! A library of models that tests put there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::Signals;
use bantam_server::{Fit, Library, Listed, Need, Refusal, Served};

type Make = Box<dyn Fn(Fit) -> Served + Send + Sync>;

/// Models, each loaded as often as it is asked for, or once.
#[derive(Default)]
pub(crate) struct Shelf {
    models: Vec<(Listed, Need, Make)>,
    /// What was loaded, in this order.
    pub(crate) loads: Arc<Mutex<Vec<String>>>,
    /// What each adapter takes, whose places are numbers; without it, there are none.
    adapters_bytes: Option<u64>,
    pub(crate) broken: Arc<Mutex<HashMap<String, String>>>,
    /// Models that are here and not listed, with the reason.
    pub(crate) unusable: HashMap<String, String>,
}

/// What a model takes that has no wishes.
pub(crate) const SMALL: Need =
    Need { weights_bytes: 100, work_bytes: 0, sequence_bytes: 10, sequences_max: 2, kept_bytes_max: 0 };

impl Shelf {
    /// Models that can be loaded once.
    pub(crate) fn of(all: Vec<Served>) -> Self {
        let mut shelf = Shelf::default();
        for served in all {
            let listed = listed(&served);
            let once = Mutex::new(Some(served));
            shelf.models.push((listed, SMALL, Box::new(move |_| once.lock().unwrap().take().unwrap())));
        }
        shelf
    }

    /// A library where each adapter takes so much, and has a number for a place.
    pub(crate) fn with_adapters(bytes: u64) -> Self {
        Shelf { adapters_bytes: Some(bytes), ..Shelf::default() }
    }

    /// One more, which is made anew each time.
    pub(crate) fn add(
        &mut self,
        name: &str,
        need: Need,
        make: impl Fn(Fit) -> Served + Send + Sync + 'static,
    ) {
        let listed = listed(&super::named(name, &Signals::default()));
        self.models.push((listed, need, Box::new(make)));
    }

    fn find(&self, name: &str) -> Result<&(Listed, Need, Make), Refusal> {
        let found = self.models.iter().find(|(listed, ..)| listed.name == name);
        found.ok_or_else(|| Refusal::NotFound(format!("no {name}")))
    }
}

fn listed(served: &Served) -> Listed {
    Listed {
        name: served.name.clone(),
        details: served.details.clone(),
        sampling: served.sampling.clone(),
        context_length: served.context_length,
        vocab_size: served.vocab_size,
        version: String::new(),
    }
}

impl Library for Shelf {
    fn list(&self) -> Vec<Listed> {
        self.models.iter().map(|(listed, ..)| listed.clone()).collect()
    }

    fn why_not(&self, name: &str) -> Option<String> {
        self.unusable.get(name).cloned()
    }

    fn need(&self, name: &str) -> Result<Need, Refusal> {
        if let Some(why) = self.broken.lock().unwrap().get(name) {
            return Err(Refusal::Failed(why.clone()));
        }
        Ok(self.find(name)?.1)
    }

    fn load(&self, name: &str, fit: Fit) -> Result<Served, Refusal> {
        let (_, _, make) = self.find(name)?;
        self.loads.lock().unwrap().push(name.to_owned());
        Ok(make(fit))
    }

    fn adapter_bytes(&self, place: &str) -> Result<u64, Refusal> {
        let bytes = self.adapters_bytes.filter(|_| place.parse::<usize>().is_ok());
        bytes.ok_or_else(|| Refusal::NotFound(format!("no adapter at {place}")))
    }
}
