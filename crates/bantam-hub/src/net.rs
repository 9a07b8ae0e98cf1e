//! The only place that opens sockets.
//!
//! A [`Client`] can be made from an [`Allowed`] alone. It sends the token to the endpoint's own origin and to nothing
//! else, never goes from https to http, and gives an unreachable host two seconds.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Read;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use crate::settings::{Allowed, Proxying, Settings, Token};
use crate::{Error, Result};

/// The time a host has to accept a connection.
const REACH_TIME: Duration = Duration::from_secs(2);
const CONNECT_TIME: Duration = Duration::from_secs(10);
const ANSWER_TIME: Duration = Duration::from_secs(30);
const STALL_TIME: Duration = Duration::from_secs(30);
const BUSY_PAUSE: Duration = Duration::from_millis(500);
const REDIRECTS_MAX: usize = 8;
const JSON_BYTES_MAX: u64 = 64 << 20;

/// Scheme, host and port: what a token may be sent to.
type Origin = (String, String, u16);

/// Speaks to one hub and to where it redirects.
pub(crate) struct Client {
    agent: Agent,
    proxy: Option<Proxy>,
    endpoint: String,
    origin: Origin,
    token: Option<Token>,
    reached: RefCell<HashSet<(String, u16)>>,
}

/// A header block without its body.
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

impl Client {
    /// Ready to speak to the settings' endpoint; an error if it cannot be reached.
    pub(crate) fn connect(_: &Allowed, settings: &Settings) -> Result<Client> {
        let proxy = match settings.proxying {
            Proxying::Environment => Proxy::try_from_env(),
            Proxying::Direct => None,
        };
        let uri = parse(&settings.endpoint)?;
        let client = Client {
            agent: agent(proxy.clone(), settings.certificates.as_deref())?,
            proxy,
            endpoint: settings.endpoint.clone(),
            origin: origin_of(&uri)?,
            token: settings.token.clone(),
            reached: RefCell::default(),
        };
        client.reach(&uri)?;
        Ok(client)
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `HEAD`, following redirects that stay on the host. Headers of earlier answers are kept where later ones lack
    /// them: the hub names commit and hash in the first.
    pub(crate) fn head(&self, url: &str) -> Result<Head> {
        let mut url = url.to_string();
        let mut kept = HeaderMap::new();
        for _ in 0..REDIRECTS_MAX {
            let response = self.send(Method::HEAD, &url, &[])?;
            let status = response.status();
            let location = text(response.headers(), "location").map(String::from);
            // The first answer is about the file; a later one may be about where it is kept.
            for (name, value) in response.headers() {
                kept.entry(name.clone()).or_insert_with(|| value.clone());
            }
            match location {
                Some(location) if status.is_redirection() && location.starts_with('/') => {
                    for about_the_redirect in ["location", "content-length", "etag"] {
                        kept.remove(about_the_redirect);
                    }
                    url = join(&url, &location)?;
                }
                _ => return Ok(Head { status, headers: kept }),
            }
        }
        Err(Error::Answer { url, why: "redirects in a circle".into() })
    }

    /// `GET` of a JSON value, with the address of the next page if there is one on the same origin.
    pub(crate) fn json(&self, url: &str) -> Result<(Head, Option<serde_json::Value>)> {
        let mut response = self.follow(url, &[])?;
        let head = Head { status: response.status(), headers: response.headers().clone() };
        if !head.status.is_success() {
            return Ok((head, None));
        }
        let refused = |why: String| Error::Answer { url: url.into(), why };
        let body = response.body_mut().with_config().limit(JSON_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| refused(error.to_string()))?;
        let value =
            serde_json::from_slice(&body).map_err(|error| refused(format!("is not JSON: {error}")))?;
        Ok((head, Some(value)))
    }

    /// `GET` from byte `offset` on. `etag` guards a resumed range on the hub itself.
    pub(crate) fn get_from(&self, url: &str, offset: u64, etag: &str) -> Result<Response<Body>> {
        if offset == 0 {
            return self.follow(url, &[]);
        }
        let range = format!("bytes={offset}-");
        self.follow(url, &[("range", &range), ("if-range", etag)])
    }

    /// Follows redirects. Where one leaves the host, what was meant for the host alone stays behind: the token, and
    /// `If-Range`, since storage has etags of its own (the hash of the whole guards there).
    fn follow(&self, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
        let mut url = url.to_string();
        for _ in 0..REDIRECTS_MAX {
            let own = self.is_own(&url)?;
            let sent: Vec<_> =
                headers.iter().filter(|(name, _)| own || *name != "if-range").copied().collect();
            let response = self.send(Method::GET, &url, &sent)?;
            let location =
                text(response.headers(), "location").filter(|_| response.status().is_redirection());
            let Some(location) = location else { return Ok(response) };
            url = join(&url, location)?;
        }
        Err(Error::Answer { url, why: "redirects in a circle".into() })
    }

    /// Sends, and once more after a moment when the host says that it is busy.
    fn send(&self, method: Method, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
        let response = self.send_once(&method, url, headers)?;
        if !is_passing(response.status()) {
            return Ok(response);
        }
        thread::sleep(BUSY_PAUSE);
        self.send_once(&method, url, headers)
    }

    fn send_once(&self, method: &Method, url: &str, headers: &[(&str, &str)]) -> Result<Response<Body>> {
        let uri = parse(url)?;
        self.reach(&uri)?;
        // Plain text is what ranges and lengths are about.
        let mut request =
            Request::builder().method(method.clone()).uri(uri).header("accept-encoding", "identity");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own(url).unwrap_or(false)) {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        let request =
            request.body(()).map_err(|error| Error::Answer { url: url.into(), why: error.to_string() })?;
        self.agent.run(request).map_err(|error| self.failure(url, error))
    }

    fn is_own(&self, url: &str) -> Result<bool> {
        Ok(origin_of(&parse(url)?)? == self.origin)
    }

    fn failure(&self, url: &str, error: ureq::Error) -> Error {
        let host = parse(url)
            .and_then(|uri| origin_of(&uri))
            .map_or_else(|_| url.to_string(), |(_, h, p)| format!("{h}:{p}"));
        match error {
            ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed => Error::Unreachable { host, why: error.to_string() },
            other => Error::Answer { url: clean(url), why: other.to_string() },
        }
    }

    /// Checks once per host that something accepts connections there (or at the proxy in between).
    fn reach(&self, uri: &Uri) -> Result<()> {
        let (_, host, port) = origin_of(uri)?;
        let proxied = self.proxy.as_ref().filter(|proxy| !proxy.is_no_proxy(uri));
        let place = proxied.map_or((host, port), |proxy| (proxy.host().to_string(), proxy.port()));
        if self.reached.borrow().contains(&place) {
            return Ok(());
        }
        knock(&place.0, place.1)?;
        self.reached.borrow_mut().insert(place);
        Ok(())
    }
}

fn agent(proxy: Option<Proxy>, certificates: Option<&Path>) -> Result<Agent> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = certificates {
        tls = tls.root_certs(RootCerts::new_with_certs(&read_certificates(path)?));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(proxy)
        .tls_config(tls.build())
        .user_agent(concat!("bantam/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT_TIME))
        .timeout_recv_response(Some(ANSWER_TIME))
        .timeout_per_read(Some(STALL_TIME))
        .build();
    Ok(config.into())
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let refused = |why: String| Error::Setting { name: "SSL_CERT_FILE", why };
    let pem = crate::disk::read_limited(path, 16 << 20).map_err(|error| refused(error.to_string()))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    if found.is_empty() {
        return Err(refused(format!("{} holds no PEM certificate", path.display())));
    }
    Ok(found)
}

/// Looks the host up and tries all its addresses at once, so a dead route costs nothing when another works.
fn knock(host: &str, port: u16) -> Result<()> {
    let deadline = Instant::now() + REACH_TIME;
    let refused = |why: String| Error::Unreachable { host: format!("{host}:{port}"), why };
    let late = |_| refused(format!("no answer within {} s", REACH_TIME.as_secs()));
    let (sender, addresses) = mpsc::channel();
    let name = host.trim_matches(['[', ']']).to_string();
    thread::spawn(move || sender.send((name.as_str(), port).to_socket_addrs().map(Vec::from_iter)));
    let addresses =
        addresses.recv_timeout(REACH_TIME).map_err(late)?.map_err(|error| refused(error.to_string()))?;
    let attempts = knock_all(&addresses);
    let mut why = "its name has no address".to_string();
    for _ in &addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        match attempts.recv_timeout(left).map_err(late)? {
            Ok(()) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(refused(why))
}

fn knock_all(addresses: &[SocketAddr]) -> mpsc::Receiver<std::io::Result<()>> {
    let (sender, attempts) = mpsc::channel();
    for &address in addresses {
        let sender = sender.clone();
        thread::spawn(move || sender.send(TcpStream::connect_timeout(&address, REACH_TIME).map(drop)));
    }
    attempts
}

fn parse(url: &str) -> Result<Uri> {
    url.parse().map_err(|_| Error::Answer { url: clean(url), why: "is not an address".into() })
}

fn origin_of(uri: &Uri) -> Result<Origin> {
    let refused =
        || Error::Answer { url: clean(&uri.to_string()), why: "is no http or https address".into() };
    let scheme = uri.scheme_str().ok_or_else(refused)?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(refused)?;
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(refused()),
    };
    Ok((scheme.into(), host.to_ascii_lowercase(), uri.port_u16().unwrap_or(default_port)))
}

/// Where `location` leads from `url`.
pub(crate) fn join(url: &str, location: &str) -> Result<String> {
    let base = parse(url)?;
    let (scheme, ..) = origin_of(&base)?;
    if location.starts_with('/') && !location.starts_with("//") {
        let authority = base.authority().map_or("", |authority| authority.as_str());
        return Ok(format!("{scheme}://{authority}{location}"));
    }
    let (target, ..) = origin_of(&parse(location)?)?;
    if scheme == "https" && target == "http" {
        return Err(Error::Answer {
            url: clean(url),
            why: "redirects from https to http, which is refused".into(),
        });
    }
    Ok(location.into())
}

/// A state that may be over soon.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// A header's value, if it is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A path as it stands in an address: `/` stays, everything unusual is escaped.
pub(crate) fn escape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// An address for a message: without its query, which may hold a signature, and of bounded length.
pub(crate) fn clean(url: &str) -> String {
    let bare = url.split('?').next().unwrap_or(url);
    bare.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// The start of an answer's body, for a message.
pub(crate) fn excerpt(response: &mut Response<Body>) -> String {
    let mut start = Vec::new();
    // What cannot be read is left out: this is only for a message.
    let _ = response.body_mut().as_reader().take(200).read_to_end(&mut start);
    String::from_utf8_lossy(&start).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_and_never_weaken() {
        assert_eq!(join("https://h:8/a/b?q", "/c?d").unwrap(), "https://h:8/c?d");
        assert_eq!(join("http://h/a", "https://other/x").unwrap(), "https://other/x");
        assert!(join("https://h/a", "http://h/a").is_err());
        assert!(join("https://h/a", "ftp://h/a").is_err());
        assert!(join("https://h/a", "//evil/a").is_err());
    }

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(escape("a b/c#d?.gguf"), "a%20b/c%23d%3F.gguf");
        assert_eq!(clean("https://h/x?Signature=s"), "https://h/x");
    }
}
