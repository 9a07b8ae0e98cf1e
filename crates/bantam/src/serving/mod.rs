//! What `bantam serve` serves: the models of the command line and of the store, opened when the server asks for them.

mod budget;
mod facts;
mod library;
mod load;
#[cfg(unix)]
mod local;
mod prompt_cache;
mod recipe;
mod store;

pub(crate) use budget::room_bytes;
pub(crate) use library::{ModelLibrary, Named};
#[cfg(unix)]
pub(crate) use local::LocalSocket;
