//! Automation of the house: `cargo xtask VERB`.
//!
//! Nothing here is linked into bantam. Each verb is one module with one `run`; a verb succeeds silently for the
//! shell (exit 0) or prints what is wrong and exits 1.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what a verb finds is its output")]

mod arguments;
mod ci;
mod error;
mod fuzz;
mod golden;
mod oracle;
mod process;
mod python;
mod real;
mod safetensors;
mod targets;
mod tidy;
mod workspace;

use std::process::ExitCode;

use arguments::Arguments;
use error::{Error, Result};

/// One verb of the command line.
struct Verb {
    name: &'static str,
    about: &'static str,
    run: fn(Arguments) -> Result<()>,
}

const VERBS: [Verb; 7] = [
    Verb { name: "tidy", about: "figures and rules of the house", run: tidy::run },
    Verb {
        name: "oracle",
        about: "[--full] [--seed N] [--families FAMILY..]: tiny random checkpoints against transformers",
        run: oracle::run,
    },
    Verb {
        name: "real",
        about: "[--full] [MODEL..]: two real models against recorded truth",
        run: real::run,
    },
    Verb {
        name: "golden",
        about: "[FAMILY..]: write testdata/golden anew from its configs",
        run: golden::run,
    },
    Verb {
        name: "fuzz",
        about: "[--seconds N] [--seed N] [TARGET..]: mutated files against every reader",
        run: fuzz::run,
    },
    Verb {
        name: "targets",
        about: "[--full] [TARGET..]: aarch64 under an emulator, checks for Windows and macOS",
        run: targets::run,
    },
    Verb { name: "ci", about: "everything that .ci/run runs", run: ci::run },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        return usage();
    };
    match (verb.run)(Arguments::new(words.collect())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask VERB [ARGUMENTS]\n");
    for verb in &VERBS {
        eprintln!("  {:8} {}", verb.name, verb.about);
    }
    ExitCode::from(2)
}
