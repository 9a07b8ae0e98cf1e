//! `POST /v1/rerank`, `/v2/rerank`, `/rerank`: how well texts answer a question, in the forms of Jina, Cohere and
//! llama.cpp's server, and where they are called `texts`, in that of text-embeddings-inference.
//!
//! By itself the score is the cosine of the two embeddings, which is as good as the model's embeddings are. With
//! `"method": "yes_no"` a model that chats is asked whether the text answers the question, and the score is how much of
//! the probability of `yes` and `no` together is `yes`: a model that was made for it judges so, a small one that was
//! not hardly knows better than chance.

use std::sync::Arc;

use axum::response::Response;
use bantam_engine::Stopping;
use bantam_text::{Special, Thinking, Tokenizer};
use serde_json::{Map, Value, json};

use crate::answer::{Answers, Whole};
use crate::ask::{Ask, Chat, Prompt};
use crate::clock;
use crate::dialect::json_reply;
use crate::fault::Fault;
use crate::fields::{Fields, wrong};
use crate::limits::INPUTS_MAX;
use crate::messages::made;
use crate::models::Model;
use crate::state::App;
use crate::vectors::{self, Shape, TooLong};

/// Orders documents by their scores, best first.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn rerank(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let model = &app.models.open(&fields).await?;
    // Where they are `texts`, the reply is a list of scores.
    let is_list = fields.value("documents").is_none() && fields.value("texts").is_some();
    let documents = documents(&fields, if is_list { "texts" } else { "documents" })?;
    let query = fields.needed_text("query")?;
    let top_n = fields.count("top_n")?.unwrap_or(documents.len());
    let tells = fields.flag(if is_list { "return_text" } else { "return_documents" })?.unwrap_or(false);
    let (scores, tokens) = match fields.text("method")? {
        None | Some("cosine") => {
            by_cosine(model, query, &documents, Shape::read(&fields, &model.served)?).await?
        }
        Some("yes_no") => by_answer(model, query, &documents).await?,
        Some(_) => return Err(fields.wrong("method", "cosine or yes_no")),
    };
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order.truncate(top_n);
    if is_list {
        let scored = |index: usize| {
            let text = tells.then(|| documents[index].as_str());
            json!({ "index": index, "score": scores[index], "text": text })
        };
        return Ok(json_reply(&order.into_iter().map(scored).collect()));
    }
    let result = |index: &usize| {
        let mut result = json!({ "index": index, "relevance_score": scores[*index] });
        if tells {
            result["document"] = json!({ "text": documents[*index] });
        }
        result
    };
    Ok(json_reply(&json!({
        "id": clock::id("rerank-"),
        "object": "list",
        "model": model.name,
        "results": order.iter().map(result).collect::<Vec<Value>>(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        "meta": { "billed_units": { "search_units": 0 } },
    })))
}

/// Texts, or objects with a `text`.
fn documents(fields: &Fields<'_>, name: &str) -> Result<Vec<String>, Fault> {
    let list = fields.needed_list(name)?;
    if list.is_empty() || list.len() > INPUTS_MAX {
        return Err(fields.wrong(name, &format!("from 1 to {INPUTS_MAX} documents")));
    }
    let document = |(at, value): (usize, &Value)| {
        let text = value.as_str().or_else(|| value["text"].as_str());
        let wanted = "a string or an object with a `text`";
        text.map(str::to_owned).ok_or_else(|| wrong(&format!("{name}[{at}]"), wanted, value))
    };
    list.iter().enumerate().map(document).collect()
}

async fn by_cosine(
    model: &Arc<Model>,
    query: &str,
    documents: &[String],
    shape: Shape,
) -> Result<(Vec<f64>, usize), Fault> {
    let texts = std::iter::once(query).chain(documents.iter().map(String::as_str));
    let inputs = texts.map(|text| Prompt::Text(text.to_owned())).collect();
    let mut found = vectors::of(model, inputs, shape.pooling, TooLong::Cut).await?;
    found.vectors.iter_mut().for_each(|vector| shape.fit(vector));
    let query = found.vectors.remove(0);
    let scores = found.vectors.iter().map(|vector| vectors::cosine(&query, vector)).collect();
    Ok((scores, found.prompt_tokens))
}

async fn by_answer(
    model: &Arc<Model>,
    query: &str,
    documents: &[String],
) -> Result<(Vec<f64>, usize), Fault> {
    let prompt = |document: &String| {
        let system =
            "Judge whether the document answers the query. The answer can only be \"yes\" or \"no\".";
        let user = format!("<Query>: {query}\n<Document>: {document}");
        let messages = vec![made("system", system), made("user", &user)];
        Prompt::Chat(Chat { messages, thinking: Thinking::switched(false), ..Chat::default() })
    };
    let mut ask = Ask::new(Prompt::Ids(Vec::new()), &model.served);
    ask.prompts = documents.iter().map(prompt).collect();
    (ask.max_tokens, ask.top_logprobs) = (Some(1), Some(model.served.vocab_size));
    // A token that ends the answer would not be told, nor the others with it.
    (ask.stopping, ask.sampling.temperature) = (Stopping::Forbidden, 0.0);
    let answers = Answers::begin(Arc::clone(model), ask).await?.collect().await?;
    let [yes, no] = [["yes", "Yes"], ["no", "No"]].map(|words| ids(&model.served.tokenizer, words));
    let scores = answers.iter().map(|answer| share(answer, &yes, &no)).collect();
    Ok((scores, answers.iter().map(|answer| answer.summary.usage.prompt_tokens).sum()))
}

/// The tokens that such an answer may begin with.
fn ids(tokenizer: &Tokenizer, words: [&str; 2]) -> Vec<u32> {
    let spellings = words.into_iter().flat_map(|word| [word.to_owned(), format!(" {word}")]);
    let first = |text: String| tokenizer.to_ids(&text, Special::AsText).ok().filter(|ids| ids.len() == 1);
    spellings.filter_map(first).flatten().collect()
}

/// How much of both is `yes`; half where neither can be.
fn share(answer: &Whole, yes: &[u32], no: &[u32]) -> f64 {
    let likely = answer.tokens.first().map(|token| token.top.as_slice()).unwrap_or_default();
    let sum = |ids: &[u32]| -> f64 {
        let own = likely.iter().filter(|(id, _)| ids.contains(id));
        own.map(|(_, logprob)| f64::from(*logprob).exp()).sum()
    };
    let (yes, no) = (sum(yes), sum(no));
    if yes + no > 0.0 { yes / (yes + no) } else { 0.5 }
}
