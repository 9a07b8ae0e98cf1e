//! What the caller sees and decides while a model is fetched. This crate itself prints and asks nothing.

/// Draws a bar, or does not.
pub trait Progress {
    /// A file begins: `total_bytes` if known, of which `done_bytes` are here already.
    fn start(&mut self, name: &str, total_bytes: Option<u64>, done_bytes: u64);
    /// So many bytes more.
    fn advance(&mut self, bytes: u64);
    /// The file begun last has ended, well or not.
    fn finish(&mut self);
}

/// Watches a pull and answers its questions.
pub trait Observer: Progress {
    /// Shows the terms of a licence before the first download; true if the user takes them.
    fn accept_terms(&mut self, terms: &Terms<'_>) -> bool;

    /// Something worth a line happened.
    fn event(&mut self, event: &Event<'_>) {
        let _ = event;
    }

    /// Asked often; true ends the pull with [`crate::Error::Cancelled`] and keeps what is on disk.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// The terms of a model that wants them shown.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The model about to be fetched.
    pub model: &'a str,
    /// The licence's name.
    pub licence: &'a str,
    /// Where the full text is.
    pub url: &'a str,
    /// What it is about, in our own words.
    pub notice: &'a str,
}

/// What happens during a pull, besides bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// This mirror is tried now.
    Trying {
        /// The mirror.
        mirror: &'a str,
    },
    /// This mirror did not help; the next one is tried.
    MirrorFailed {
        /// The mirror.
        mirror: &'a str,
        /// Why.
        reason: &'a crate::Error,
    },
    /// Another process fetches the same file; waiting for it.
    Waiting {
        /// The file.
        name: &'a str,
    },
    /// A file that another program fetched is checked against its hash.
    Verifying {
        /// The file.
        name: &'a str,
    },
    /// The transfer broke off and goes on from where it stopped.
    Resuming {
        /// The file.
        name: &'a str,
        /// Bytes on disk.
        done_bytes: u64,
        /// Why it broke off.
        why: &'a str,
    },
}

/// Watches nothing, and answers every question about terms the same way.
#[derive(Clone, Copy, Debug)]
pub struct Silent {
    /// The answer about terms.
    pub accept_terms: bool,
}

impl Progress for Silent {
    fn start(&mut self, _: &str, _: Option<u64>, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn finish(&mut self) {}
}

impl Observer for Silent {
    fn accept_terms(&mut self, _: &Terms<'_>) -> bool {
        self.accept_terms
    }
}
