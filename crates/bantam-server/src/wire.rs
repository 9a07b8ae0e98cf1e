//! Answers as bytes, piece by piece, while they are made.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use futures_util::stream::unfold;
use serde_json::Value;
use tokio::time::timeout;

use crate::answer::{Answers, Piece};
use crate::fault::Fault;
use crate::limits::PING_EVERY;

/// How a dialect writes answers. What it returns goes out as it is; an empty text is nothing.
pub(crate) trait Wire: Send + 'static {
    /// Before all answers.
    fn open(&mut self) -> String {
        String::new()
    }

    /// Some of an answer, or its end; never a failure.
    fn piece(&mut self, number: usize, piece: Piece) -> String;

    /// Behind all answers.
    fn close(&mut self) -> String {
        String::new()
    }

    /// In the place of all that was still to come.
    fn fault(&mut self, fault: &Fault) -> String;
}

/// How pieces are told apart on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frames {
    /// Server-sent events; this one says that the connection lives.
    Events { ping: &'static str },
    /// A line of JSON each.
    Lines,
}

/// A server-sent event, with a name where the dialect has names.
pub(crate) fn event(name: Option<&str>, data: &Value) -> String {
    match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

/// A line of JSON.
pub(crate) fn line(value: &Value) -> String {
    format!("{value}\n")
}

/// The reply that streams answers. Dropping its body, as happens when the client goes away, ends them.
pub(crate) fn stream(answers: Answers, wire: impl Wire, frames: Frames) -> Response {
    let flow = Flow { answers, wire, frames, stage: Stage::Open };
    let mut reply = Response::new(Body::from_stream(unfold(flow, next)));
    let kind = match frames {
        Frames::Events { .. } => "text/event-stream; charset=utf-8",
        Frames::Lines => "application/x-ndjson",
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

struct Flow<W> {
    answers: Answers,
    wire: W,
    frames: Frames,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Pieces,
    Over,
}

async fn next<W: Wire>(mut flow: Flow<W>) -> Option<(Result<Bytes, Infallible>, Flow<W>)> {
    loop {
        let text = flow.step().await?;
        if !text.is_empty() {
            return Some((Ok(Bytes::from(text)), flow));
        }
    }
}

impl<W: Wire> Flow<W> {
    /// What goes out next, perhaps nothing; `None` at the end.
    async fn step(&mut self) -> Option<String> {
        match self.stage {
            Stage::Open => {
                self.stage = Stage::Pieces;
                Some(self.wire.open())
            }
            Stage::Pieces => Some(self.piece().await),
            Stage::Over => None,
        }
    }

    async fn piece(&mut self) -> String {
        match timeout(PING_EVERY, self.answers.next()).await {
            Err(_) => self.ping().to_owned(),
            Ok(Some((_, Piece::Failed(fault)))) => {
                self.stage = Stage::Over;
                self.wire.fault(&fault)
            }
            Ok(Some((number, piece))) => self.wire.piece(number, piece),
            Ok(None) => {
                self.stage = Stage::Over;
                self.wire.close()
            }
        }
    }

    fn ping(&self) -> &'static str {
        match self.frames {
            Frames::Events { ping } => ping,
            // A line that is no JSON breaks clients.
            Frames::Lines => "",
        }
    }
}
