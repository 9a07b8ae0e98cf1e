//! Training data: bytes and paths in, examples of token ids with what is to be learnt out.
//!
//! [`Loader`] reads files and folders ([`Format`]), finds what each line is ([`Form`]), writes chats with the
//! model's own template, and gives a [`Dataset`] of [`Example`]s and [`Pair`]s, split for training and validation, with a
//! [`Report`] in which nothing is missing: lines that are bad, duplicates, what was cut. [`Order`] and [`pack`]
//! say in which order and in which company examples are learnt. Nothing here sees a tensor, a model or the network.
//!
//! Invariants: `ids` and `learn` of an example are equally long; its first id is never learnt, since nothing
//! comes before it; at least one is. The same files, options and seed give the same dataset on every machine.
#![forbid(unsafe_code)]

mod canaries;
mod chat;
mod columns;
mod duplicates;
mod encode;
mod error;
mod example;
mod fault;
mod files;
mod fit;
mod form;
mod hash;
mod loader;
mod order;
mod pack;
mod questions;
mod read;
mod report;
mod split;

pub use canaries::{Canaries, Canary};
pub use columns::Columns;
pub use duplicates::{Duplicates, Similarity};
pub use encode::{Encoder, Learn};
pub use error::Error;
pub use example::{Example, Key, Origin, Pair};
pub use fault::Fault;
pub use files::Format;
pub use fit::TooLong;
pub use form::Form;
pub use loader::{Dataset, Loader, Part};
pub use order::Order;
pub use pack::pack;
pub use questions::{Question, Questions, questions, texts};
pub use report::{Bad, Bucket, Cut, Lengths, Report, SourceFile};
pub use split::Split;
