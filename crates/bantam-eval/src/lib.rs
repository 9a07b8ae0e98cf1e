//! Perplexity of a text, and the divergence of one model's predictions from another's.
//!
//! Both follow the conventions of llama.cpp's `perplexity` tool, so that figures can be compared, and can
//! also score whole windows as papers do. Files of predictions ([`PredictionsWriter`]) are the ones that
//! tool writes and reads.
#![forbid(unsafe_code)]

mod divergence;
mod error;
mod losses;
mod perplexity;
mod predictions;
pub mod privacy;
mod run;
mod windows;

pub use divergence::{Divergence, DivergenceReport};
pub use error::Error;
pub use losses::{Target, losses};
pub use perplexity::{Perplexity, nll};
pub use predictions::{PredictionsHeader, PredictionsReader, PredictionsWriter, Row};
pub use run::{Position, run};
pub use windows::{Scored, Windows};
