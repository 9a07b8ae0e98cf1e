//! `POST /completion`: a text goes on, as llama.cpp's server has it.

use std::sync::Arc;

use axum::response::Response;
use bantam_text::Tokenizer;
use serde_json::{Map, Value, json};

use crate::answer::{Answers, Piece, Summary, Token, Whole};
use crate::ask::{Ask, Prompt};
use crate::dialect::{Dialect, json_reply};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::infill::Parts;
use crate::limits::{CHOICES_MAX, TOP_LOGPROBS_MAX};
use crate::logprobs;
use crate::openai::{prompts, settings};
use crate::served::Served;
use crate::state::App;
use crate::wire::{self, Frames, Wire};

/// Continues a text, tokens, or each of a list of them.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn completion(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = &app.models.open(&fields).await?;
    let ask = read(&fields, &model.served)?;
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let told = Told {
        parts: Parts { model: model.name.clone() },
        tokenizer: model.served.tokenizer.clone(),
        settings: settings_of(&ask),
        has_probabilities: fields.count("n_probs")?.is_some_and(|count| count > 0),
        has_new_line: vec![false; ask.prompts.len()],
        has_tokens: wants_stream || fields.flag("return_tokens")?.unwrap_or(false),
    };
    let answers = Answers::begin(Arc::clone(model), ask).await?;
    if wants_stream {
        return Ok(wire::stream(answers, told, Frames::Events { ping: ": ping\n\n" }));
    }
    let all = answers.collect().await?;
    let whole = |(number, answer): (usize, &Whole)| told.whole(number, answer);
    Ok(json_reply(&match all.as_slice() {
        [one] => whole((0, one)),
        more => more.iter().enumerate().map(whole).collect(),
    }))
}

fn read(fields: &Fields<'_>, served: &Served) -> Result<Ask, Fault> {
    let mut ask = Ask::new(Prompt::Ids(Vec::new()), served);
    ask.prompts = prompts::read(fields, "prompt", CHOICES_MAX)?;
    settings::read(fields, &mut ask)?;
    if ask.choices != 1 {
        return Err(fields.wrong("n", "1: send a list of prompts"));
    }
    // Below zero is as many as there is room for.
    let name = if fields.value("n_predict").is_some() { "n_predict" } else { "max_tokens" };
    ask.max_tokens = fields.integer(name)?.and_then(|most| usize::try_from(most).ok());
    if ask.max_tokens == Some(0) {
        return Err(fields.wrong(name, "at least 1, or below 0 for as many as there is room for"));
    }
    let count = fields.count("n_probs")?.unwrap_or(0);
    if count > TOP_LOGPROBS_MAX {
        return Err(fields.wrong("n_probs", &format!("at most {TOP_LOGPROBS_MAX}")));
    }
    // With none of the likeliest there still is the token itself.
    ask.top_logprobs = Some(count);
    Ok(ask)
}

fn settings_of(ask: &Ask) -> Value {
    let sampling = &ask.sampling;
    json!({
        "n_predict": ask.max_tokens.map_or(json!(-1), |most| json!(most)),
        "seed": sampling.seed,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": ask.stops,
    })
}

/// Answers as they are told: parts of a text, and with the last how it went.
struct Told {
    parts: Parts,
    tokenizer: Tokenizer,
    settings: Value,
    has_probabilities: bool,
    has_tokens: bool,
    /// Which answers have a line's end, as far as they have been told.
    has_new_line: Vec<bool>,
}

impl Told {
    /// Some of an answer with its tokens.
    fn with_tokens(&self, mut part: Value, number: usize, tokens: &[Token]) -> Value {
        part["index"] = json!(number);
        let ids = tokens.iter().filter(|_| self.has_tokens).map(|token| token.id);
        part["tokens"] = ids.collect::<Vec<u32>>().into();
        if self.has_probabilities && !tokens.is_empty() {
            part["completion_probabilities"] = logprobs::with_ids(&self.tokenizer, tokens).into();
        }
        part
    }

    fn end(&self, number: usize, text: &str, tokens: &[Token], summary: &Summary) -> Value {
        let mut part = self.with_tokens(self.parts.end(text, summary), number, tokens);
        part["generation_settings"] = self.settings.clone();
        part
    }

    fn whole(&self, number: usize, answer: &Whole) -> Value {
        // What a model thinks is text like any other here.
        let text = answer.thinking.clone() + &answer.text;
        let mut part = self.end(number, &text, &answer.tokens, &answer.summary);
        part["has_new_line"] = json!(text.contains('\n'));
        part
    }
}

impl Wire for Told {
    fn piece(&mut self, number: usize, piece: Piece) -> String {
        match piece {
            Piece::Chunk(chunk) => {
                let text = chunk.thinking + &chunk.text;
                self.has_new_line[number] |= text.contains('\n');
                let part = self.parts.part(&text, false);
                wire::event(None, &self.with_tokens(part, number, &chunk.tokens))
            }
            Piece::Done(summary) => {
                let mut part = self.end(number, "", &[], &summary);
                part["has_new_line"] = json!(self.has_new_line[number]);
                wire::event(None, &part)
            }
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Call(..) | Piece::Failed(_) => String::new(),
        }
    }

    fn fault(&mut self, fault: &Fault) -> String {
        wire::event(None, &Dialect::OpenAi.error(fault))
    }
}
