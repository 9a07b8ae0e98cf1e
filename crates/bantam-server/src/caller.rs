//! Who asks, for as long as a request is handled: the guard knows, and what is handed to the engine tells.

use sha2::{Digest, Sha256};

/// Whoever has the same key; all who need none are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) u64);

tokio::task_local! {
    static CALLER: Caller;
}

impl Caller {
    /// Of a key. States are shared within one key only, and keys get equal shares.
    pub(crate) fn of(key: &str) -> Self {
        let digest = Sha256::digest([b"caller: ", key.as_bytes()].concat());
        Caller(digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// Handles a request in its name.
    pub(crate) async fn scope<R>(self, handling: impl Future<Output = R>) -> R {
        CALLER.scope(self, handling).await
    }

    /// Who asks for what is being handled.
    pub(crate) fn current() -> Self {
        CALLER.try_with(|caller| *caller).unwrap_or_default()
    }
}
