//! A client of the server on this machine: one request on a connection of its own, over TCP or a Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::args::ListenArgs;

/// A reply that is longer is not the server's.
const REPLY_BYTES_MAX: u64 = 64 << 20;
/// A server that is there answers these requests at once.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A server, and the key that it wants.
pub(crate) struct Client {
    door: Door,
    key: Option<String>,
}

enum Door {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Local(std::path::PathBuf),
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

impl Client {
    /// The server that the arguments name, or the one that would be started without any.
    pub(crate) fn new(args: &ListenArgs) -> Result<Self> {
        let key = args.key().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
        #[cfg(unix)]
        if let Some(path) = &args.unix {
            return Ok(Client { door: Door::Local(path.clone()), key });
        }
        let ollama_host = std::env::var("OLLAMA_HOST").ok().filter(|host| !host.trim().is_empty());
        let (host, port) = args.address(ollama_host.as_deref())?;
        // A server that listens on all addresses is reached by this machine's own.
        let host = match host {
            host if !host.is_unspecified() => host,
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        Ok(Client { door: Door::Tcp(SocketAddr::new(host, port)), key })
    }

    /// What a path tells.
    pub(crate) fn text(&self, path: &str) -> Result<String> {
        self.ask("GET", path, None)
    }

    /// What a path tells, as JSON.
    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.text(path)?).context("the server's reply is no JSON")
    }

    /// The reply to something that is asked.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let reply = self.ask("POST", path, Some(body))?;
        serde_json::from_str(&reply).context("the server's reply is no JSON")
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<String> {
        let mut stream = self.connect()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let key = self.key.as_ref().map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{key}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).context("the server closed the connection")?;
        let (status, reply) = read(stream).context("the server's reply cannot be read")?;
        match status {
            200..300 => Ok(reply),
            401 => bail!("the server wants a key: set BANTAM_API_KEY, or use --api-key-file"),
            _ => bail!("the server says {status}: {}", message(&reply)),
        }
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        match &self.door {
            Door::Tcp(address) => {
                let stream = TcpStream::connect(address).with_context(|| {
                    format!("no server on http://{address}: start one with `bantam serve`")
                })?;
                stream.set_read_timeout(Some(TIME_MAX))?;
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Door::Local(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path).with_context(|| {
                    format!("no server on {}: start one with `bantam serve`", path.display())
                })?;
                stream.set_read_timeout(Some(TIME_MAX))?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// The status and the body of a reply.
fn read(stream: impl Read) -> Result<(u16, String)> {
    let mut reader = BufReader::new(stream.take(REPLY_BYTES_MAX));
    let mut line = || -> Result<String> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| anyhow!("wanted HTTP, found {first:?}"))?;
    let mut is_chunked = false;
    loop {
        let header = line()?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        is_chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
    }
    let mut body = Vec::new();
    if is_chunked {
        read_chunks(&mut reader, &mut body)?;
    } else {
        reader.read_to_end(&mut body)?;
    }
    Ok((status, String::from_utf8(body)?))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).context("a chunk without a size")?;
        if size == 0 {
            return Ok(());
        }
        let read = reader.take(size).read_to_end(body)?;
        if (read as u64) < size {
            bail!("a chunk that ends early");
        }
        reader.read_line(&mut String::new())?;
    }
}

/// What an error says, in any of the server's forms.
fn message(reply: &str) -> String {
    let json: Value = serde_json::from_str(reply).unwrap_or_default();
    let told = json["error"].as_str().or_else(|| json["error"]["message"].as_str());
    told.map_or_else(|| reply.chars().take(200).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_whole_or_in_chunks() {
        let whole = read(&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..]).unwrap();
        assert_eq!(whole, (200, "hi".into()));
        let chunks =
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(read(&chunks[..]).unwrap(), (404, "abcde".into()));
    }

    #[test]
    fn what_is_no_reply_is_told() {
        let cut = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"[..];
        let endless = &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"[..];
        for bad in [&b""[..], b"SSH-2.0", b"HTTP/1.1 x", cut, endless] {
            assert!(read(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(message("{\"error\":{\"message\":\"m\"}}"), "m");
        assert_eq!(message("{\"error\":\"e\"}"), "e");
        assert_eq!(message("<html>"), "<html>");
    }
}
