//! The page: a chat in the browser at `/`, whose files are part of the program.
//!
//! The list of files is closed: a path is one of them or it is not there, and no path is ever looked up on a disk. The
//! page may load and ask nothing but this server, and holds no script or style outside its files. It is no secret, so
//! that it can be opened without a key and then ask its reader for one.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::state::App;

macro_rules! files {
    ($($name:literal)*) => { [$(($name, include_bytes!(concat!("../page/", $name)).as_slice())),*] };
}

/// All files of the page by their names.
const FILES: &[(&str, &[u8])] = &files! {
    "index.html"
    "answering.js"
    "api.js"
    "app.js"
    "chat.js"
    "core/answer.js"
    "core/blocks.js"
    "core/events.js"
    "core/failures.js"
    "core/figures.js"
    "core/highlight.js"
    "core/inline.js"
    "core/json.js"
    "core/request.js"
    "core/schema.js"
    "core/search.js"
    "core/settings.js"
    "core/tex.js"
    "core/tokens.js"
    "core/transfer.js"
    "core/tree.js"
    "css/base.css"
    "css/frame.css"
    "css/message.css"
    "css/panel.css"
    "css/prose.css"
    "early.js"
    "icon.svg"
    "server.js"
    "store.js"
    "view/composer.js"
    "view/conversation.js"
    "view/dom.js"
    "view/editor.js"
    "view/fields.js"
    "view/icons.js"
    "view/json.js"
    "view/markdown.js"
    "view/menu.js"
    "view/message.js"
    "view/notices.js"
    "view/picker.js"
    "view/problem.js"
    "view/settings.js"
    "view/shortcuts.js"
    "view/sidebar.js"
    "view/theme.js"
    "view/thinking.js"
    "view/tokens.js"
    "view/tools.js"
    "view/welcome.js"
};

/// A file as it is sent.
struct File {
    path: String,
    kind: &'static str,
    bytes: &'static [u8],
    etag: HeaderValue,
}

static SENT: LazyLock<Vec<File>> =
    LazyLock::new(|| FILES.iter().map(|(name, bytes)| file(name, bytes)).collect());

fn file(name: &str, bytes: &'static [u8]) -> File {
    let path = if name == "index.html" { "/".to_owned() } else { format!("/page/{name}") };
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Quoted hexadecimal digits are a header's value; without one a browser only asks for the whole file again.
    let etag = HeaderValue::try_from(format!("\"{hex}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    File { path, kind: kind(name), bytes, etag }
}

/// The media type of a file.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Scripts, styles, pictures and requests from here and nowhere else; no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// What every file is sent with. It may be kept, and is asked for again each time: another version of the program has
/// other files under the same paths.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-cache"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The paths of the page.
pub(crate) fn router() -> Router<Arc<App>> {
    let add = |router: Router<Arc<App>>, file: &'static File| {
        router.route(&file.path, get(move |headers: HeaderMap| async move { reply(file, &headers) }))
    };
    SENT.iter().fold(Router::new(), add)
}

/// Whether a path is one of the page's.
pub(crate) fn has(path: &str) -> bool {
    SENT.iter().any(|file| file.path == path)
}

/// The file, or that the client has it already.
fn reply(file: &'static File, asked: &HeaderMap) -> Response {
    let mut reply = Response::new(Body::empty());
    if is_known(asked, &file.etag) {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *reply.body_mut() = Body::from(file.bytes);
    }
    let headers = reply.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    headers.insert(header::ETAG, file.etag.clone());
    reply
}

/// Whether `If-None-Match` names the tag, among others or as weak.
fn is_known(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Names of the files below a folder of the page.
    fn names(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true if name == "tests" => {}
                true => names_below(&entry.path(), &name, names),
                false => drop(names.insert(name)),
            }
        }
    }

    fn names_below(folder: &Path, name: &str, all: &mut BTreeSet<String>) {
        names(folder, &format!("{name}/"), all);
    }

    #[test]
    fn all_files_of_the_folder_are_sent_and_no_others() {
        let mut there = BTreeSet::new();
        names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("page"), "", &mut there);
        // It tells Node that the scripts are modules, which a browser is told by the page.
        assert!(there.remove("package.json"));
        let sent: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(sent, there);
    }

    #[test]
    fn all_files_are_of_known_types_and_load_only_their_like() {
        for (name, bytes) in FILES {
            assert_ne!(kind(name), kind(""), "{name}");
            let text = std::str::from_utf8(bytes).unwrap();
            let is_named = |host: &str| text.contains(host) && !text.contains("http://www.w3.org/");
            assert!(!is_named("//cdn.") && !text.contains("@import"), "{name}");
            for raw in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(raw), "{name}: {raw}");
            }
        }
    }

    #[test]
    fn the_page_has_no_script_or_style_of_its_own() {
        let page = std::str::from_utf8(FILES[0].1).unwrap();
        assert!(page.starts_with("<!doctype html>"));
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
            assert!(!page.contains(inline), "{inline}");
        }
        let scripts = page.matches("<script").count();
        assert_eq!(
            page.matches("<script type=\"module\" src=\"page/").count()
                + page.matches("<script src=\"page/").count(),
            scripts
        );
    }

    #[test]
    fn a_tag_is_known_by_any_of_its_spellings() {
        let tag = HeaderValue::from_static("\"ab\"");
        let asked = |value: &'static str| {
            is_known(&HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(value))]), &tag)
        };
        assert!(asked("\"ab\"") && asked("W/\"ab\"") && asked("\"x\", \"ab\"") && asked("*"));
        assert!(!asked("ab") && !asked("\"abc\"") && !asked("") && !is_known(&HeaderMap::new(), &tag));
    }
}
