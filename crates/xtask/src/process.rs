//! Programs that the verbs start.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{Error, Result, workspace};

/// A command that runs in the root of the workspace.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    command
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs with output passed through; any exit but 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(failed(command, status.to_string())) }
}

/// Runs quietly and returns what was printed.
pub(crate) fn output(command: &mut Command, stdin: Option<&str>) -> Result<String> {
    let output = collect(command, stdin).map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("no message").to_owned();
        return Err(failed(command, format!("{}: {last}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| failed(command, "printed what is not UTF-8".into()))
}

/// Runs quietly and parses the JSON that was printed.
pub(crate) fn json(command: &mut Command, stdin: Option<&str>) -> Result<Value> {
    let text = output(command, stdin)?;
    serde_json::from_str(&text).map_err(|error| failed(command, format!("printed no JSON: {error}")))
}

/// The release build of the program itself.
pub(crate) fn binary() -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", "bantam"]))?;
    let path = workspace::target().join("release").join(format!("bantam{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::form("the release build", format!("no {}", path.display())))
    }
}

fn collect(command: &mut Command, stdin: Option<&str>) -> std::io::Result<Output> {
    let Some(text) = stdin else {
        return command.stdin(Stdio::null()).output();
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(text.as_bytes())?;
    }
    child.wait_with_output()
}

fn not_started(command: &Command, error: &std::io::Error) -> Error {
    failed(command, format!("could not be started: {error}"))
}

fn failed(command: &Command, outcome: String) -> Error {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown: Vec<_> = words.map(|word| shorten(&word.to_string_lossy())).collect();
    Error::Command { command: shown.join(" "), outcome }
}

/// Token lists would bury the message.
fn shorten(word: &str) -> String {
    if word.chars().count() <= 80 {
        word.to_owned()
    } else {
        word.chars().take(77).chain("...".chars()).collect()
    }
}
