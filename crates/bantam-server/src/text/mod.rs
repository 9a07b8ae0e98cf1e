//! Text on its way out: stop strings end it, and thinking is told from answer, however it is cut.

mod stops;
mod thinking;

pub(crate) use stops::StopStrings;
pub(crate) use thinking::{Split, ThinkingSplitter, is_marker};
