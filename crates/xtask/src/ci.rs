//! `ci`: everything that a change has to pass. The steps stand in `.ci/run`, in one place.

use crate::{Arguments, Result, process};

/// Runs the script.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    arguments.names()?;
    process::run(process::command("bash").arg(".ci/run"))
}
