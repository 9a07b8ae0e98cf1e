//! Where models come from and where they lie: catalogue, mirrors, store.
//!
//! [`Hub`] is the door: it finds a model on this machine ([`Hub::resolve`]) or brings it here from the first
//! mirror that has it ([`Hub::pull`]). The hash decides what is right, never the mirror: nothing is installed
//! that does not have the digest its catalogue entry or its hub states. This crate prints nothing, asks nothing
//! (the caller's [`Observer`] does both) and never reads a tensor.
#![forbid(unsafe_code)]

mod catalogue;
mod digest;
mod disk;
mod error;
mod hf;
mod hub;
mod make;
mod manifest;
mod net;
mod observer;
mod ollama;
mod pip;
mod quant;
mod recipe;
mod record;
mod reference;
mod settings;
mod store;
mod transfer;

pub use catalogue::{Catalogue, Entry, Licence, PackagePart, Packages, Pick};
pub use digest::Digest;
pub use error::{Error, MirrorFailure};
pub use hub::Hub;
pub use make::Base;
pub use manifest::{Manifest, Source};
pub use observer::{Event, Observer, Progress, Silent, Terms};
pub use recipe::Recipe;
pub use record::{FileRecord, Place};
pub use reference::{HubReference, Reference};
pub use settings::{Allowed, Network, Proxying, Settings, Token};
pub use store::{Listing, Located, Removal};

/// What every fallible call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
