//! The program: arguments become a typed config, a verb runs, its results are printed.
//!
//! Exit codes: 0 done; 1 the work failed; 2 the arguments are wrong; 130 stopped by Ctrl-C.
#![forbid(unsafe_code)]

mod args;
mod chat;
mod client;
mod config;
mod interrupt;
mod limits;
mod models;
mod print;
mod progress;
mod serving;
mod units;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;

use args::{Arguments, Verb};
use interrupt::{Interrupt, Stopped};
use models::Models;
use print::told;

fn main() -> ExitCode {
    match config::arguments().and_then(|arguments| dispatch(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Stopped>() => {
            eprintln!("{}", told(&error));
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<()> {
    match &arguments.verb {
        Verb::Completions(args) => return verbs::shell::completions(args),
        Verb::Man(args) => return verbs::shell::man(args),
        _ => {}
    }
    let interrupt = Interrupt::install();
    let settings = arguments.hub.over(bantam_hub::Settings::from_env()?);
    let models = Models::new(settings, arguments.hub.accept_terms, interrupt.clone())?;
    match &arguments.verb {
        Verb::Run(args) => verbs::run::run(args, &models, &interrupt),
        Verb::Generate(args) => verbs::generate::run(args, &models, &interrupt),
        Verb::Serve(args) => verbs::serve::run(args, models, &interrupt),
        Verb::Ps(args) => verbs::ps::ps(args),
        Verb::Stop(args) => verbs::ps::stop(args),
        Verb::Top(args) => verbs::top::run(args, &interrupt),
        Verb::Config(args) => verbs::config::run(args),
        Verb::Pull(args) => verbs::pull::run(args, &models),
        Verb::List(args) => verbs::list::run(args, &models),
        Verb::Show(args) => verbs::show::run(args, &models),
        Verb::Rm(args) => verbs::rm::run(args, &models),
        Verb::Inspect(args) => verbs::inspect::run(args, &models),
        Verb::Tokenize(args) => verbs::tokenize::run(args, &models),
        Verb::Logits(args) => verbs::logits::run(args, &models),
        Verb::Perplexity(args) => verbs::perplexity::run(args, &models),
        Verb::Bench(args) => args.check().and_then(|()| verbs::bench::run(args, &models)),
        Verb::Finetune(args) => verbs::finetune::run(args, &models, &interrupt),
        Verb::Train(args) => verbs::train::run(args, &models, &interrupt),
        Verb::Data(args) => verbs::data::run(args, &models, &interrupt),
        Verb::Eval(args::EvalVerb::Privacy(args)) => verbs::privacy::run(args, &models),
        Verb::Merge(args) => verbs::merge::run(args, &models),
        Verb::Adapter(verb) => verbs::adapter::run(verb, &models),
        Verb::Grads(args) => verbs::learn::grads(args, &models),
        Verb::Sgd(args) => verbs::learn::descend(args, &models),
        Verb::Completions(_) | Verb::Man(_) => Ok(()),
    }
}

/// Whoever read our output has had enough, as `head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
