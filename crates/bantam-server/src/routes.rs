//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::{Map, Value};

use crate::deadline;
use crate::dialect::Dialect;
use crate::fault::{Fault, Kind};
use crate::openai::{conversations, responses};
use crate::state::App;
use crate::{
    anthropic, completion, fields, guard, infill, lora, metrics, native, notes, ollama, openai, openapi,
    page, props, rerank,
};

type Shared = State<Arc<App>>;

/// All paths, behind the guard.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .merge(of_openai())
        .merge(of_anthropic())
        .merge(of_ollama())
        .merge(unversioned())
        .merge(of_native())
        .merge(page::router())
        .fallback(|request: Request| async move { no_path(&request) })
        .method_not_allowed_fallback(|method: Method, request: Request| async move {
            refused(
                &request,
                &Fault::new(Kind::Method, format!("this path does not know the method {method}")),
            )
        })
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

fn of_openai() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/models", get(|State(app): Shared| async move { openai::models(&app).await }))
        .route(
            "/v1/models/{*name}",
            get(|State(app): Shared, Path(name): Path<String>| async move {
                told(Dialect::OpenAi, openai::model(&app, &name).await)
            }),
        )
        .route("/v1/chat/completions", post(|State(app): Shared, r: Request| asked(app, r, openai::chat)))
        .route("/v1/completions", post(|State(app): Shared, r: Request| asked(app, r, openai::completions)))
        .route("/v1/embeddings", post(|State(app): Shared, r: Request| asked(app, r, openai::embeddings)))
        .route("/v1/responses", post(|State(app): Shared, r: Request| asked(app, r, responses::create)))
        .route(
            "/v1/responses/{id}",
            get(|State(app): Shared, Path(id): Path<String>| async move {
                told(Dialect::OpenAi, responses::retrieve(&app, &id))
            })
            .delete(|State(app): Shared, Path(id): Path<String>| async move {
                told(Dialect::OpenAi, responses::delete(&app, &id))
            }),
        )
        .route(
            "/v1/responses/{id}/input_items",
            get(|State(app): Shared, Path(id): Path<String>, RawQuery(query): RawQuery| async move {
                told(Dialect::OpenAi, responses::input_items(&app, &id, query.as_deref()))
            }),
        )
        .merge(of_conversations())
}

fn of_conversations() -> Router<Arc<App>> {
    type Names = Path<(String, String)>;
    Router::new()
        .route(
            "/v1/conversations",
            post(|State(app): Shared, r: Request| {
                asked(app, r, |app, body| async move { conversations::create(&app, &body) })
            }),
        )
        .route(
            "/v1/conversations/{id}",
            get(|State(app): Shared, Path(id): Path<String>| async move {
                told(Dialect::OpenAi, conversations::retrieve(&app, &id))
            })
            .post(|State(app): Shared, Path(id): Path<String>, r: Request| {
                asked(app, r, |app, body| async move { conversations::update(&app, &id, &body) })
            })
            .delete(|State(app): Shared, Path(id): Path<String>| async move {
                told(Dialect::OpenAi, conversations::delete(&app, &id))
            }),
        )
        .route(
            "/v1/conversations/{id}/items",
            get(|State(app): Shared, Path(id): Path<String>, RawQuery(query): RawQuery| async move {
                told(Dialect::OpenAi, conversations::items(&app, &id, query.as_deref()))
            })
            .post(|State(app): Shared, Path(id): Path<String>, r: Request| {
                asked(app, r, |app, body| async move { conversations::add_items(&app, &id, &body) })
            }),
        )
        .route(
            "/v1/conversations/{id}/items/{item}",
            get(|State(app): Shared, Path((id, item)): Names| async move {
                told(Dialect::OpenAi, conversations::item(&app, &id, &item))
            })
            .delete(|State(app): Shared, Path((id, item)): Names| async move {
                told(Dialect::OpenAi, conversations::delete_item(&app, &id, &item))
            }),
        )
}

fn of_anthropic() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/messages", post(|State(app): Shared, r: Request| asked(app, r, anthropic::messages)))
        .route(
            "/v1/messages/count_tokens",
            post(|State(app): Shared, r: Request| asked(app, r, anthropic::count_tokens)),
        )
}

fn of_ollama() -> Router<Arc<App>> {
    Router::new()
        .route("/api/chat", post(|State(app): Shared, r: Request| asked(app, r, ollama::chat)))
        .route("/api/generate", post(|State(app): Shared, r: Request| asked(app, r, ollama::generate)))
        .route("/api/embed", post(|State(app): Shared, r: Request| asked(app, r, ollama::embed)))
        .route("/api/embeddings", post(|State(app): Shared, r: Request| asked(app, r, ollama::embeddings)))
        .route("/api/show", post(|State(app): Shared, r: Request| asked(app, r, ollama::show)))
        .route("/api/tags", get(|State(app): Shared| async move { ollama::tags(&app).await }))
        .route("/api/ps", get(|State(app): Shared| async move { ollama::ps(&app) }))
        .route("/api/pull", post(|State(app): Shared, r: Request| asked(app, r, ollama::pull)))
        .route("/api/create", post(|State(app): Shared, r: Request| asked(app, r, ollama::create)))
        .route("/api/copy", post(|State(app): Shared, r: Request| asked(app, r, ollama::copy)))
        .route("/api/delete", delete(|State(app): Shared, r: Request| asked(app, r, ollama::delete)))
        .route(
            "/api/blobs/{digest}",
            get(|State(app): Shared, Path(digest): Path<String>| async move {
                told(Dialect::Ollama, ollama::has_blob(app, digest).await)
            })
            .post(|State(app): Shared, Path(digest): Path<String>, r: Request| async move {
                told(Dialect::Ollama, ollama::put_blob(app, digest, r).await)
            }),
        )
        .route("/api/version", get(|| async { ollama::version() }))
}

/// What only llama.cpp's server has, and what it also has without `/v1`.
fn unversioned() -> Router<Arc<App>> {
    Router::new()
        .route("/completion", post(|State(app): Shared, r: Request| asked(app, r, completion::completion)))
        .route("/completions", post(|State(app): Shared, r: Request| asked(app, r, completion::completion)))
        .route("/chat/completions", post(|State(app): Shared, r: Request| asked(app, r, openai::chat)))
        .route("/models", get(|State(app): Shared| async move { openai::models(&app).await }))
        .route(
            "/props",
            get(|State(app): Shared| async move { told(Dialect::OpenAi, props::props(&app).await) }),
        )
}

fn of_native() -> Router<Arc<App>> {
    Router::new()
        .route("/health", get(|| async { native::health() }))
        .route("/ready", get(|State(app): Shared| async move { native::ready(&app) }))
        .route("/metrics", get(|State(app): Shared| async move { metrics::metrics(&app) }))
        .route("/openapi.json", get(|State(app): Shared| async move { openapi::openapi(&app) }))
        .route(
            "/tokenizer_info",
            get(|State(app): Shared| async move { told(Dialect::OpenAi, native::tokenizer_info(app).await) }),
        )
        .route("/infill", post(|State(app): Shared, r: Request| asked(app, r, infill::infill)))
        .route("/rerank", post(|State(app): Shared, r: Request| asked(app, r, rerank::rerank)))
        .route("/v1/rerank", post(|State(app): Shared, r: Request| asked(app, r, rerank::rerank)))
        .route("/v2/rerank", post(|State(app): Shared, r: Request| asked(app, r, rerank::rerank)))
        .route("/lora-adapters", get(|State(app): Shared| async move { lora::list(&app) }))
        .route("/v1/load_lora_adapter", post(|State(app): Shared, r: Request| asked(app, r, lora::load)))
        .route("/v1/unload_lora_adapter", post(|State(app): Shared, r: Request| asked(app, r, lora::unload)))
        .route("/tokenize", post(|State(app): Shared, r: Request| asked(app, r, native::tokenize)))
        .route("/detokenize", post(|State(app): Shared, r: Request| asked(app, r, native::detokenize)))
        .route(
            "/apply-template",
            post(|State(app): Shared, r: Request| asked(app, r, native::apply_template)),
        )
}

fn no_path(request: &Request) -> Response {
    let path: String = request.uri().path().chars().take(80).collect();
    let message = format!("there is no path {path} here: GET /openapi.json tells which there are");
    let mut reply = refused(request, &Fault::new(Kind::NotFound, message));
    reply.extensions_mut().insert(guard::NoPath);
    reply
}

fn refused(request: &Request, fault: &Fault) -> Response {
    guard::unread(!request.body().is_end_stream(), Dialect::of(request.uri().path()).refusal(fault))
}

/// Hands the object in a request's body to its handler.
async fn asked<F, R>(app: Arc<App>, request: Request, handler: F) -> Response
where
    F: FnOnce(Arc<App>, Map<String, Value>) -> R,
    R: Future<Output = Result<Response, Fault>>,
{
    let dialect = Dialect::of(request.uri().path());
    let reply = async {
        let time_max = request.headers().get(deadline::HEADER).cloned();
        let mut body = fields::parse(&guard::body(request).await?)?;
        if let Some(ms) = time_max.and_then(|ms| ms.to_str().ok()?.parse::<u64>().ok()) {
            body.entry(deadline::FIELD).or_insert(ms.into());
        }
        handler(app, body).await
    };
    notes::scope(async { told(dialect, reply.await) }).await
}

fn told(dialect: Dialect, reply: Result<Response, Fault>) -> Response {
    reply.unwrap_or_else(|fault| dialect.refusal(&fault))
}
