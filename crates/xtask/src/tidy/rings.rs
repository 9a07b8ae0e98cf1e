//! Rings among the modules of one crate: reported, not forbidden.
//!
//! Read from the `crate::` paths that top-level modules write, so a re-export hides some: a lower bound.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::Room;
use super::source::Source;

type Uses = BTreeMap<String, BTreeSet<String>>;

/// Prints each ring of each room.
pub(crate) fn print(rooms: &[Room], sources: &[Source]) {
    for room in rooms {
        let uses = uses(&format!("{}src/", room.folder()), sources);
        for ring in rings(&uses) {
            let names: Vec<_> = ring.into_iter().collect();
            println!(
                "ring in {}: {} of {} modules: {}",
                room.name,
                names.len(),
                uses.len(),
                names.join(", ")
            );
        }
    }
}

fn uses(folder: &str, sources: &[Source]) -> Uses {
    let mut uses = Uses::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix(folder) else { continue };
        let top = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if !matches!(inside, "lib.rs" | "main.rs") {
            uses.entry(top.to_owned()).or_default().extend(used_modules(source));
        }
    }
    let tops: BTreeSet<_> = uses.keys().cloned().collect();
    for (top, used) in &mut uses {
        used.retain(|one| one != top && tops.contains(one));
    }
    uses
}

/// The first names of `crate::a::..` and `crate::{a::.., b}`.
fn used_modules(source: &Source) -> BTreeSet<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut used = BTreeSet::new();
    for (at, path) in source.lexed.code.match_indices("crate::") {
        if source.is_test(source.line(at)) {
            continue;
        }
        let rest = &source.lexed.code[at + path.len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => &list[..list.find('}').unwrap_or(list.len())],
            None => &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())],
        };
        used.extend(names.split(|c| !is_word(c)).map(str::to_owned));
    }
    used
}

/// Sets of two or more modules that all reach each other.
fn rings(uses: &Uses) -> BTreeSet<BTreeSet<String>> {
    let reached: BTreeMap<_, _> = uses.keys().map(|name| (name, reach(uses, name))).collect();
    let ring = |name: &String| {
        let both_ways = |other: &&String| reached.get(other).is_some_and(|back| back.contains(name));
        reached[name].iter().filter(both_ways).cloned().collect::<BTreeSet<_>>()
    };
    uses.keys().map(ring).filter(|ring| ring.len() > 1).collect()
}

fn reach(uses: &Uses, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        for next in uses.get(name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_reach_each_other_are_a_ring() {
        let file = |name: &str, text: &str| Source::new(format!("crates/x/src/{name}.rs"), text);
        let sources = [
            file("a", "use crate::b::B;\n"),
            file("b", "use crate::{a::A, c};\n"),
            file("c", "#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n"),
            file("lib", "mod a;\nuse crate::a;\n"),
        ];
        let found: Vec<_> = rings(&uses("crates/x/src/", &sources)).into_iter().flatten().collect();
        assert_eq!(found, ["a", "b"]);
    }
}
