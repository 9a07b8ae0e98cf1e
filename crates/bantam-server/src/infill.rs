//! `POST /infill`: the gap between two texts, as llama.cpp's server has it for editors.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::answer::{Answers, Ended, Piece, Summary};
use crate::ask::{Ask, Prompt, check_stops};
use crate::deadline;
use crate::dialect::{Dialect, json_reply};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::fill::Fill;
use crate::sampling;
use crate::state::App;
use crate::wire::{self, Frames, Wire};

/// Files that come with a gap, at most.
const FILES_MAX: usize = 1024;

/// Fills a gap.
///
/// # Errors
///
/// What is wrong with the request; a model that fills none.
pub(crate) async fn infill(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = &app.models.open(&fields).await?;
    let mut ask = Ask::new(Prompt::Fill(fill(&fields)?), &model.served);
    sampling::read(&fields, &mut ask.sampling)?;
    ask.stops = fields.texts("stop")?;
    check_stops(&ask.stops, "stop")?;
    // Below zero is as many as there is room for.
    ask.max_tokens = fields.integer("n_predict")?.and_then(|most| usize::try_from(most).ok());
    ask.time_max = deadline::read(&fields)?;
    let wants_stream = fields.flag("stream")?.unwrap_or(false);
    let parts = Parts { model: model.name.clone() };
    let answers = Answers::begin(Arc::clone(model), ask).await?;
    if wants_stream {
        return Ok(wire::stream(answers, parts, Frames::Events { ping: ": ping\n\n" }));
    }
    let all = answers.collect().await?;
    let whole = all.first().map(|answer| parts.end(&answer.text, &answer.summary));
    Ok(json_reply(&whole.unwrap_or_default()))
}

fn fill(fields: &Fields<'_>) -> Result<Fill, Fault> {
    let text = |name: &str| Ok::<String, Fault>(fields.text(name)?.unwrap_or_default().to_owned());
    let extra = fields.list("input_extra")?.unwrap_or_default();
    if extra.len() > FILES_MAX {
        return Err(fields.wrong("input_extra", &format!("at most {FILES_MAX} files")));
    }
    let file = |(at, value): (usize, &Value)| {
        let file = Fields::at(value, format!("input_extra[{at}]"))?;
        let name = file.text("filename")?.unwrap_or("tmp");
        Ok((name.to_owned(), file.needed_text("text")?.to_owned()))
    };
    Ok(Fill {
        prefix: text("input_prefix")?,
        suffix: text("input_suffix")?,
        field: "input_suffix",
        begun: text("prompt")?,
        files: extra.iter().enumerate().map(file).collect::<Result<_, Fault>>()?,
    })
}

/// The parts of a stream, of which the last says how it went.
pub(crate) struct Parts {
    pub(crate) model: String,
}

impl Parts {
    pub(crate) fn part(&self, text: &str, stop: bool) -> Value {
        json!({ "index": 0, "content": text, "stop": stop, "model": self.model, "id_slot": 0 })
    }

    pub(crate) fn end(&self, text: &str, summary: &Summary) -> Value {
        let (usage, times) = (&summary.usage, &summary.timings);
        let (stop_type, word) = match &summary.ended {
            Ended::Stop | Ended::Calls => ("eos", ""),
            Ended::StopString(stop) => ("word", stop.as_str()),
            Ended::Length | Ended::Expired => ("limit", ""),
        };
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        let read = usage.prompt_tokens.saturating_sub(usage.reused_tokens);
        // The first token comes with the end of the prompt.
        let decoded = usage.generated_tokens.saturating_sub(1);
        let each = |time: std::time::Duration, count: usize| match u32::try_from(count) {
            Ok(0) | Err(_) => std::time::Duration::ZERO,
            Ok(count) => time / count,
        };
        let per_second = |count: usize, time: std::time::Duration| {
            if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
        };
        let mut part = self.part(text, true);
        part["stop_type"] = json!(stop_type);
        part["stopping_word"] = json!(word);
        part["expired"] = json!(summary.ended == Ended::Expired);
        part["truncated"] = json!(false);
        part["tokens_predicted"] = json!(usage.generated_tokens);
        part["tokens_evaluated"] = json!(usage.prompt_tokens);
        part["tokens_cached"] = json!(usage.reused_tokens);
        part["timings"] = json!({
            "cache_n": usage.reused_tokens,
            "prompt_n": read,
            "prompt_ms": ms(times.prefill),
            "prompt_per_second": per_second(read, times.prefill),
            "prompt_per_token_ms": ms(each(times.prefill, read)),
            "predicted_n": usage.generated_tokens,
            "predicted_ms": ms(times.decode),
            "predicted_per_second": per_second(decoded, times.decode),
            "predicted_per_token_ms": ms(each(times.decode, decoded)),
        });
        part
    }
}

impl Wire for Parts {
    fn piece(&mut self, _: usize, piece: Piece) -> String {
        match piece {
            Piece::Chunk(chunk) => wire::event(None, &self.part(&chunk.text, false)),
            Piece::Done(summary) => wire::event(None, &self.end("", &summary)),
            Piece::Prompt(_) | Piece::Vector(_) | Piece::Call(..) | Piece::Failed(_) => String::new(),
        }
    }

    fn fault(&mut self, fault: &Fault) -> String {
        wire::event(None, &Dialect::OpenAi.error(fault))
    }
}
