//! `fuzz`: mutated files against every reader of foreign bytes.
//!
//! Plain Rust, no instrumentation: what it loses in depth it gains by running on any machine, in every change. An
//! input is a pure function of (target, seed, iteration). So the parent process, which writes nothing itself while
//! a worker runs, can make the last input again when the worker was killed, aborted or hangs.
//!
//! A reader fails by a panic, an abort, more than [`TIME_LIMIT`], or more than [`MEMORY_LIMIT`] beside its input.

mod memory;
mod mutate;
mod seeds;
mod targets;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::{Arguments, Error, Result, process, workspace};
use targets::{TARGETS, Target};

/// A bad file has to be refused within this.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// And without touching more memory than this, in bytes.
const MEMORY_LIMIT: u64 = 64 << 20;
/// A worker that reports no new iteration for so long hangs.
const HANG: Duration = Duration::from_secs(10);

const SECONDS: u64 = 20;

/// Runs each target for `--seconds`, or one target on one saved `--input`.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let seed = arguments.value("--seed")?.unwrap_or(0);
    let seconds = arguments.value("--seconds")?.unwrap_or(SECONDS);
    let input: Option<PathBuf> = arguments.value("--input")?;
    let is_worker = arguments.switch("--worker");
    let targets = chosen(&arguments.names()?)?;
    let folder = folder()?;
    if let Some(path) = input {
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        return targets.iter().try_for_each(|target| worker::check(target, &bytes).map_err(Error::Failed));
    }
    if is_worker {
        let length = Duration::from_secs(seconds);
        return targets
            .iter()
            .try_for_each(|target| worker::run(target, seed, length, &progress(target, &folder)));
    }
    let failed = targets.iter().filter(|target| !watch(target, seed, seconds, &folder)).count();
    if failed == 0 { Ok(()) } else { Err(Error::Failed(format!("{failed} targets failed with seed {seed}"))) }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    let known = |name: &String| TARGETS.iter().find(|target| target.name == name);
    let unknown = |name: &String| {
        let all: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        Error::Usage(format!("no target {name}; there are {}", all.join(", ")))
    };
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    names.iter().map(|name| known(name).ok_or_else(|| unknown(name))).collect()
}

fn folder() -> Result<PathBuf> {
    let folder = workspace::target().join("fuzz");
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    Ok(folder)
}

/// The file in which a worker tells its iteration.
fn progress(target: &Target, folder: &std::path::Path) -> PathBuf {
    folder.join(format!("{}.at", target.name))
}

/// Runs a worker on one target; whatever ends it early is reported with the input that did it.
fn watch(target: &Target, seed: u64, seconds: u64, folder: &std::path::Path) -> bool {
    let progress = progress(target, folder);
    let outcome = start(target, seed, seconds).and_then(|mut worker| wait(&mut worker, &progress));
    let iteration = worker::read_progress(&progress);
    let why = match outcome {
        Ok(End::Exited(status)) if status.success() => {
            println!("fuzz: {:16} {iteration:8} inputs, seed {seed}", target.name);
            return true;
        }
        Ok(End::Exited(status)) => status.to_string(),
        Ok(End::Hung) => format!("no end after {} s", HANG.as_secs()),
        Err(error) => error.to_string(),
    };
    let path = folder.join(format!("{}-{seed}-{iteration}", target.name));
    let saved = fs::write(&path, mutate::input(&(target.seeds)(), seed, iteration));
    println!("FAIL  {}: {why}", target.name);
    match saved {
        Ok(()) => println!("      cargo xtask fuzz {} --input {}", target.name, path.display()),
        Err(error) => println!("      the input could not be saved: {error}"),
    }
    false
}

enum End {
    Exited(ExitStatus),
    Hung,
}

fn start(target: &Target, seed: u64, seconds: u64) -> Result<Child> {
    let program = std::env::current_exe().map_err(Error::io("the program itself".as_ref()))?;
    let mut command = process::command(&program);
    command.args(["fuzz", target.name, "--worker"]);
    command.args(["--seed", &seed.to_string(), "--seconds", &seconds.to_string()]);
    command.spawn().map_err(Error::io(&program))
}

fn wait(worker: &mut Child, progress: &std::path::Path) -> Result<End> {
    let (mut last, mut since) = (None, Instant::now());
    loop {
        if let Some(status) = worker.try_wait().map_err(Error::io(progress))? {
            return Ok(End::Exited(status));
        }
        let now = worker::read_progress(progress);
        if last != Some(now) {
            (last, since) = (Some(now), Instant::now());
        }
        if since.elapsed() > HANG {
            worker.kill().and_then(|()| worker.wait()).map_err(Error::io(progress))?;
            return Ok(End::Hung);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
