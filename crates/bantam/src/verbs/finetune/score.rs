//! What the model says to prompts that it did not learn: how often exactly what was wanted, and some of it to read.

use std::sync::Arc;

use anyhow::Result;
use bantam::Loaded;
use bantam::model::Adapter;
use bantam_engine::{Engine, Request, Settings};
use bantam_model::Model;
use bantam_text::{Shown, Tokenizer};
use bantam_train::Example;

/// Prompts that are answered, at most.
const ASKED_MAX: usize = 100;
/// Where most answers are longer than this, hardly one is met exactly, and nothing is counted.
const ANSWER_MAX: usize = 48;

/// A prompt, what was wanted, and what came.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) prompt: String,
    pub(super) wanted: String,
    pub(super) found: String,
}

impl Sample {
    pub(super) fn is_right(&self) -> bool {
        self.found.trim() == self.wanted.trim()
    }
}

/// Answers to prompts.
#[derive(Clone, Debug, Default)]
pub(super) struct Score {
    pub(super) samples: Vec<Sample>,
}

impl Score {
    /// Answers that are what was wanted, but for spaces around them.
    pub(super) fn right(&self) -> usize {
        self.samples.iter().filter(|sample| sample.is_right()).count()
    }

    pub(super) fn asked(&self) -> usize {
        self.samples.len()
    }
}

/// Asks model after model the same.
pub(super) struct Questions {
    settings: Settings,
    tokenizer: Tokenizer,
    asked: Vec<Question>,
}

struct Question {
    prompt: Vec<u32>,
    wanted: Vec<u32>,
}

impl Questions {
    /// Questions from the first answers of examples; none where answers are long.
    pub(super) fn new(loaded: &Loaded, settings: Settings, examples: &[Example]) -> Result<Self> {
        let tokenizer = loaded.tokenizer()?;
        let mut asked: Vec<Question> = examples.iter().filter_map(question).collect();
        asked.sort_by_key(|question| question.wanted.len());
        let is_short = asked.get(asked.len() / 2).is_some_and(|middle| middle.wanted.len() <= ANSWER_MAX);
        asked.truncate(if is_short { asked.partition_point(|q| q.wanted.len() <= ANSWER_MAX) } else { 0 });
        // Spread over the lengths, so that the short ones do not make it easy.
        let stride = asked.len().div_ceil(ASKED_MAX).max(1);
        let asked: Vec<Question> = asked.into_iter().step_by(stride).collect();
        let longest = asked.iter().map(|question| question.prompt.len() + 2 * ANSWER_MAX).max();
        let settings = Settings { context_length: longest.unwrap_or(ANSWER_MAX), ..settings };
        Ok(Questions { settings, tokenizer, asked })
    }

    /// The answers of a model, changed by an adapter or as it is.
    pub(super) fn ask(&self, model: &Arc<Model>, adapter: Option<&Arc<Adapter>>) -> Result<Score> {
        let mut score = Score::default();
        if self.asked.is_empty() {
            return Ok(score);
        }
        let context_length = self.settings.context_length + bantam::virtual_tokens(adapter);
        let settings = Settings { context_length, ..self.settings.clone() };
        let engine = Engine::start(Arc::clone(model), settings)?;
        let streams = self.asked.iter().map(|question| {
            engine.submit(Request {
                prompt: question.prompt.clone(),
                max_tokens: Some(question.wanted.len() + ANSWER_MAX / 2),
                stop_tokens: self.tokenizer.stops().to_vec(),
                adapter: adapter.cloned(),
                ..Request::default()
            })
        });
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        for (question, stream) in self.asked.iter().zip(streams) {
            let (found, _) = stream.answer()?;
            let [prompt, wanted, found] =
                [&question.prompt, &question.wanted, &found].map(|ids| self.text(ids));
            score.samples.push(Sample { prompt, wanted, found });
        }
        Ok(score)
    }

    fn text(&self, ids: &[u32]) -> String {
        self.tokenizer.to_text(ids, Shown::Text)
    }
}

/// What stands before the first answer of an example, and the answer.
fn question(example: &Example) -> Option<Question> {
    let begin = example.learn.iter().position(|learn| *learn).filter(|begin| *begin > 1)?;
    let length = example.learn[begin..].iter().take_while(|learn| **learn).count();
    let (prompt, wanted) = (example.ids[..begin].to_vec(), example.ids[begin..begin + length].to_vec());
    Some(Question { prompt, wanted })
}
