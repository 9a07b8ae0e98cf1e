//! Why a request is not answered: one type for all dialects, which each writes in its own form.

use axum::http::StatusCode;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request is wrong.
    Invalid,
    /// No key, or a wrong one.
    Unauthorized,
    /// Not from there, or not to there.
    Forbidden,
    /// There is no such path or model.
    NotFound,
    /// The path has other methods.
    Method,
    /// The body took too long to come.
    Timeout,
    /// The body is too large.
    TooLarge,
    /// The first line and the headers are too large.
    HeadTooLarge,
    /// The body is no JSON by its header.
    MediaType,
    /// It is right, and this server cannot do it.
    Unsupported,
    /// Too many wait; try again after so many seconds.
    Busy {
        /// Seconds.
        retry_after_s: u64,
    },
    /// The server is being stopped.
    Stopping,
    /// It takes more memory than there is.
    Memory,
    /// Another server, from which it would be fetched, cannot be reached or does not give it.
    Upstream,
    /// A bug, or a failure of the model.
    Internal,
}

impl Kind {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Busy { .. } | Kind::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Memory => StatusCode::INSUFFICIENT_STORAGE,
            Kind::Upstream => StatusCode::BAD_GATEWAY,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When it is worth trying again.
    pub(crate) fn retry_after_s(self) -> Option<u64> {
        match self {
            Kind::Busy { retry_after_s } => Some(retry_after_s),
            Kind::Stopping => Some(5),
            _ => None,
        }
    }
}

/// A failure, as it is told to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// The field of the request that is wrong.
    pub(crate) param: Option<String>,
    /// A word for programs.
    pub(crate) code: Option<&'static str>,
}

impl Fault {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Fault { kind, message: message.into(), param: None, code: None }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Fault::new(Kind::Invalid, message)
    }

    /// A field of the request is wrong.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Fault { param: Some(param.into()), ..Fault::invalid(message) }
    }

    /// A field asks for what this server does not do. A 400, since the same request without it is right.
    pub(crate) fn unsupported(param: &str, instead: &str) -> Self {
        let message = format!("`{param}` is not supported by this server{instead}");
        Fault { code: Some("unsupported_parameter"), ..Fault::field(param, message) }
    }
}

impl From<bantam_engine::Error> for Fault {
    fn from(error: bantam_engine::Error) -> Self {
        use bantam_engine::Error;
        let kind = match error {
            Error::EmptyPrompt
            | Error::Token { .. }
            | Error::PromptTooLong { .. }
            | Error::Sampling { .. }
            | Error::Constraint { .. }
            | Error::NothingToChoose => Kind::Invalid,
            Error::Stopped => Kind::Stopping,
            _ => Kind::Internal,
        };
        let code = matches!(error, Error::PromptTooLong { .. }).then_some("context_length_exceeded");
        let param = match &error {
            Error::Sampling { setting, .. } => Some((*setting).to_owned()),
            _ => None,
        };
        Fault { kind, message: error.to_string(), param, code }
    }
}

impl From<bantam_text::Error> for Fault {
    fn from(error: bantam_text::Error) -> Self {
        Fault::field("messages", error.to_string())
    }
}

/// A failure that no request can cause.
pub(crate) fn broken(what: &str) -> Fault {
    Fault::new(Kind::Internal, format!("{what}, which is a bug in bantam"))
}
