//! The program: arguments become a typed config, a verb runs, its results are printed.
//!
//! Exit codes: 0 done; 1 the work failed; 2 the arguments are wrong; 130 stopped by Ctrl-C.
#![forbid(unsafe_code)]

mod args;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Verb};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.verb {
        Verb::Logits(args) => verbs::logits::run(args),
        Verb::Tokenize(args) => verbs::tokenize::run(args),
        Verb::Perplexity(args) => verbs::perplexity::run(args),
        Verb::Bench(args) => args.check().and_then(|()| verbs::bench::run(args)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has had enough, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
