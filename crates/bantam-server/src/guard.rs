//! The one way in: no request comes past the checks of host, origin, key and content type, whatever its path.
//!
//! Health and the page may be asked for without a key: they tell nothing but themselves.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{FutureExt, StreamExt};
use tokio::time::timeout;

use crate::caller::Caller;
use crate::dialect::Dialect;
use crate::fault::{Fault, Kind};
use crate::limits::{BODY_BYTES_MAX, BODY_TIME_MAX, HEAD_BYTES_MAX};
use crate::state::App;
use crate::{origins, page};

/// Marks the reply to a request for a path that is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoPath;

/// Paths that need no key.
const OPEN: [&str; 2] = ["/health", "/ready"];

/// Lets a request through to its handler, or says why not. A panic behind it is this request's failure alone.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let dialect = Dialect::of(&path);
    let has_body = !request.body().is_end_stream();
    let origin = app.settings.origins.of(request.headers());
    let mut reply = match check(&app, &request) {
        // Browsers ask without a key what they may ask.
        _ if origin.is_some() && origins::is_preflight(&request) => origins::preflight(request.headers()),
        Err(fault) => unread(has_body, dialect.refusal(&fault)),
        Ok(caller) => match AssertUnwindSafe(caller.scope(next.run(request))).catch_unwind().await {
            Ok(reply) => reply,
            Err(_) => dialect.refusal(&crate::fault::broken("the request broke off")),
        },
    };
    harden(reply.headers_mut());
    if let Some(origin) = origin {
        origins::open(reply.headers_mut(), origin);
    }
    let (status, ms) = (reply.status().as_u16(), begun.elapsed().as_millis());
    // The path is the client's own word; of a path that is not there, only that is told.
    let is_there = reply.extensions().get::<NoPath>().is_none();
    let path = if is_there { path.chars().take(80).collect() } else { "(unknown)".to_owned() };
    (app.settings.log)(&format!("{method} {path} {status} {ms} ms"));
    reply
}

/// A refusal of a request whose body nobody reads. The connection cannot go on behind such a body: it is closed, and
/// the client told so, who would else send its next request into nothing.
pub(crate) fn unread(has_body: bool, mut reply: Response) -> Response {
    if has_body {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// No reply but those of the page is one, and none is to be read as anything but what it says it is.
fn harden(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let nothing = HeaderValue::from_static("default-src 'none'");
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(nothing);
}

fn check(app: &App, request: &Request) -> Result<Caller, Fault> {
    let (headers, path) = (request.headers(), request.uri().path());
    check_head(request)?;
    check_path(path)?;
    check_host(app, request)?;
    check_origin(app, headers)?;
    let caller = match path {
        path if OPEN.contains(&path) || page::has(path) => Caller::default(),
        path if is_admins(path) => check_admin(app, headers)?,
        _ => check_key(app, headers)?,
    };
    // Other methods no page can use without asking first.
    if request.method() != Method::POST {
        return Ok(caller);
    }
    if app.is_stopping() {
        return Err(Fault::new(Kind::Stopping, "the server is being stopped"));
    }
    // Blobs are bytes of any kind.
    if !path.starts_with(BLOBS) {
        check_content_type(headers)?;
    }
    Ok(caller)
}

const BLOBS: &str = "/api/blobs/";

/// Whether a path leads to what changes the models that there are.
fn is_admins(path: &str) -> bool {
    let paths = [
        "/api/pull",
        "/api/create",
        "/api/copy",
        "/api/delete",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
    ];
    paths.contains(&path) || path.starts_with(BLOBS)
}

/// What was read of a head at once may be more than the connection would have waited for.
fn check_head(request: &Request) -> Result<(), Fault> {
    let headers = request.headers().iter();
    let headers: usize =
        headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if headers + target <= HEAD_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the headers are too large: wanted at most {HEAD_BYTES_MAX} bytes");
    Err(Fault::new(Kind::HeadTooLarge, message))
}

/// Names in paths are texts.
fn check_path(path: &str) -> Result<(), Fault> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, after @ ..] = rest {
        let hex = after.get(..2).filter(|_| *byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    match String::from_utf8(decoded) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::invalid("the path is wrong: wanted UTF-8, each byte of it as %XX")),
    }
}

fn check_host(app: &App, request: &Request) -> Result<(), Fault> {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let uri = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let mut hosts = header.into_iter().chain(uri).peekable();
    if hosts.peek().is_none() {
        return Err(Fault::invalid("the request has no Host header"));
    }
    match hosts.find(|host| !app.settings.is_own_host(host)) {
        None => Ok(()),
        Some(host) => {
            let host: String = host.chars().take(100).collect();
            let message = format!("host `{host}` is not this server: if it is, start it with --allow-host");
            Err(Fault::new(Kind::Forbidden, message))
        }
    }
}

/// A page of another site may not ask; programs send no origin, and pages of this machine are its user's.
fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), Fault> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    if app.settings.origins.of(headers).is_some() {
        return Ok(());
    }
    let origin = origin.to_str().unwrap_or("null");
    let is_own = match origin.split_once("://") {
        Some(("http" | "https", host)) => app.settings.is_own_host(host),
        // Extensions and applications have schemes of their own, which no web page can have.
        Some(_) => true,
        None => false,
    };
    if is_own {
        Ok(())
    } else {
        Err(Fault::new(Kind::Forbidden, "pages of other sites may not use this server"))
    }
}

fn check_admin(app: &App, headers: &HeaderMap) -> Result<Caller, Fault> {
    let (keys, admins) = (&app.settings.keys, &app.settings.admin_keys);
    if keys.is_empty() && admins.is_empty() {
        return Ok(Caller::default());
    }
    if let Some(key) = sent_keys(headers).find(|key| admins.has(key)) {
        return Ok(Caller::of(key));
    }
    if !sent_keys(headers).any(|key| keys.has(key)) {
        return Err(no_key());
    }
    let message = "this needs an admin key: the server has them from BANTAM_ADMIN_KEY or --admin-key-file";
    Err(Fault::new(Kind::Forbidden, message))
}

fn check_key(app: &App, headers: &HeaderMap) -> Result<Caller, Fault> {
    let (keys, admins) = (&app.settings.keys, &app.settings.admin_keys);
    if keys.is_empty() {
        return Ok(Caller::default());
    }
    let known = sent_keys(headers).find(|key| keys.has(key) || admins.has(key));
    known.map(Caller::of).ok_or_else(no_key)
}

fn no_key() -> Fault {
    let message =
        "wrong or missing API key: send it as `Authorization: Bearer KEY`, `x-api-key` or `api-key`";
    Fault { code: Some("invalid_api_key"), ..Fault::new(Kind::Unauthorized, message) }
}

/// The keys in a request, in any of the styles that clients have.
fn sent_keys(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let bearer = headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let plain = ["x-api-key", "api-key"].into_iter().flat_map(|name| headers.get_all(name));
    bearer.chain(plain.filter_map(|value| value.to_str().ok()))
}

/// A web page can send other types to any server without asking first; JSON it cannot.
fn check_content_type(headers: &HeaderMap) -> Result<(), Fault> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing");
    let name = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if name == "application/json" || (name.starts_with("application/") && name.ends_with("+json")) {
        return Ok(());
    }
    let message = "wanted the header `Content-Type: application/json`";
    Err(Fault::new(Kind::MediaType, message))
}

/// The body of a request.
///
/// # Errors
///
/// One that is too large, too slow, or breaks off.
pub(crate) async fn body(request: Request) -> Result<Vec<u8>, Fault> {
    let too_large = || {
        Fault::new(Kind::TooLarge, format!("the body is too large: wanted at most {BODY_BYTES_MAX} bytes"))
    };
    let announced =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let read = async {
        let mut stream = request.into_body().into_data_stream();
        let mut body = Vec::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| Fault::invalid(format!("the body broke off: {error}")))?;
            if body.len() + part.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    };
    let late = |_| Fault::new(Kind::Timeout, "the body took too long to come");
    timeout(BODY_TIME_MAX, read).await.map_err(late)?
}
