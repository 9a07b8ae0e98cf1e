//! Texts as vectors: one for each, pooled from the model's last hidden states.

use std::sync::Arc;

use bantam_engine::Pooling;
use bantam_text::Special;
use tokio::task::spawn_blocking;

use crate::answer::Answers;
use crate::ask::{Ask, Prompt};
use crate::fault::broken;
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::models::Model;
use crate::served::Served;

/// What becomes of an input that the context does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooLong {
    /// It is refused with both numbers.
    Refuse,
    /// Its end is left out.
    Cut,
}

/// Vectors, as the model gives them.
pub(crate) struct Vectors {
    pub(crate) vectors: Vec<Vec<f32>>,
    /// Tokens of all inputs.
    pub(crate) prompt_tokens: usize,
}

/// Which vectors are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) pooling: Pooling,
    /// So many numbers of each; all if `None`.
    dimensions: Option<usize>,
}

impl Shape {
    /// `dimensions` and `pooling` of a request.
    ///
    /// # Errors
    ///
    /// More dimensions than there are, and other poolings.
    pub(crate) fn read(fields: &Fields<'_>, served: &Served) -> Result<Self, Fault> {
        let dimensions = fields.count("dimensions")?;
        if dimensions.is_some_and(|count| !(1..=served.embedding_size).contains(&count)) {
            return Err(fields.wrong("dimensions", &format!("from 1 to {}", served.embedding_size)));
        }
        let pooling = match fields.text("pooling")? {
            None => served.pooling,
            Some("mean") => Pooling::Mean,
            Some("last") => Pooling::Last,
            Some("cls") => Pooling::First,
            Some(_) => return Err(fields.wrong("pooling", "mean, last or cls")),
        };
        Ok(Shape { pooling, dimensions })
    }

    /// Cuts a vector, and then makes it of length 1; a zero vector stays as it is.
    pub(crate) fn fit(&self, vector: &mut Vec<f32>) {
        vector.truncate(self.dimensions.unwrap_or(usize::MAX));
        let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let scale = if squares > 0.0 { squares.sqrt().recip() } else { 1.0 };
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
    }
}

/// The cosine of the angle between two vectors of length 1, which they have but for their last bits.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    product.clamp(-1.0, 1.0)
}

/// A vector for each text or list of tokens.
///
/// # Errors
///
/// What is wrong with an input; a queue that is full.
pub(crate) async fn of(
    model: &Arc<Model>,
    inputs: Vec<Prompt>,
    pooling: Pooling,
    too_long: TooLong,
) -> Result<Vectors, Fault> {
    let framed = Arc::clone(model);
    let work = move || {
        let frame = |input| frame(input, too_long, &framed.served);
        inputs.into_iter().map(frame).collect::<Result<Vec<Prompt>, Fault>>()
    };
    let prompts = spawn_blocking(work).await.map_err(|_| broken("reading the input broke off"))??;
    let mut ask = Ask::new(Prompt::Ids(Vec::new()), &model.served);
    (ask.prompts, ask.max_tokens, ask.pooling) = (prompts, Some(0), Some(pooling));
    let of_input = |fault: Fault| match fault.kind {
        Kind::Invalid => Fault { param: fault.param.or(Some("input".into())), ..fault },
        _ => fault,
    };
    let answers = Answers::begin(Arc::clone(model), ask).await.map_err(of_input)?.collect().await?;
    let prompt_tokens = answers.iter().map(|answer| answer.summary.usage.prompt_tokens).sum();
    Ok(Vectors { vectors: answers.into_iter().map(|answer| answer.vector).collect(), prompt_tokens })
}

/// An input's tokens, a text's with all that the tokeniser puts around it.
fn frame(input: Prompt, too_long: TooLong, served: &Served) -> Result<Prompt, Fault> {
    let tokenizer = &served.tokenizer;
    let mut ids = match &input {
        Prompt::Text(text) => tokenizer
            .to_ids(text, Special::AsText)
            .map_err(|error| Fault::field("input", error.to_string()))?,
        Prompt::Ids(_) | Prompt::Chat(_) | Prompt::Fill(_) => return Ok(input),
    };
    if too_long == TooLong::Cut {
        let frame = tokenizer.prefix().len() + tokenizer.suffix().len();
        ids.truncate(served.context_length.saturating_sub(frame));
    }
    Ok(Prompt::Ids(tokenizer.frame(ids)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_cut_and_then_of_length_one() {
        let shape = Shape { pooling: Pooling::Mean, dimensions: Some(2) };
        let mut vector = vec![3.0, 4.0, 100.0];
        shape.fit(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        assert!((cosine(&vector, &vector) - 1.0).abs() < 1e-6);
        let mut zero = vec![0.0; 3];
        shape.fit(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
