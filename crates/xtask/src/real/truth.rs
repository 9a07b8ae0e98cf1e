//! The recorded truth, as far as the checks read it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result, workspace};

/// Truth for each model, by the name of its file.
#[derive(Deserialize)]
pub(crate) struct Truth {
    pub(crate) models: BTreeMap<String, ModelTruth>,
}

#[derive(Deserialize)]
pub(crate) struct ModelTruth {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) perplexity: Perplexity,
}

/// A prompt and what exact arithmetic makes of it.
#[derive(Deserialize)]
pub(crate) struct Prompt {
    kind: String,
    pub(crate) text: String,
    /// With the token that opens a sequence, where the model wants one.
    pub(crate) tokens: Vec<u32>,
    /// Ids and logits after the last token, the highest first.
    pub(crate) top5: Vec<(usize, f64)>,
    /// The likeliest tokens one after the other, past the end of the answer.
    pub(crate) greedy: Vec<u32>,
}

#[derive(Deserialize)]
pub(crate) struct Perplexity {
    text: String,
    pub(crate) windows: usize,
    pub(crate) exact: f64,
}

impl Truth {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = workspace::read(path)?;
        serde_json::from_str(&text)
            .map_err(|error| Error::form(path.display().to_string(), error.to_string()))
    }
}

impl Prompt {
    /// Whether the text was rendered by a chat template, so that markers in it are special tokens.
    pub(crate) fn is_chat(&self) -> bool {
        self.kind == "chat"
    }
}

impl Perplexity {
    /// Where the text lies once the data is unpacked.
    pub(crate) fn unpacked_text(&self) -> &str {
        let inside = self.text.strip_prefix("data/").unwrap_or(&self.text);
        inside.strip_suffix(".zst").unwrap_or(inside)
    }
}
