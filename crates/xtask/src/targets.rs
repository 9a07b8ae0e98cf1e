//! `targets`: other processors and systems than the one at hand.
//!
//! What runs on aarch64 is tested under an emulator; what only other systems compile is checked. Installs what it
//! lacks where it can: targets with `rustup`, programs with `apt-get`.

use std::process::Command;

use crate::{Arguments, Error, Result, process};

/// How far a target can be tried from here.
enum Trial {
    /// Tests run under the emulator.
    Emulated,
    /// Everything compiles; nothing is linked, so neither a linker nor the system's libraries are needed.
    Checked,
}

const TARGETS: [(&str, Trial); 3] = [
    (EMULATED, Trial::Emulated),
    ("x86_64-pc-windows-gnu", Trial::Checked),
    ("aarch64-apple-darwin", Trial::Checked),
];

const EMULATED: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
/// Where the packages below put the libraries of the emulated system.
const EMULATED_ROOT: &str = "/usr/aarch64-linux-gnu";

/// Packages that bring the linker, the emulator and the libraries.
const PACKAGES: [&str; 3] = ["gcc-aarch64-linux-gnu", "qemu-user", "libc6-dev-arm64-cross"];

/// The crates whose tests run under the emulator: the arithmetic, which alone has code for a processor, and the models
/// on top of it. A first build of these costs about half of what [`FULL_CRATES`] does.
const CRATES: [&str; 2] = ["bantam-kernels", "bantam-model"];

/// With `--full`: all that rests on the arithmetic. The tests of the others are about files, the network and the
/// terminal, which the emulator passes on to this system.
const FULL_CRATES: [&str; 5] =
    ["bantam-kernels", "bantam-tensor", "bantam-text", "bantam-model", "bantam-engine"];

/// Tests or checks the targets named, or all.
pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    let is_full = arguments.switch("--full");
    let named = arguments.names()?;
    if let Some(unknown) = named.iter().find(|name| TARGETS.iter().all(|(triple, _)| triple != name)) {
        return Err(Error::Usage(format!("no target {unknown}; there are {}", triples().join(", "))));
    }
    let chosen = |triple: &str| named.is_empty() || named.iter().any(|name| name == triple);
    for (triple, trial) in TARGETS.iter().filter(|(triple, _)| chosen(triple)) {
        install_target(triple)?;
        println!("targets: {triple}");
        match (trial, is_full) {
            (Trial::Checked, _) => check(triple, &["--workspace"])?,
            (Trial::Emulated, true) => emulate(&["--workspace"], &FULL_CRATES)?,
            // What is written for this processor stands in the kernels.
            (Trial::Emulated, false) => emulate(&["--package", "bantam-kernels"], &CRATES)?,
        }
    }
    Ok(())
}

/// Checks what `scope` says, and runs the tests of `crates`.
fn emulate(scope: &[&str], crates: &[&str]) -> Result<()> {
    check(EMULATED, scope)?;
    install_packages()?;
    test_emulated(crates)
}

fn triples() -> Vec<&'static str> {
    TARGETS.iter().map(|(triple, _)| *triple).collect()
}

/// Compiles a part of the workspace, tests too, without code. Warnings are errors: what only that target leaves unused is found.
fn check(triple: &str, scope: &[&str]) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["clippy", "--quiet", "--all-targets", "--target", triple]).args(scope);
    without_c(&mut cargo, triple);
    process::run(cargo.args(["--", "-D", "warnings"]))
}

/// A dependency (`ring`) compiles C in its build script, for which each target would need a compiler and, Apple's, a
/// kit that is not free to have. Nothing is linked here, so a program that does nothing stands in for the compiler.
fn without_c(cargo: &mut Command, triple: &str) {
    let suffix = triple.replace('-', "_");
    cargo.env(format!("CC_{suffix}"), "true").env(format!("AR_{suffix}"), "true");
    // Otherwise Apple's tools are asked where that kit is.
    cargo.env("SDKROOT", "/");
}

fn test_emulated(crates: &[&str]) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--quiet", "--target", EMULATED]);
    cargo.args(crates.iter().flat_map(|name| ["--package", name]));
    // The full optimisation of the kernels costs minutes more than it saves in the emulator.
    cargo.args(["--config", "profile.dev.package.bantam-kernels.opt-level=1"]);
    let suffix = EMULATED.replace('-', "_").to_uppercase();
    cargo.env(format!("CARGO_TARGET_{suffix}_LINKER"), LINKER);
    cargo.env(format!("CARGO_TARGET_{suffix}_RUNNER"), format!("{EMULATOR} -L {EMULATED_ROOT}"));
    process::run(&mut cargo)
}

fn install_target(triple: &str) -> Result<()> {
    let installed =
        process::output(process::command("rustup").args(["target", "list", "--installed"]), None)?;
    if installed.lines().any(|line| line == triple) {
        return Ok(());
    }
    process::run(process::command("rustup").args(["target", "add", triple]))
}

fn install_packages() -> Result<()> {
    if [LINKER, EMULATOR].iter().all(|program| starts(program, "--version")) {
        return Ok(());
    }
    let is_root = process::output(process::command("id").arg("-u"), None).is_ok_and(|id| id.trim() == "0");
    if !is_root || !starts("apt-get", "--version") {
        let packages = PACKAGES.join(", ");
        return Err(Error::Failed(format!("{LINKER} or {EMULATOR} is not installed (packages {packages})")));
    }
    process::run(process::command("apt-get").args(["update", "--quiet"]))?;
    process::run(process::command("apt-get").args(["install", "--yes", "--quiet"]).args(PACKAGES))
}

fn starts(program: &str, argument: &str) -> bool {
    process::output(process::command(program).arg(argument), None).is_ok()
}
