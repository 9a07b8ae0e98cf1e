//! The Python that speaks for transformers and PyTorch.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process, workspace};

/// What the reference programs import.
const PACKAGES: [&str; 5] = ["torch", "transformers", "safetensors", "numpy", "gguf"];

/// A command for an interpreter that has the packages: the one named by `BANTAM_PYTHON`, else `python3` where it
/// has them, else a virtual environment in the build folder, made at the first need (some gigabytes).
pub(crate) fn interpreter() -> Result<Command> {
    if let Some(chosen) = std::env::var_os("BANTAM_PYTHON") {
        return Ok(process::command(chosen));
    }
    if has_packages(Path::new("python3")) {
        return Ok(process::command("python3"));
    }
    Ok(process::command(environment()?))
}

fn environment() -> Result<PathBuf> {
    let folder = workspace::target().join("python");
    let python = if cfg!(windows) { folder.join("Scripts/python.exe") } else { folder.join("bin/python") };
    if !has_packages(&python) {
        println!("making {} with {}", folder.display(), PACKAGES.join(", "));
        process::run(process::command("python3").args(["-m", "venv"]).arg(&folder))?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        process::run(process::command(&python).args(install).args(PACKAGES))?;
    }
    Ok(python)
}

/// Looks the packages up without importing them, which would take seconds.
fn has_packages(python: &Path) -> bool {
    let find = "import sys, importlib.util as u; sys.exit(any(u.find_spec(p) is None for p in sys.argv[1:]))";
    process::output(process::command(python).args(["-c", find]).args(PACKAGES), None).is_ok()
}
