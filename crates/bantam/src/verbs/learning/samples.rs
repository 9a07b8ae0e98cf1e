//! Texts that a model writes while it learns.

use std::sync::Arc;

use anyhow::Result;
use bantam::model::Adapter;
use bantam_engine::{Engine, Request, Sampling, Settings};
use bantam_model::Model;
use bantam_text::{Shown, Special, Tokenizer};

/// Prompts, and how they are continued.
pub(crate) struct Sampler {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) prompts: Vec<String>,
    /// New tokens at most.
    pub(crate) tokens: usize,
    pub(crate) temperature: f32,
    pub(crate) settings: Settings,
}

impl Sampler {
    /// What a model makes of the prompts, which come first. The same model says the same.
    pub(crate) fn write(&self, model: &Model, adapter: Option<&Arc<Adapter>>) -> Result<Vec<String>> {
        if self.prompts.is_empty() {
            return Ok(Vec::new());
        }
        let ids = |prompt: &String| -> Result<Vec<u32>> {
            Ok(self.tokenizer.begin(self.tokenizer.to_ids(prompt, Special::AsText)?))
        };
        let prompts = self.prompts.iter().map(ids).collect::<Result<Vec<_>>>()?;
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let length = longest + self.tokens + bantam::virtual_tokens(adapter);
        let context_length = length.min(model.description.context_length);
        let engine =
            Engine::start(Arc::new(model.clone()), Settings { context_length, ..self.settings.clone() })?;
        let streams = prompts.iter().map(|prompt| engine.submit(self.request(prompt, adapter)));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let mut texts = Vec::new();
        for (prompt, stream) in prompts.into_iter().zip(streams) {
            let ids = [prompt, stream.answer()?.0].concat();
            texts.push(self.tokenizer.to_text(&ids, Shown::Text));
        }
        Ok(texts)
    }

    fn request(&self, prompt: &[u32], adapter: Option<&Arc<Adapter>>) -> Request {
        Request {
            prompt: prompt.to_vec(),
            max_tokens: Some(self.tokens),
            sampling: Sampling { temperature: self.temperature, seed: 0, ..Sampling::default() },
            stop_tokens: self.tokenizer.stops().to_vec(),
            adapter: adapter.cloned(),
            ..Request::default()
        }
    }
}
