//! Gaps that models fill which were made for it: what is before, what is behind, and what comes between them.
//!
//! Source: Bavarian et al., 2022 (arXiv 2207.14255), prefix, suffix, middle; the files of a repository as Qwen2.5-Coder
//! has them.

use bantam_text::{Special, Tokenizer};

use crate::fault::Fault;

/// A gap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fill {
    pub(crate) prefix: String,
    pub(crate) suffix: String,
    /// The field of the request that says so.
    pub(crate) field: &'static str,
    /// How the middle begins.
    pub(crate) begun: String,
    /// Other files, each with its name.
    pub(crate) files: Vec<(String, String)>,
}

/// How models call the three parts.
const MARKS: [[&str; 3]; 5] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    ["▁<PRE>", "▁<SUF>", "▁<MID>"],
];

/// What stands before the name of a file.
const FILES: [&str; 2] = ["<|file_sep|>", "<file_sep>"];

fn marks(tokenizer: &Tokenizer) -> Option<[u32; 3]> {
    MARKS.iter().find_map(|marks| {
        let [prefix, suffix, middle] = marks.map(|mark| tokenizer.special_id(mark));
        Some([prefix?, suffix?, middle?])
    })
}

impl Fill {
    /// The tokens of the prompt, and those that end the middle besides the model's own.
    ///
    /// # Errors
    ///
    /// A model without tokens for the parts.
    pub(crate) fn ids(&self, tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>), Fault> {
        let Some([prefix, suffix, middle]) = marks(tokenizer) else {
            let instead = ": this model has no tokens for what is before and behind a gap (such as <|fim_prefix|>), and \
                           only continues text";
            return Err(Fault::unsupported(self.field, instead));
        };
        let file = FILES.iter().find_map(|mark| tokenizer.special_id(mark));
        let read = |text: &str| {
            let ids = tokenizer.to_ids(text, Special::AsText);
            ids.map_err(|error| Fault::field("input_prefix", error.to_string()))
        };
        let mut ids = tokenizer.begin(Vec::new());
        for (name, text) in &self.files {
            ids.extend(file);
            ids.extend(read(&format!("{name}\n{text}\n"))?);
        }
        for (mark, text) in [(prefix, &self.prefix), (suffix, &self.suffix), (middle, &self.begun)] {
            ids.push(mark);
            ids.extend(read(text)?);
        }
        let stops = [prefix, suffix, middle].into_iter().chain(file).collect();
        Ok((ids, stops))
    }
}
