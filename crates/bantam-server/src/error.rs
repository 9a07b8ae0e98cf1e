//! Why a server does not start, or ends.

use std::net::SocketAddr;

/// Everything that can go wrong with a server, apart from its requests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two models with one name.
    #[error("two models are called `{name}`: give one of them another name with --alias, or leave it out")]
    SameName {
        /// The name, in lower case.
        name: String,
    },

    /// An alias whose models are not there.
    #[error("--alias {name}={models}: {why}")]
    AliasOfNothing {
        /// The alias.
        name: String,
        /// What it stands for.
        models: String,
        /// Why not, of the first.
        why: String,
    },

    /// An adapter whose model is not there.
    #[error("--adapter {name}: its model `{model}` cannot be had: {why}")]
    AdapterOfNothing {
        /// The adapter.
        name: String,
        /// Its model.
        model: String,
        /// Why not.
        why: String,
    },

    /// A model that is to be there from the start is not.
    #[error("cannot serve {name}: {why}")]
    Load {
        /// The model.
        name: String,
        /// Why not.
        why: String,
    },

    /// Others could reach it, and nothing would keep them out.
    #[error(
        "{address} can be reached from other machines, and there is no key: set one with BANTAM_API_KEY or \
         --api-key-file, or stay on 127.0.0.1"
    )]
    KeyNeeded {
        /// Where it was to listen.
        address: SocketAddr,
    },

    /// Every page of the web could use it.
    #[error(
        "pages of any site may ask (--allow-origin or OLLAMA_ORIGINS), and there is no key: name the pages, or set a \
         key with BANTAM_API_KEY or --api-key-file"
    )]
    EveryOrigin,

    /// What is no origin of pages.
    #[error(
        "`{found}` is no origin: wanted SCHEME://HOST[:PORT], where HOST may be `*` or begin with `*.`, or `*`"
    )]
    Origin {
        /// What stands there.
        found: String,
    },

    /// A key that no client could send.
    #[error("an API key is {found}: wanted 8 to 512 printable ASCII characters without spaces")]
    Key {
        /// What is wrong with it.
        found: &'static str,
    },

    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}: {source}; choose another with --host and --port")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },

    /// The system gives no threads, sockets or signals.
    #[error("the server cannot run: {0}")]
    System(#[source] std::io::Error),
}
