//! What a reply says beside its answer: what was asked for and is not held to. It stands in headers, which all protocols
//! have, and which come before the answer.

use std::cell::RefCell;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

/// The header that each of them has.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-bantam-warning");

/// Notes to one reply, at most, and characters of each.
const NOTES_MAX: usize = 8;
const NOTE_CHARS_MAX: usize = 500;

/// What a client is told beside an answer.
pub(crate) type Notes = Vec<String>;

tokio::task_local! {
    static NOTES: RefCell<Notes>;
}

/// Adds to the reply what is told while it is made.
pub(crate) async fn scope(making: impl Future<Output = Response>) -> Response {
    let making = async {
        let mut reply = making.await;
        for note in NOTES.with(RefCell::take).iter().take(NOTES_MAX) {
            reply.headers_mut().append(HEADER, value(note));
        }
        reply
    };
    NOTES.scope(RefCell::default(), making).await
}

/// Tells the client something.
pub(crate) fn tell(notes: impl IntoIterator<Item = String>) {
    // Nobody listens where no reply is being made.
    let _ = NOTES.try_with(|told| told.borrow_mut().extend(notes));
}

/// Headers are ASCII on one line.
fn value(note: &str) -> HeaderValue {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let text: String = note.chars().take(NOTE_CHARS_MAX).map(plain).collect();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_header() {
        assert_eq!(value("a\r\nb: \u{e9}\0"), "a??b: ??");
        assert_eq!(value(&"x".repeat(10_000)).len(), NOTE_CHARS_MAX);
    }
}
