//! `POST /api/embed`, and `/api/embeddings`, which came before it.

use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::nanos;
use crate::ask::Prompt;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::INPUTS_MAX;
use crate::state::App;
use crate::vectors::{self, Shape, TooLong, Vectors};

/// A vector of length 1 for each input; of long ones the end is left out, unless `truncate` is false.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn embed(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let (fields, begun) = (Fields::new(&body), Instant::now());
    fields.needed_text("model")?;
    let model = &app.models.open(&fields).await?;
    let inputs = fields.texts("input")?;
    if inputs.len() > INPUTS_MAX {
        return Err(fields.wrong("input", &format!("at most {INPUTS_MAX} texts")));
    }
    let shape = Shape::read(&fields, &model.served)?;
    let too_long = if fields.flag("truncate")?.unwrap_or(true) { TooLong::Cut } else { TooLong::Refuse };
    let inputs: Vec<Prompt> = inputs.into_iter().map(Prompt::Text).collect();
    // No input at all is how clients have a model loaded.
    let Vectors { mut vectors, prompt_tokens } = match inputs.is_empty() {
        true => Vectors { vectors: Vec::new(), prompt_tokens: 0 },
        false => vectors::of(model, inputs, shape.pooling, too_long).await?,
    };
    vectors.iter_mut().for_each(|vector| shape.fit(vector));
    Ok(json_reply(&json!({
        "model": model.name,
        "embeddings": vectors,
        "total_duration": nanos(begun.elapsed()),
        "load_duration": 0,
        "prompt_eval_count": prompt_tokens,
    })))
}

/// The vector of one text, as the model gives it and not of length 1.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn embeddings(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    fields.needed_text("model")?;
    let model = &app.models.open(&fields).await?;
    let prompt = fields.text("prompt")?.unwrap_or_default();
    if prompt.is_empty() {
        return Ok(json_reply(&json!({ "embedding": [] })));
    }
    let (inputs, pooling) = (vec![Prompt::Text(prompt.to_owned())], model.served.pooling);
    let vectors = vectors::of(model, inputs, pooling, TooLong::Cut).await?.vectors;
    Ok(json_reply(&json!({ "embedding": vectors.first() })))
}
