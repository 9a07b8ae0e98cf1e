//! `/api/pull`, `/api/create`, `/api/copy`, `/api/delete`, `/api/blobs`: what changes the models that there are.

use std::io::{self, Read};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

use super::modelfile;
use crate::dialect::{Dialect, json_reply};
use crate::fault::{Fault, Kind};
use crate::fields::Fields;
use crate::library::{Library, Progress, Recipe};
use crate::limits::FILE_PAUSE_MAX;
use crate::refusal::Refusal;
use crate::state::App;
use crate::wire;

/// `POST /api/pull`
///
/// # Errors
///
/// A field of the wrong type; without a stream, why it failed.
pub(crate) async fn pull(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let name = named(&fields)?;
    lasting(app, &fields, move |library, tell| {
        if !tell(status("pulling manifest")) {
            return Ok(());
        }
        library.pull(&name, tell)
    })
    .await
}

/// `POST /api/create`: from another model or from blobs, with what is added to them.
///
/// # Errors
///
/// What is wrong with the request; without a stream, why it failed.
pub(crate) async fn create(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let (name, recipe) = (named(&fields)?, recipe(&fields)?);
    lasting(app, &fields, move |library, tell| {
        tell(status("creating model"));
        library.create(&name, &recipe)?;
        tell(status("writing manifest"));
        Ok(())
    })
    .await
}

/// `POST /api/copy`
///
/// # Errors
///
/// A model that is not there; a name that cannot be one.
pub(crate) async fn copy(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let fields = Fields::new(&body);
    let from = fields.needed_text("source")?.to_owned();
    let to = fields.needed_text("destination")?.to_owned();
    app.models.change(move |library| library.copy(&from, &to)).await?;
    Ok(Response::new(Body::empty()))
}

/// `DELETE /api/delete`
///
/// # Errors
///
/// A model that is not there.
pub(crate) async fn delete(app: Arc<App>, body: Map<String, Value>) -> Result<Response, Fault> {
    let name = named(&Fields::new(&body))?;
    app.models.change(move |library| library.delete(&name)).await?;
    Ok(Response::new(Body::empty()))
}

/// `HEAD /api/blobs/DIGEST`
///
/// # Errors
///
/// What is no digest; a blob that is not there.
pub(crate) async fn has_blob(app: Arc<App>, digest: String) -> Result<Response, Fault> {
    if app.models.ask(move |library| library.has_blob(&digest)).await? {
        return Ok(Response::new(Body::empty()));
    }
    Err(Fault::new(Kind::NotFound, "there is no such blob"))
}

/// `POST /api/blobs/DIGEST`: its bytes, which may be many and are never all in memory.
///
/// # Errors
///
/// What is no digest; bytes that have another; a disk that is full.
pub(crate) async fn put_blob(app: Arc<App>, digest: String, request: Request) -> Result<Response, Fault> {
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let (out, parts) = channel(PARTS_WAITING_MAX);
    let send = async move {
        let mut stream = request.into_body().into_data_stream();
        loop {
            let part = match timeout(FILE_PAUSE_MAX, stream.next()).await {
                Ok(None) => return,
                Ok(Some(part)) => part.map_err(io::Error::other),
                Err(_) => Err(io::Error::other("nothing came for too long")),
            };
            let has_ended = part.is_err();
            if out.send(part).await.is_err() || has_ended {
                return;
            }
        }
    };
    let put = app.models.ask(move |library| {
        library.put_blob(&digest, &mut Parts { parts, part: Bytes::new() }, announced.unwrap_or(0))
    });
    let (put, ()) = futures_util::future::join(put, send).await;
    put?;
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::CREATED;
    Ok(reply)
}

/// Parts of a file that wait to be written.
const PARTS_WAITING_MAX: usize = 8;

/// What comes over the network, as a reader that waits.
struct Parts {
    parts: Receiver<io::Result<Bytes>>,
    part: Bytes,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => self.part = part?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.part.len());
        buffer[..count].copy_from_slice(&self.part.split_to(count));
        Ok(count)
    }
}

fn named(fields: &Fields<'_>) -> Result<String, Fault> {
    let name = match fields.text("model")? {
        Some(name) => name,
        None => fields.needed_text("name")?,
    };
    Ok(name.to_owned())
}

fn recipe(fields: &Fields<'_>) -> Result<Recipe, Fault> {
    if fields.text("quantize")?.is_some_and(|storage| !storage.is_empty()) {
        return Err(Fault::unsupported("quantize", ": bring the file as it is to be stored"));
    }
    let mut recipe = match fields.text("modelfile")? {
        Some(text) => modelfile::parse(text)?,
        None => Recipe::default(),
    };
    let text = |name: &str, own: &mut Option<String>| -> Result<(), Fault> {
        if let Some(text) = fields.text(name)?.filter(|text| !text.is_empty()) {
            *own = Some(text.to_owned());
        }
        Ok(())
    };
    text("from", &mut recipe.from)?;
    text("system", &mut recipe.system)?;
    text("template", &mut recipe.template)?;
    recipe.files = blobs(fields, "files")?;
    recipe.adapters = blobs(fields, "adapters")?;
    recipe.parameters.extend(fields.map("parameters")?.cloned().unwrap_or_default());
    if let Some(messages) = fields.list("messages")? {
        recipe.messages = messages.to_vec();
    }
    if recipe.from.is_none() && recipe.files.is_empty() {
        return Err(fields.missing("from", "the name of a model, or `files` with the digests of blobs"));
    }
    Ok(recipe)
}

/// Names of files with the digests of their blobs.
fn blobs(fields: &Fields<'_>, name: &str) -> Result<Vec<(String, String)>, Fault> {
    let digest = |(file, digest): (&String, &Value)| {
        let digest = digest.as_str().ok_or_else(|| fields.wrong(name, "names with digests as strings"))?;
        Ok((file.clone(), digest.to_owned()))
    };
    fields.map(name)?.into_iter().flatten().map(digest).collect()
}

fn status(status: &str) -> Progress {
    Progress { status: status.into(), ..Progress::default() }
}

/// Does something that lasts and tells how far it is, a line at a time unless the client wants one word at the end. It
/// is stopped when the client goes away.
async fn lasting(
    app: Arc<App>,
    fields: &Fields<'_>,
    work: impl FnOnce(&dyn Library, &mut dyn FnMut(Progress) -> bool) -> Result<(), Refusal> + Send + 'static,
) -> Result<Response, Fault> {
    let wants_stream = fields.flag("stream")?.unwrap_or(true);
    let (out, lines) = channel::<Value>(LINES_WAITING_MAX);
    let models = app.models.clone();
    let told = out.clone();
    let done = async move {
        let mut tell = move |progress: Progress| told.blocking_send(line(&progress)).is_ok();
        models.change(move |library| work(library, &mut tell)).await
    };
    if !wants_stream {
        let mut lines = lines;
        drop(out);
        let drained = async { while lines.recv().await.is_some() {} };
        let (done, ()) = futures_util::future::join(done, drained).await;
        return done.map(|()| json_reply(&json!({ "status": "success" })));
    }
    tokio::spawn(async move {
        let last = match done.await {
            Ok(()) => json!({ "status": "success" }),
            Err(fault) => Dialect::Ollama.error(&fault),
        };
        // Nobody may be there to hear it.
        let _ = out.send(last).await;
    });
    let stream = unfold(lines, |mut lines| async move {
        let value = lines.recv().await?;
        Some((io::Result::Ok(Bytes::from(wire::line(&value))), lines))
    });
    let mut reply = Response::new(Body::from_stream(stream));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(reply)
}

/// Lines that wait for a slow client.
const LINES_WAITING_MAX: usize = 64;

fn line(progress: &Progress) -> Value {
    let mut line = Map::new();
    line.insert("status".into(), json!(progress.status));
    if let Some(part) = &progress.part {
        line.insert("digest".into(), json!(part));
    }
    if let Some(total) = progress.total_bytes {
        line.insert("total".into(), json!(total));
        line.insert("completed".into(), json!(progress.completed_bytes));
    }
    Value::Object(line)
}
