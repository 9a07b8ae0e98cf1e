//! From a sample to ids and what of them is learnt.
//!
//! The prompt's ids are those that the same text gets when the model is run: the text is cut where the answer
//! begins, and no token reaches across. What is learnt begins with the first token that the model itself has to
//! say, and ends with the one that ends its turn.

use bantam_text::{
    Answer, Begins, ChatTemplate, Conversation, DateTime, Rendered, Shown, Special, Tokenizer,
};
use serde_json::{Map, Value, json};

use crate::chat::Chat;
use crate::fault::Fault;
use crate::form::Sample;
use crate::hash::hash;

/// What of a chat is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learn {
    /// All that the assistant says.
    #[default]
    Answers,
    /// The assistant's last message.
    LastAnswer,
    /// Everything, prompts too.
    Everything,
}

/// Turns what people wrote into ids, as the model reads it.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The model's tokeniser.
    pub tokenizer: Tokenizer,
    /// The model's chat template. Without one, prompts and completions are put side by side.
    pub template: Option<ChatTemplate>,
    /// The system text of chats that have none, and of prompts.
    pub system: Option<String>,
    /// Switches of the template, such as `enable_thinking`: those that the model will be run with.
    pub switches: Map<String, Value>,
    /// The time that the template may tell the model.
    pub now: Option<DateTime>,
    /// What is learnt.
    pub learn: Learn,
}

/// Ids and what of them is learnt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) ids: Vec<u32>,
    pub(crate) learn: Vec<bool>,
    /// Answers whose head is not what the template gives a model that is to answer.
    pub(crate) unprompted: usize,
    /// Answers after which nothing tells the model to stop.
    pub(crate) unended: usize,
    /// Completions that follow their prompt without a space between them.
    pub(crate) glued: usize,
    /// Answers of which the template writes nothing.
    pub(crate) empty: usize,
}

/// What a sample becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lesson {
    /// Several for a chat that is learnt turn by turn.
    Examples(Vec<Encoded>),
    Pair {
        chosen: Encoded,
        rejected: Encoded,
    },
}

impl Lesson {
    /// Equal for lessons that teach the same ids, and for practically no others.
    pub(crate) fn hash(&self) -> u128 {
        let encoded = match self {
            Self::Examples(examples) => examples.iter().collect::<Vec<_>>(),
            Self::Pair { chosen, rejected } => vec![chosen, rejected],
        };
        let marked = encoded.into_iter().flat_map(|one| one.ids.iter().zip(&one.learn));
        let bytes: Vec<u8> = marked
            .flat_map(|(id, learn)| ((u64::from(*id) << 1) | u64::from(*learn)).to_le_bytes())
            .collect();
        let [low, high] = [1, 2].map(|seed| u128::from(hash(&bytes, seed)));
        low | (high << 64)
    }
}

impl Encoder {
    /// An encoder that learns answers, with nothing set.
    pub fn new(tokenizer: Tokenizer, template: Option<ChatTemplate>) -> Self {
        Self { tokenizer, template, system: None, switches: Map::new(), now: None, learn: Learn::default() }
    }

    /// What the loader makes of a prompt and its completion: ids, and which of them are learnt.
    ///
    /// # Errors
    ///
    /// What the tokeniser or the template refuses, and completions of which they leave nothing.
    pub fn completion_example(&self, prompt: &str, completion: &str) -> Result<(Vec<u32>, Vec<bool>), Fault> {
        let sample = Sample::Completion { prompt: prompt.into(), completion: completion.into() };
        let example = self.examples(&sample, self.learn)?.pop();
        let example = example.ok_or(Fault::NothingToLearn("the template writes no answer"))?;
        Ok((example.ids, example.learn))
    }

    pub(crate) fn lesson(&self, sample: &Sample) -> Result<Lesson, Fault> {
        match sample {
            Sample::Preference { chosen, rejected } => {
                let chosen = self.side(chosen)?;
                let rejected = self.side(rejected)?;
                Ok(Lesson::Pair { chosen, rejected })
            }
            other => self.examples(other, self.learn).map(Lesson::Examples),
        }
    }

    /// One half of a pair: its last answer, if its chat is learnt turn by turn.
    fn side(&self, sample: &Sample) -> Result<Encoded, Fault> {
        let examples = self.examples(sample, Learn::Answers)?;
        examples.into_iter().next_back().ok_or(Fault::NothingToLearn("the template writes no answer"))
    }

    fn examples(&self, sample: &Sample, learn: Learn) -> Result<Vec<Encoded>, Fault> {
        let examples = match (sample, &self.template) {
            (Sample::Text(text), _) => vec![self.text(text)?],
            (Sample::Completion { prompt, completion }, None) => {
                vec![self.completion(prompt, completion, learn)?]
            }
            (Sample::Completion { prompt, completion }, Some(template)) => {
                let messages = [
                    json!({ "role": "user", "content": prompt }),
                    json!({ "role": "assistant", "content": completion }),
                ];
                self.chat(template, &Chat::new(&messages, None, 0)?, learn)?
            }
            (Sample::Chat(chat), Some(template)) => self.chat(template, chat, learn)?,
            (Sample::Chat(_), None) => return Err(Fault::NoTemplate),
            (Sample::Preference { .. }, _) => Vec::new(),
        };
        if examples.iter().all(|example| !example.learn.contains(&true)) {
            return Err(Fault::NothingToLearn("the template or the tokeniser leaves nothing of the answer"));
        }
        Ok(examples.into_iter().filter(|example| example.learn.contains(&true)).collect())
    }

    fn text(&self, text: &str) -> Result<Encoded, Fault> {
        let mut ids = self.tokenizer.begin(self.tokenizer.to_ids(text, Special::AsText)?);
        self.end(&mut ids);
        let learn = all_but_first(ids.len());
        Ok(Encoded { ids, learn, ..Encoded::default() })
    }

    fn completion(&self, prompt: &str, completion: &str, learn: Learn) -> Result<Encoded, Fault> {
        let prompt = match &self.system {
            Some(system) => format!("{system}\n\n{prompt}"),
            None => prompt.to_owned(),
        };
        let text = [prompt.as_str(), completion].concat();
        let (ids, places) = self.tokenizer.to_ids_cut(&text, Special::AsText, &[prompt.len()])?;
        let length = ids.len();
        let mut ids = self.tokenizer.begin(ids);
        let begin = places.first().copied().unwrap_or(0) + ids.len() - length;
        self.end(&mut ids);
        let learn = match learn {
            Learn::Everything => all_but_first(ids.len()),
            Learn::Answers | Learn::LastAnswer => (0..ids.len()).map(|i| i >= begin.max(1)).collect(),
        };
        let is_parted = prompt.ends_with(char::is_whitespace) || completion.starts_with(char::is_whitespace);
        Ok(Encoded { ids, learn, glued: usize::from(!is_parted), ..Encoded::default() })
    }

    /// Puts the end of a text, unless it is there.
    fn end(&self, ids: &mut Vec<u32>) {
        ids.extend(self.tokenizer.roles().eos.filter(|eos| ids.last() != Some(eos)));
    }

    fn chat(&self, template: &ChatTemplate, chat: &Chat, learn: Learn) -> Result<Vec<Encoded>, Fault> {
        let system =
            self.system.as_ref().filter(|_| chat.messages.first().is_some_and(|m| m["role"] != "system"));
        let system = system.map(|text| json!({ "role": "system", "content": text }));
        let shift = usize::from(system.is_some());
        let rendered = self.rendered(template, chat, system.as_ref()).or_else(|error| {
            // The template may want arguments as text; if it fails again, the first reason is the better one.
            let written = chat.with_written_arguments();
            written.and_then(|chat| self.rendered(template, &chat, system.as_ref()).ok()).ok_or(error)
        })?;
        let learnt: Vec<usize> = match learn {
            Learn::Answers => chat.learnt.iter().map(|at| at + shift).collect(),
            Learn::LastAnswer => chat.learnt.last().iter().map(|at| **at + shift).collect(),
            Learn::Everything => {
                let last = rendered.into_iter().next_back().into_iter();
                return Ok(last.map(|rendered| self.everything(rendered)).collect());
            }
        };
        let taught = rendered.into_iter().map(|rendered| self.answers(rendered, &learnt));
        Ok(taught.filter(|encoded| encoded.learn.contains(&true)).collect())
    }

    fn rendered(
        &self,
        template: &ChatTemplate,
        chat: &Chat,
        system: Option<&Value>,
    ) -> Result<Vec<Rendered>, Fault> {
        let messages: Vec<Value> = system.into_iter().chain(&chat.messages).cloned().collect();
        let conversation = Conversation {
            messages: &messages,
            tools: chat.tools.as_deref(),
            switches: self.switches.clone(),
            now: self.now,
            ..Conversation::default()
        };
        Ok(template.render_answers(&conversation, &self.tokenizer)?)
    }

    fn everything(&self, mut rendered: Rendered) -> Encoded {
        if let Some(last) = rendered.answers.pop().filter(|last| last.ids.end == rendered.ids.len()) {
            self.ending(&mut rendered.ids, &last);
        }
        let learn = all_but_first(rendered.ids.len());
        Encoded { ids: rendered.ids, learn, ..Encoded::default() }
    }

    /// Learns the answers in these messages, whose places are sorted. What follows the last is cut off: nothing
    /// is learnt from it.
    fn answers(&self, rendered: Rendered, learnt: &[usize]) -> Encoded {
        let mut encoded =
            Encoded { learn: vec![false; rendered.ids.len()], ids: rendered.ids, ..Encoded::default() };
        for answer in rendered.answers.iter().filter(|answer| learnt.binary_search(&answer.message).is_ok()) {
            encoded.unprompted += usize::from(answer.begins == Begins::AfterHead);
            let end = self.ending(&mut encoded.ids, answer);
            encoded.unended += usize::from(end.is_none());
            let end = end.unwrap_or(answer.ids.end);
            encoded.learn.resize(encoded.ids.len(), false);
            let said = &encoded.ids[answer.ids.start.min(end)..end];
            if said.iter().all(|id| self.tokenizer.stops().contains(id)) {
                encoded.empty += 1;
                continue;
            }
            encoded.learn[answer.ids.start.max(1).min(end)..end].fill(true);
        }
        let end = encoded.learn.iter().rposition(|learn| *learn).map_or(0, |last| last + 1);
        encoded.ids.truncate(end);
        encoded.learn.truncate(end);
        encoded
    }

    /// Where an answer ends, with the token that ends its turn; `None` if there is no such token. An answer at
    /// the very end gets one if the template leaves it out.
    fn ending(&self, ids: &mut Vec<u32>, answer: &Answer) -> Option<usize> {
        let is_stop = |id: &u32| self.tokenizer.stops().contains(id);
        let end = answer.ids.end;
        if let Some(last) = ids[answer.ids.clone()].iter().rposition(is_stop) {
            let stop = answer.ids.start + last + 1;
            let rest = self.tokenizer.to_text(&ids[stop..end], Shown::All);
            if rest.trim().is_empty() {
                return Some(stop);
            }
        }
        if end == ids.len() {
            ids.extend(self.tokenizer.roles().eos);
        }
        ids.get(end).filter(|id| is_stop(id)).map(|_| end + 1)
    }
}

fn all_but_first(length: usize) -> Vec<bool> {
    (0..length).map(|i| i > 0).collect()
}
