//! Pages of other sites that may ask, and what their browsers want to be told (CORS). None may unless somebody names it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

use crate::error::Error;
use crate::notes;

/// Pages that may use a server, by their origins.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Takes in one more: `*`, or `SCHEME://HOST[:PORT]` where the host may be `*` or begin with `*.`, and the port be
    /// `*`. Stars elsewhere would let in names that only begin alike.
    ///
    /// # Errors
    ///
    /// [`Error::Origin`] for what is none of that.
    pub fn add(&mut self, origin: &str) -> Result<(), Error> {
        let origin = origin.trim().trim_end_matches('/');
        let is_sound = origin == "*" || parts(origin).is_some_and(is_pattern);
        if !is_sound {
            return Err(Error::Origin { found: origin.chars().take(100).collect() });
        }
        self.0.push(origin.to_owned());
        Ok(())
    }

    /// Whether pages of any site are among them.
    pub(crate) fn are_all(&self) -> bool {
        let is_all = |pattern: &str| match parts(pattern) {
            Some((scheme, host, _)) => host == "*" && ["http", "https"].contains(&scheme),
            None => pattern == "*",
        };
        self.0.iter().any(|pattern| is_all(pattern))
    }

    fn has(&self, origin: &str) -> bool {
        self.0.iter().any(|pattern| pattern == "*" || is_alike(pattern, origin))
    }

    /// The origin of a request, if it is one of them.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.has(origin.to_str().ok()?).then(|| origin.clone())
    }
}

/// Scheme, host and port.
fn parts(origin: &str) -> Option<(&str, &str, Option<&str>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let is_port =
        |port: &str| port == "*" || (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    Some(match rest.rsplit_once(':') {
        Some((host, port)) if is_port(port) => (scheme, host, Some(port)),
        _ => (scheme, rest, None),
    })
}

fn is_pattern((scheme, host, _): (&str, &str, Option<&str>)) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    let is_scheme = !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte));
    is_scheme && (is_name || host == "*")
}

fn is_alike(pattern: &str, origin: &str) -> bool {
    let (Some((scheme, host, port)), Some(found)) = (parts(pattern), parts(origin)) else { return false };
    let has_host = match host.strip_prefix('*') {
        Some(end) => {
            found.1.len() > end.len() && found.1.to_ascii_lowercase().ends_with(&end.to_ascii_lowercase())
        }
        None => found.1.eq_ignore_ascii_case(host),
    };
    scheme.eq_ignore_ascii_case(found.0) && has_host && (port == Some("*") || port == found.2)
}

/// Whether a browser asks what a page may ask.
pub(crate) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that: what it asks for. Keys come with the request itself.
pub(crate) fn preflight(headers: &HeaderMap) -> Response {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let told = reply.headers_mut();
    told.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE, HEAD"));
    told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        told.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    reply
}

/// Lets a page read the reply.
pub(crate) fn open(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from(notes::HEADER));
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(all: &[&str]) -> Origins {
        let mut origins = Origins::default();
        all.iter().for_each(|origin| origins.add(origin).unwrap());
        origins
    }

    #[test]
    fn only_named_pages_may_ask() {
        let named = origins(&[
            "https://a.example",
            "http://*.b.example:*",
            "chrome-extension://*",
            "http://[::1]:80/",
        ]);
        for own in [
            "https://a.example",
            "HTTPS://A.example",
            "http://x.b.example:81",
            "http://x.y.b.example",
            "chrome-extension://abcdef",
            "http://[::1]:80",
        ] {
            assert!(named.has(own), "{own}");
        }
        for other in [
            "http://a.example",
            "https://a.example:8443",
            "https://a.example.evil.example",
            "http://b.example",
            "http://xb.example",
            "http://.b.example.evil.example",
            "null",
            "",
            "http://[::1]",
        ] {
            assert!(!named.has(other), "{other}");
        }
        assert!(!named.are_all() && origins(&["*"]).has("http://any.example"));
        assert!(["*", "http://*", "https://*:*"].iter().all(|all| origins(&[all]).are_all()));
    }

    #[test]
    fn stars_stand_for_whole_parts() {
        for bad in [
            "",
            "a.example",
            "http://",
            "http://192.168.*",
            "http://*a.example",
            "://x",
            "http://a/b",
            "null",
        ] {
            assert!(Origins::default().add(bad).is_err(), "{bad}");
        }
    }
}
