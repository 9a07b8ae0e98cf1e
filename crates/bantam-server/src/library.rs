//! Where models come from: the server asks for them by name, and never sees a path.

use std::io::Read;

use bantam_engine::Sampling;
use serde_json::{Map, Value};

use crate::memory::{Fit, Need};
use crate::refusal::Refusal;
use crate::served::{Details, Served};

/// Models by their names: a store, or a list in tests. Its methods may take their time; they are called where that
/// holds up nobody.
pub trait Library: Send + Sync + 'static {
    /// All models there are; the one for requests that name none comes first. Nothing is loaded for it.
    fn list(&self) -> Vec<Listed>;

    /// Why a model that is here is not listed; `None` if it is not here.
    fn why_not(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// The memory that a model will take, told before it is loaded.
    ///
    /// # Errors
    ///
    /// A name that nothing has, files that cannot be read.
    fn need(&self, name: &str) -> Result<Need, Refusal>;

    /// Loads a model, which then takes no more than it was given.
    ///
    /// # Errors
    ///
    /// As [`Library::need`].
    fn load(&self, name: &str, fit: Fit) -> Result<Served, Refusal>;

    /// Brings a model to this machine.
    ///
    /// # Errors
    ///
    /// A name that nobody has; no way there. What `tell` answers with false is stopped.
    fn pull(&self, name: &str, tell: &mut dyn FnMut(Progress) -> bool) -> Result<(), Refusal> {
        let _ = tell;
        Err(Refusal::Unsupported(format!("{name} cannot be brought here")))
    }

    /// Makes a model from another one, or from blobs.
    ///
    /// # Errors
    ///
    /// What it is made from is not here; a name that cannot be one; parts that cannot be used.
    fn create(&self, name: &str, recipe: &Recipe) -> Result<(), Refusal> {
        let _ = recipe;
        Err(Refusal::Unsupported(format!("{name} cannot be made here")))
    }

    /// Gives a model another name, too.
    ///
    /// # Errors
    ///
    /// A model that is not there; a name that cannot be one.
    fn copy(&self, from: &str, to: &str) -> Result<(), Refusal> {
        Err(Refusal::Unsupported(format!("{from} cannot become {to} here")))
    }

    /// Takes a model away. Who uses it keeps it until then.
    ///
    /// # Errors
    ///
    /// A model that is not there.
    fn delete(&self, name: &str) -> Result<(), Refusal> {
        Err(Refusal::Unsupported(format!("{name} cannot be taken away here")))
    }

    /// Whether there is a blob.
    ///
    /// # Errors
    ///
    /// What is no digest.
    fn has_blob(&self, digest: &str) -> Result<bool, Refusal> {
        Err(Refusal::Unsupported(format!("there are no blobs here, such as {digest}")))
    }

    /// Takes in a blob, of which so many bytes are announced.
    ///
    /// # Errors
    ///
    /// What is no digest; bytes that have another.
    fn put_blob(&self, digest: &str, bytes: &mut dyn Read, announced: u64) -> Result<(), Refusal> {
        let _ = (bytes, announced);
        Err(Refusal::Unsupported(format!("there are no blobs here, such as {digest}")))
    }

    /// The memory that an adapter will take, told before it is opened.
    ///
    /// # Errors
    ///
    /// A place that holds no adapter, or that clients have no business at.
    fn adapter_bytes(&self, place: &str) -> Result<u64, Refusal> {
        Err(Refusal::NotFound(format!("there is no adapter at {place}")))
    }
}

/// What is known of a model without loading it.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// What clients call it.
    pub name: String,
    /// What is told of it.
    pub details: Details,
    /// How tokens are chosen where a request says nothing.
    pub sampling: Sampling,
    /// Tokens that a sequence may have.
    pub context_length: usize,
    /// Tokens that the model tells apart.
    pub vocab_size: usize,
    /// Changes when another model takes the name; what was loaded before it is then out of date.
    pub version: String,
}

/// How far something is that takes long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What happens.
    pub status: String,
    /// To which part of it.
    pub part: Option<String>,
    /// Its bytes, where they are known.
    pub total_bytes: Option<u64>,
    /// Those that are here.
    pub completed_bytes: u64,
}

/// What a model is made of, in Ollama's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recipe {
    /// The model that it is made from; with none, there are files.
    pub from: Option<String>,
    /// Files by their names, with their blobs' digests.
    pub files: Vec<(String, String)>,
    /// Adapters, in the same way.
    pub adapters: Vec<(String, String)>,
    /// What the model is told first.
    pub system: Option<String>,
    /// A chat template.
    pub template: Option<String>,
    /// Settings that hold where a request says nothing.
    pub parameters: Map<String, Value>,
    /// What was said before, as `{role, content}`.
    pub messages: Vec<Value>,
}
