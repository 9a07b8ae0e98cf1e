//! Arguments of `bantam train`.

use std::path::PathBuf;

use clap::Args;

use super::MachineArgs;

/// `bantam train`
#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// A file that says what the model is, what it reads and how it learns
    pub(crate) config: PathBuf,
    /// The folder of the run: the checkpoint, metrics, a page with curves and texts, what is needed to go on
    #[arg(long, short = 'o', value_name = "FOLDER")]
    pub(crate) output: PathBuf,
    /// Go on where a run in the same folder, with the same config, stopped
    #[arg(long)]
    pub(crate) resume: bool,
    /// Say what would be done, how long it takes and what memory it needs, and leave nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write event files for TensorBoard into the folder `tensorboard`
    #[arg(long)]
    pub(crate) tensorboard: bool,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
