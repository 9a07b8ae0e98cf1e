//! The rooms and the arrows between them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::Finding;
use super::source::Source;
use crate::{Error, Result, process};

/// What each room may use of the others; `*` is all but `xtask`. A room that is not here is not in the plan.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("bantam-kernels", &[]),
    ("bantam-tensor", &["bantam-kernels"]),
    ("bantam-text", &[]),
    ("bantam-data", &["bantam-text"]),
    ("bantam-model", &["bantam-tensor"]),
    ("bantam-engine", &["bantam-model"]),
    ("bantam-train", &["bantam-model", "bantam-tensor"]),
    ("bantam-compress", &["bantam-model", "bantam-tensor"]),
    ("bantam-eval", &["bantam-engine", "bantam-text"]),
    ("bantam-grammar", &["bantam-engine", "bantam-text"]),
    ("bantam-hub", &[]),
    ("bantam-task", &["bantam-engine", "bantam-text", "bantam-eval"]),
    ("bantam-server", &["bantam-engine", "bantam-text", "bantam-grammar", "bantam-task", "bantam-hub"]),
    ("bantam", &["*"]),
    ("xtask", &["*"]),
];

/// A crate of the workspace and the crates of the workspace that it uses.
pub(crate) struct Room {
    pub(crate) name: String,
    uses: Vec<String>,
    /// Used by tests and examples only.
    tests_use: Vec<String>,
}

impl Room {
    /// The start of the paths of its files.
    pub(crate) fn folder(&self) -> String {
        format!("crates/{}/", self.name)
    }
}

/// The workspace as cargo sees it.
pub(crate) fn rooms() -> Result<Vec<Room>> {
    let mut command = process::cargo();
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata = process::json(&mut command, None)?;
    let packages =
        metadata["packages"].as_array().ok_or_else(|| Error::form("cargo metadata", "no packages"))?;
    let names: HashSet<_> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut rooms: Vec<_> = packages.iter().map(|package| room(package, &names)).collect();
    rooms.sort_by_cached_key(|room| room.name.clone());
    Ok(rooms)
}

fn room(package: &Value, names: &HashSet<&str>) -> Room {
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_kind = |is_for_tests: bool| {
        let wanted = dependencies.iter().filter(|one| (one["kind"] == "dev") == is_for_tests);
        wanted
            .filter_map(|one| one["name"].as_str())
            .filter(|name| names.contains(name))
            .map(str::to_owned)
            .collect()
    };
    let name = package["name"].as_str().unwrap_or_default().to_owned();
    Room { name, uses: of_kind(false), tests_use: of_kind(true) }
}

/// Arrows that are not allowed, and circles.
pub(crate) fn check(rooms: &[Room]) -> Vec<Finding> {
    let finding =
        |rule, room: &Room, message| Finding { rule, subject: room.name.clone(), value: 0, message };
    let mut findings = Vec::new();
    for room in rooms {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == room.name) else {
            findings.push(finding("arrow", room, "a room that is not in the plan of the house".into()));
            continue;
        };
        let is_allowed = |used: &str| used != "xtask" && (allowed.contains(&"*") || allowed.contains(&used));
        for used in room.uses.iter().filter(|used| !is_allowed(used)) {
            findings.push(finding("arrow", room, format!("may not use {used}")));
        }
        if reaches(rooms, &room.name, &room.name) {
            findings.push(finding("circle", room, "reaches itself, tests included".into()));
        }
    }
    findings
}

/// Whether `to` can be reached from `from` by at least one arrow, those of tests included.
fn reaches(rooms: &[Room], from: &str, to: &str) -> bool {
    let arrows: HashMap<_, _> = rooms.iter().map(|room| (room.name.as_str(), room)).collect();
    let mut seen = HashSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        let Some(room) = arrows.get(name) else { continue };
        for next in room.uses.iter().chain(&room.tests_use) {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

/// How many arrows lie below a room at most.
fn layer(rooms: &[Room], name: &str) -> usize {
    let uses =
        rooms.iter().find(|room| room.name == name).map(|room| room.uses.as_slice()).unwrap_or_default();
    uses.iter().filter(|used| *used != name).map(|used| 1 + layer(rooms, used)).max().unwrap_or(0)
}

/// One line per room: its layer, name, lines and arrows.
pub(crate) fn print(rooms: &[Room], sources: &[Source]) {
    let mut rooms: Vec<_> = rooms.iter().map(|room| (layer(rooms, &room.name), room)).collect();
    rooms.sort_by_key(|(layer, _)| *layer);
    for (layer, room) in rooms {
        let own = sources.iter().filter(|source| source.path.starts_with(&room.folder()));
        let (lines, tests) =
            own.map(Source::line_counts).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let arrows = if room.uses.is_empty() { ".".to_owned() } else { room.uses.join(", ") };
        println!("{layer:2}  {:16} {lines:6} lines {tests:6} of tests  -> {arrows}", room.name);
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str, uses: &[&str], tests_use: &[&str]) -> Room {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Room { name: name.into(), uses: owned(uses), tests_use: owned(tests_use) }
    }

    fn found(rooms: &[Room]) -> Vec<(&'static str, String)> {
        check(rooms).into_iter().map(|finding| (finding.rule, finding.subject)).collect()
    }

    #[test]
    fn arrows_point_one_way() {
        let kernels = || room("bantam-kernels", &[], &[]);
        assert!(found(&[kernels(), room("bantam-tensor", &["bantam-kernels"], &[])]).is_empty());
        let skips = [kernels(), room("bantam-model", &["bantam-kernels"], &[])];
        assert_eq!(found(&skips), [("arrow", "bantam-model".into())]);
        assert_eq!(found(&[room("bantam-misc", &[], &[])]), [("arrow", "bantam-misc".into())]);
        assert_eq!(found(&[room("bantam", &["xtask"], &[])]), [("arrow", "bantam".into())]);
    }

    #[test]
    fn tests_make_circles_too() {
        let rooms = [
            room("bantam-kernels", &[], &["bantam-tensor"]),
            room("bantam-tensor", &["bantam-kernels"], &[]),
        ];
        assert_eq!(found(&rooms).iter().filter(|(rule, _)| *rule == "circle").count(), 2);
    }
}
