//! The one error type of this crate. A message says what was wanted, what was found, where, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a model could not be found, brought or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that neither the store nor the catalogue knows.
    #[error("no model is called `{name}`{}", suggest(.suggestions))]
    UnknownModel {
        /// The name as given.
        name: String,
        /// Names of the catalogue that look alike, best first.
        suggestions: Vec<String>,
    },
    /// A model reference that cannot be read.
    #[error(
        "`{text}` is not a model reference: {why}; give a name such as smollm2:135m, a path, or hf.co/ORG/REPO"
    )]
    BadReference {
        /// The reference as given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A digest that is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("`{text}` is not a digest: expected sha256: and 64 lower-case hexadecimal digits")]
    BadDigest {
        /// The text found.
        text: String,
    },
    /// The model is not on this machine.
    #[error("{name} is not on this machine; fetch it with `bantam pull {name}`")]
    NotHere {
        /// The model's name.
        name: String,
    },
    /// The model is in the store, and a file of it is not as it was when it came there.
    #[error(
        "{} of {name} {why}; bring it here again (`bantam pull {name}`), or take it out with `bantam rm {name}`", path.display()
    )]
    Damaged {
        /// The model's name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The model lies in Ollama's store, which is only read.
    #[error("{name} is Ollama's and only used here: remove it with `ollama rm {name}`")]
    Borrowed {
        /// The model's name.
        name: String,
    },
    /// The model is not on this machine and the network may not be used.
    #[error(
        "{name} is not on this machine and the network is switched off; pull it once without --offline (and with HF_HUB_OFFLINE and BANTAM_OFFLINE unset)"
    )]
    Offline {
        /// The model's name.
        name: String,
    },
    /// The caller did not accept the licence's terms.
    #[error("{model} was not downloaded: its terms ({licence}, {url}) were not accepted")]
    TermsRefused {
        /// The model's name.
        model: String,
        /// The licence's name.
        licence: String,
        /// Where the terms are.
        url: String,
    },
    /// Every mirror was tried and each failed.
    #[error("{model} could not be fetched from any mirror:{}\n{}", list(.failures), advice(.failures))]
    AllMirrors {
        /// The model's name.
        model: String,
        /// Each mirror with its reason, in the order tried.
        failures: Vec<MirrorFailure>,
    },
    /// No connection to a host.
    #[error("cannot reach {host}: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system said.
        why: String,
    },
    /// The host answered, and what it said is no use.
    #[error("{url}: {why}")]
    Answer {
        /// The address asked.
        url: String,
        /// What was wrong with the answer.
        why: String,
    },
    /// The hub does not have this, or hides it.
    #[error("{wanted} is not there: {why}")]
    NotFound {
        /// Repository, revision or file.
        wanted: String,
        /// What the hub said.
        why: String,
    },
    /// The repository wants its terms accepted or a token.
    #[error(
        "{repo} is gated: open https://huggingface.co/{repo}, accept its terms, and set HF_TOKEN to a token of that account"
    )]
    Gated {
        /// `org/name`.
        repo: String,
    },
    /// The transfer broke off too often.
    #[error(
        "the transfer of {name} broke off at {done} of {size} bytes, {tries} times in a row: {why}; run it again to go on from there"
    )]
    Broken {
        /// The file.
        name: String,
        /// Bytes on disk.
        done: u64,
        /// Bytes wanted.
        size: u64,
        /// Tries without progress.
        tries: u32,
        /// The last failure.
        why: String,
    },
    /// The bytes are not the ones that were promised.
    #[error("{name} has {found} where {wanted} was expected; it was not installed")]
    WrongHash {
        /// The file.
        name: String,
        /// The digest expected.
        wanted: String,
        /// The digest of what came.
        found: String,
    },
    /// `pip` or its interpreter failed.
    #[error("{what}: {why}")]
    Pip {
        /// What was asked of it.
        what: String,
        /// What it said.
        why: String,
    },
    /// Only formats that can run code are on offer.
    #[error(
        "{repo} has neither .gguf nor .safetensors weights (found: {found}); pickled weights can run code and are refused"
    )]
    NoWeights {
        /// `org/name`.
        repo: String,
        /// A few of the files that are there.
        found: String,
    },
    /// The quantisation asked for is not there.
    #[error("{repo} has no GGUF file of quantisation {quant}; it has: {found}")]
    NoQuant {
        /// `org/name`.
        repo: String,
        /// The label asked for.
        quant: String,
        /// The labels that are there.
        found: String,
    },
    /// Too little room on the disk.
    #[error("{} has {free} bytes free and {wanted} are needed; make room or set BANTAM_HOME or HF_HUB_CACHE to another disk", .path.display())]
    DiskFull {
        /// The folder to be written.
        path: PathBuf,
        /// Bytes needed.
        wanted: u64,
        /// Bytes free.
        free: u64,
    },
    /// A manifest of the store that cannot be trusted.
    #[error("{}: {why}; remove the file and pull the model again", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The catalogue itself is wrong.
    #[error("the catalogue: {why}")]
    Catalogue {
        /// What is wrong.
        why: String,
    },
    /// A setting that cannot be used.
    #[error("{name}: {why}")]
    Setting {
        /// The setting or environment variable.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The caller asked to stop.
    #[error("stopped; what was fetched is kept, and the next pull goes on from there")]
    Cancelled,
    /// The file system said no.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried (`read`, `write`, ...).
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Turns an I/O error into ours: `.map_err(Error::io("read", path))`.
    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { what, path, source }
    }

    /// True when another mirror must not be tried: the user decided.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Error::Cancelled | Error::TermsRefused { .. } | Error::Offline { .. })
    }
}

/// One mirror and why it did not help.
#[derive(Debug)]
pub struct MirrorFailure {
    /// The mirror, as a person would name it (`huggingface.co/org/repo`, `pip: package`).
    pub mirror: String,
    /// Why it failed.
    pub reason: Box<Error>,
}

impl fmt::Display for MirrorFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.mirror, self.reason)
    }
}

fn suggest(suggestions: &[String]) -> String {
    match suggestions {
        [] => "; `bantam list --all` shows the catalogue, and a path or hf.co/ORG/REPO works too".into(),
        some => format!("; did you mean {}?", some.join(", ")),
    }
}

fn list(failures: &[MirrorFailure]) -> String {
    failures.iter().map(|f| format!("\n  {f}")).collect()
}

/// What to do, from what went wrong most.
fn advice(failures: &[MirrorFailure]) -> &'static str {
    let unreachable = |f: &MirrorFailure| matches!(*f.reason, Error::Unreachable { .. } | Error::Pip { .. });
    if failures.iter().all(unreachable) {
        "Check the network and HTTPS_PROXY (and SSL_CERT_FILE where a proxy signs), set HF_ENDPOINT to a hub mirror you can reach, or give the path of a file you have."
    } else {
        "Put one of these right, or give the path of a file you have."
    }
}
