//! The rules of the house that are read off the text: where `unsafe` lives, who may name a family, where bytes
//! enter, and which words no file holds.

use super::names::{speaks_of, words};
use super::source::Source;
use super::{Finding, House};

/// The room and the file where `unsafe` lives; everywhere else it is forbidden.
const UNSAFE_HOMES: [&str; 2] = ["crates/bantam-kernels/", "crates/bantam-tensor/src/format/map.rs"];

/// Crates that cannot forbid `unsafe` for the whole of themselves.
const NOT_FORBIDDING: [&str; 2] = ["bantam-kernels", "bantam-tensor"];

/// Where a family may be named, and how long its file may be.
const FAMILIES: &str = "crates/bantam-model/src/families/";
const FAMILY_LINES: usize = 60;

const PEER: [&str; 3] = ["llama.cpp", "llama_cpp", "LlamaCpp"];

/// Rooms between the places where bytes enter and leave: no paths, sockets, environment or clocks.
const CLOSED_ROOMS: [&str; 4] = ["bantam-text", "bantam-model", "bantam-engine", "bantam-grammar"];
const DOORS: [&str; 6] =
    ["std::fs", "std::net", "std::env", "std::process", "Instant::now", "SystemTime::now"];

/// Joined from halves, so that this list does not find itself.
const WORDS: [&str; 10] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("download.pytorch", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

/// Macros that mark unfinished work.
const UNFINISHED: [&str; 3] = [concat!("to", "do!"), concat!("db", "g!"), concat!("unimplem", "ented!")];

pub(crate) fn check(house: &House) -> Vec<Finding> {
    let families = families(&house.sources);
    let mut findings = Vec::new();
    for source in &house.sources {
        findings.extend(check_unsafe(source));
        findings.extend(check_family_names(source, &families));
        findings.extend(check_family_length(source));
        findings.extend(check_doors(source));
        findings.extend(check_unfinished(source));
    }
    findings.extend(house.texts.iter().flat_map(|(path, text)| check_words(path, text)));
    findings.extend(house.rooms.iter().filter_map(|room| check_forbids(&room.name, &house.sources)));
    findings
}

/// A family has the name of its file, in which its `FAMILY` stands; what families share lies beside them.
fn families(sources: &[Source]) -> Vec<String> {
    let files = sources.iter().filter(|source| is_family(source));
    let names = files.filter_map(|source| source.path.strip_prefix(FAMILIES)?.strip_suffix(".rs"));
    names.map(str::to_owned).collect()
}

fn is_family(source: &Source) -> bool {
    source.path.starts_with(FAMILIES) && source.count("const FAMILY:") > 0
}

fn check_unsafe(source: &Source) -> impl Iterator<Item = Finding> {
    let is_home = UNSAFE_HOMES.iter().any(|home| source.path.starts_with(home));
    source.unsafes().into_iter().filter_map(move |found| {
        let message = match (is_home, found.needs_proof && !found.has_proof) {
            (false, _) => "unsafe outside its rooms",
            (true, true) => "unsafe without a SAFETY comment",
            (true, false) => return None,
        };
        Some(finding("unsafe", &source.path, 0, format!("line {}: {message}", found.line + 1)))
    })
}

/// Each root of a crate says that it forbids `unsafe`; the two that cannot are the homes of it.
fn check_forbids(room: &str, sources: &[Source]) -> Option<Finding> {
    let is_root = |source: &&Source| {
        let inside = source.path.strip_prefix("crates/").and_then(|path| path.strip_prefix(room));
        matches!(inside, Some("/src/lib.rs" | "/src/main.rs"))
    };
    let forbids = |source: &Source| source.lexed.code.contains("#![forbid(unsafe_code)]");
    let bare = sources.iter().filter(is_root).find(|source| !forbids(source))?;
    let message = "no #![forbid(unsafe_code)]".to_owned();
    (!NOT_FORBIDDING.contains(&room)).then(|| finding("forbid", &bare.path, 0, message))
}

/// A family is named in its own file, in tests and in docs; nothing else may depend on which one it is.
fn check_family_names(source: &Source, families: &[String]) -> Option<Finding> {
    let root = FAMILIES.trim_end_matches('/');
    if source.path.starts_with(FAMILIES) || source.path == format!("{root}.rs") {
        return None;
    }
    let named = words_outside_tests(source)
        .filter(|(_, word)| families.iter().any(|family| speaks_of(word, family)))
        .map(|(line, word)| format!("`{word}` in line {}", line + 1));
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return None;
    }
    Some(finding("family-name", &source.path, named.len(), format!("names families: {}", named.join(", "))))
}

/// Identifiers and the words of strings, with their lines. The peer with a family in its name is no family.
fn words_outside_tests(source: &Source) -> impl Iterator<Item = (usize, String)> {
    let code = source.lexed.code.lines().enumerate().map(|(line, code)| (line, code.to_owned()));
    let strings = source.lexed.strings.iter();
    let strings = strings.map(|string| (source.line(string.offset), string.text.clone()));
    let all = code.chain(strings).filter(|(line, _)| !source.is_test(*line));
    let all = all.map(|(line, text)| (line, PEER.iter().fold(text, |text, name| text.replace(name, ""))));
    all.flat_map(|(line, text)| words(&text).map(|word| (line, word.to_owned())).collect::<Vec<_>>())
}

fn check_family_length(source: &Source) -> Option<Finding> {
    let (lines, _) = source.line_counts();
    let is_long = is_family(source) && lines > FAMILY_LINES;
    let message = format!("{lines} lines of code where a family gets {FAMILY_LINES}");
    is_long.then(|| finding("family-length", &source.path, lines, message))
}

fn check_doors(source: &Source) -> impl Iterator<Item = Finding> {
    let is_closed = CLOSED_ROOMS.iter().any(|room| source.path.starts_with(&format!("crates/{room}/src/")));
    let used = DOORS.iter().filter(move |door| is_closed && source.count(door) > 0);
    used.map(|door| {
        finding("door", &source.path, 0, format!("uses {door}: this room does no IO and has no clock"))
    })
}

fn check_unfinished(source: &Source) -> impl Iterator<Item = Finding> {
    let used = UNFINISHED.iter().filter(|mark| source.lexed.code.contains(*mark));
    used.map(|mark| finding("unfinished", &source.path, 0, format!("holds {mark}")))
}

fn check_words(path: &str, text: &str) -> Vec<Finding> {
    // Cargo writes the address of its registry into the lock file.
    if path == "Cargo.lock" {
        return Vec::new();
    }
    let lines = text.lines().enumerate();
    let found = lines
        .flat_map(|(at, line)| WORDS.iter().filter(|word| line.contains(*word)).map(move |word| (at, word)));
    found.map(|(at, word)| finding("word", path, 0, format!("line {}: holds {word}", at + 1))).collect()
}

fn finding(rule: &'static str, subject: &str, value: usize, message: String) -> Finding {
    Finding { rule, subject: subject.to_owned(), value, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path.into(), text)
    }

    #[test]
    fn unsafe_lives_in_two_places() {
        let count = |path: &str, text: &str| check_unsafe(&source(path, text)).count();
        let proven = "// SAFETY: why\nunsafe { a() }\n";
        assert_eq!(count("crates/bantam-kernels/src/a.rs", proven), 0);
        assert_eq!(count("crates/bantam-kernels/src/a.rs", "unsafe { a() }\n"), 1);
        assert_eq!(count("crates/bantam-model/src/a.rs", proven), 1);
    }

    #[test]
    fn roots_forbid_unsafe() {
        let check = |room: &str, text: &str| {
            check_forbids(room, &[source(&format!("crates/{room}/src/lib.rs"), text)]).is_some()
        };
        assert!(check("bantam-text", "mod a;\n"));
        assert!(!check("bantam-text", "#![forbid(unsafe_code)]\n"));
        assert!(!check("bantam-kernels", "mod a;\n"));
    }

    #[test]
    fn families_are_named_in_their_folder_only() {
        let families = families(&[
            source("crates/bantam-model/src/families/qwen2.rs", "const FAMILY: Family = x;\n"),
            source("crates/bantam-model/src/families/dense.rs", "struct Dense;\n"),
        ]);
        let check = |path: &str, text: &str| {
            check_family_names(&source(path, text), &families).map_or(0, |finding| finding.value)
        };
        assert_eq!(check("crates/bantam-model/src/forward.rs", "if name == \"qwen2\" {}\n"), 1);
        assert_eq!(check("crates/bantam-model/src/forward.rs", "struct Qwen2Rope(qwen2);\n"), 2);
        assert_eq!(check("crates/bantam-model/src/forward.rs", "struct Dense;\n"), 0);
        assert_eq!(
            check("crates/bantam-model/src/forward.rs", "// as in qwen2\n#[test]\nfn qwen2() {}\n"),
            0
        );
        assert_eq!(check("crates/bantam-model/src/families/mod.rs", "mod qwen2;\n"), 0);
        assert_eq!(check("crates/bantam-model/src/families.rs", "mod qwen2;\n"), 0);
    }

    #[test]
    fn a_family_is_short() {
        let path = "crates/bantam-model/src/families/a.rs";
        let family = |lines: usize| "const FAMILY: Family = a;\n".repeat(lines);
        assert!(check_family_length(&source(path, &family(60))).is_none());
        assert_eq!(check_family_length(&source(path, &family(61))).unwrap().value, 61);
    }

    #[test]
    fn closed_rooms_have_no_doors() {
        let count = |path: &str| check_doors(&source(path, "use std::fs;\n")).count();
        assert_eq!((count("crates/bantam-engine/src/a.rs"), count("crates/bantam-hub/src/a.rs")), (1, 0));
    }

    #[test]
    fn some_words_are_in_no_file() {
        assert_eq!(check_words("a.md", concat!("see /wo", "rk/x\nfine\n")).len(), 1);
        assert!(check_words("Cargo.lock", concat!("crates", ".io\n")).is_empty());
        assert_eq!(check_unfinished(&source("crates/x/src/a.rs", concat!("to", "do!()"))).count(), 1);
    }
}
