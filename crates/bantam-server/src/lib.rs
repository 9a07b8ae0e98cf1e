//! HTTP and JSON to requests and events: OpenAI's, Anthropic's and Ollama's protocols over the engine.
//!
//! [`Server::bind`] takes [`Settings`] and a [`Library`] of models; [`Server::run`] answers until it is stopped. This is
//! the only crate with an async runtime, and it never touches a tensor: what it knows of a model is what generates,
//! its tokeniser and its template ([`Served`]), which the library gives it when it is asked for.
//!
//! What a request holds becomes an `Ask`, which is free of any protocol; its answers come as pieces, which each
//! protocol writes in its own form. So all protocols have the same settings, limits and order of events.
#![forbid(unsafe_code)]

mod answer;
mod anthropic;
mod ask;
mod caller;
mod calls;
mod clock;
mod completion;
mod conversation;
mod counters;
mod deadline;
mod dialect;
mod error;
mod fault;
mod fields;
mod fill;
mod guard;
mod infill;
mod keep_alive;
mod library;
mod limits;
mod logprobs;
mod lora;
mod memory;
mod messages;
mod metrics;
mod models;
mod names;
mod native;
mod notes;
mod ollama;
mod openai;
mod openapi;
mod origins;
mod page;
mod props;
mod queue;
mod refusal;
mod rerank;
mod routes;
mod sampling;
mod served;
mod server;
mod settings;
mod state;
mod stored;
mod structure;
mod thinking;
mod tools;
mod vectors;
mod wire;

pub use error::Error;
pub use keep_alive::KeepAlive;
pub use library::{Library, Listed, Progress, Recipe};
pub use memory::{Fit, Need};
pub use names::{AdapterPart, Alias, NamedAdapter};
pub use origins::Origins;
pub use refusal::Refusal;
pub use served::{Details, Generate, Running, Served};
pub use server::{Server, Stopper};
pub use settings::{DEFAULT_PORT, Keys, Settings, Storing};
