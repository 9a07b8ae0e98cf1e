//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::prompts;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::limits::INPUTS_MAX;
use crate::state::App;
use crate::vectors::{self, TooLong, Vectors};

/// A vector of length 1 for each input.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn embeddings(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = &app.models.open(&fields).await?;
    let inputs = prompts::read(&fields, "input", INPUTS_MAX)?;
    let told = match fields.text("encoding_format")? {
        None | Some("float") => |vector: &Vec<f32>| json!(vector),
        Some("base64") => |vector: &Vec<f32>| json!(base64(vector)),
        Some(_) => return Err(fields.wrong("encoding_format", "float or base64")),
    };
    let shape = vectors::Shape::read(&fields, &model.served)?;
    let Vectors { mut vectors, prompt_tokens } =
        vectors::of(model, inputs, shape.pooling, TooLong::Refuse).await?;
    vectors.iter_mut().for_each(|vector| shape.fit(vector));
    let entry = |(index, vector)| json!({ "object": "embedding", "index": index, "embedding": told(vector) });
    Ok(json_reply(&json!({
        "object": "list",
        "data": vectors.iter().enumerate().map(entry).collect::<Vec<Value>>(),
        "model": model.name,
        "usage": { "prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens },
    })))
}

/// The numbers' bytes, little end first, in RFC 4648's alphabet: what OpenAI's clients ask for by themselves.
fn base64(vector: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = bits >> (18 - 6 * place) & 63;
            out.push(if place > group.len() { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `base64.b64encode(struct.pack("<..f", ..))` has them in Python.
    #[test]
    fn numbers_become_base64() {
        assert_eq!(base64(&[]), "");
        assert_eq!(base64(&[1.0]), "AACAPw==");
        assert_eq!(base64(&[1.0, -2.5]), "AACAPwAAIMA=");
        assert_eq!(base64(&[0.1, 3.0e38, -0.0]), "zczMPeaxYX8AAACA");
    }
}
