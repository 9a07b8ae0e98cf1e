//! The three ways in which clients want to be told of a failure.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::Response;
use serde_json::{Value, json};

use crate::clock;
use crate::fault::{Fault, Kind};

/// Whose protocol a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    Anthropic,
    Ollama,
}

impl Dialect {
    /// The dialect of a path.
    pub(crate) fn of(path: &str) -> Self {
        let is_below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        if path == "/v1/messages" || is_below("/v1/messages") {
            Dialect::Anthropic
        } else if is_below("/api") {
            Dialect::Ollama
        } else {
            Dialect::OpenAi
        }
    }

    /// A failure as the body of a reply.
    pub(crate) fn error(self, fault: &Fault) -> Value {
        match self {
            Dialect::OpenAi => json!({ "error": {
                "message": fault.message,
                "type": openai_type(fault.kind),
                "param": fault.param,
                "code": fault.code,
            }}),
            Dialect::Anthropic => json!({
                "type": "error",
                "error": { "type": anthropic_type(fault.kind), "message": fault.message },
                "request_id": clock::id("req_"),
            }),
            Dialect::Ollama => json!({ "error": fault.message }),
        }
    }

    /// A failure as a reply.
    pub(crate) fn refusal(self, fault: &Fault) -> Response {
        let mut reply = json_reply(&self.error(fault));
        *reply.status_mut() = fault.kind.status();
        if let Some(seconds) = fault.kind.retry_after_s() {
            reply.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if fault.kind == Kind::Unauthorized {
            reply.headers_mut().insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
        }
        reply
    }
}

/// A reply that is one JSON value.
pub(crate) fn json_reply(value: &Value) -> Response {
    let mut reply = Response::new(Body::from(value.to_string()));
    reply.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
    reply
}

fn openai_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Unauthorized => "authentication_error",
        Kind::Forbidden => "permission_error",
        Kind::Busy { .. } | Kind::Stopping | Kind::Memory => "overloaded_error",
        Kind::Upstream | Kind::Internal => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Unauthorized => "authentication_error",
        Kind::Forbidden => "permission_error",
        Kind::NotFound => "not_found_error",
        Kind::TooLarge => "request_too_large",
        Kind::Busy { .. } | Kind::Stopping | Kind::Memory => "overloaded_error",
        Kind::Upstream | Kind::Internal => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_dialect() {
        assert_eq!(Dialect::of("/v1/messages"), Dialect::Anthropic);
        assert_eq!(Dialect::of("/v1/messages/count_tokens"), Dialect::Anthropic);
        assert_eq!(Dialect::of("/v1/messages_of_others"), Dialect::OpenAi);
        assert_eq!(Dialect::of("/api/chat"), Dialect::Ollama);
        assert_eq!(Dialect::of("/v1/chat/completions"), Dialect::OpenAi);
    }

    #[test]
    fn each_dialect_has_its_own_form() {
        let fault = Fault::field("n", "too many");
        assert_eq!(Dialect::OpenAi.error(&fault)["error"]["param"], "n");
        assert_eq!(Dialect::OpenAi.error(&fault)["error"]["type"], "invalid_request_error");
        assert_eq!(Dialect::Anthropic.error(&fault)["type"], "error");
        assert_eq!(Dialect::Ollama.error(&fault), json!({ "error": "too many" }));
        let busy = Dialect::OpenAi.refusal(&Fault::new(Kind::Busy { retry_after_s: 7 }, "full"));
        assert_eq!((busy.status().as_u16(), &busy.headers()[RETRY_AFTER]), (503, &"7".parse().unwrap()));
    }
}
