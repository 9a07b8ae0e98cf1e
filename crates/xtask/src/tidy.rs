//! `tidy`: the figures of the house, and the rules that no compiler checks.
//!
//! A rule yields [`Finding`]s; `exceptions.txt` excuses some, each with a reason; what is left fails the verb and
//! the test of the same name.

mod arrows;
mod exceptions;
mod figures;
mod lex;
mod names;
mod rings;
mod rules;
mod source;

use std::collections::HashSet;
use std::path::PathBuf;

use crate::{Arguments, Error, Result, workspace};
use arrows::Room;
use figures::Figures;
use source::Source;

/// Something that a rule objects to.
pub(crate) struct Finding {
    rule: &'static str,
    /// A path, a path and a function, a crate or a figure: what an exception names.
    subject: String,
    /// What an exception may bound; 0 where the rule has no number.
    value: usize,
    message: String,
}

/// What the rules look at.
struct House {
    rooms: Vec<Room>,
    sources: Vec<Source>,
    /// Every text of the repository, Rust or not.
    texts: Vec<(String, String)>,
}

/// Prints the figures; fails where a rule is broken.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    arguments.names()?;
    let house = House::read()?;
    let figures = Figures::of(&house.sources);
    println!("{figures}");
    arrows::print(&house.rooms, &house.sources);
    rings::print(&house.rooms, &house.sources);
    let findings = inspect(&house, &figures)?;
    for finding in &findings {
        println!("{} | {} | {} | {}", finding.rule, finding.subject, finding.value, finding.message);
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Error::Failed(format!("{count} findings (rule | subject | value | what)"))),
    }
}

fn inspect(house: &House, figures: &Figures) -> Result<Vec<Finding>> {
    let mut findings = arrows::check(&house.rooms);
    findings.extend(figures.check());
    findings.extend(rules::check(house));
    let excused = exceptions::read(&exceptions_path())?;
    Ok(exceptions::apply(&excused, findings))
}

fn exceptions_path() -> PathBuf {
    workspace::root().join("crates/xtask/exceptions.txt")
}

impl House {
    fn read() -> Result<Self> {
        let rooms = arrows::rooms()?;
        let mut texts = Vec::new();
        for path in workspace::files(&workspace::root())? {
            // What is no text has no words to look for.
            if let Ok(text) = std::fs::read_to_string(&path) {
                texts.push((workspace::relative(&path), text));
            }
        }
        let rust = texts.iter().filter(|(path, _)| path.starts_with("crates/") && path.ends_with(".rs"));
        let mut sources: Vec<_> = rust.map(|(path, text)| Source::new(path.clone(), text)).collect();
        mark_test_modules(&mut sources);
        Ok(Self { rooms, sources, texts })
    }
}

/// A file whose `mod` line stands under `#[cfg(test)]` is a test, and so is what lies in its folder.
fn mark_test_modules(sources: &mut [Source]) {
    let modules: HashSet<_> = sources.iter().flat_map(Source::test_module_paths).collect();
    for source in sources {
        let path = source.path.trim_end_matches(".rs").to_owned();
        let ancestors = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path.as_str()]);
        if ancestors.into_iter().any(|ancestor| modules.contains(ancestor)) {
            source.mark_all_tests();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo test` checks the house, so that no change has to wait for a separate run to hear of it.
    #[test]
    fn the_house_is_tidy() {
        let house = House::read().unwrap();
        let findings = inspect(&house, &Figures::of(&house.sources)).unwrap();
        let lines =
            findings.iter().map(|f| format!("{} | {} | {} | {}", f.rule, f.subject, f.value, f.message));
        assert!(findings.is_empty(), "\n{}", lines.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn a_module_declared_for_tests_is_a_test_with_its_folder() {
        let file = |path: &str, text: &str| Source::new(path.into(), text);
        let mut sources = [
            file("crates/x/src/lib.rs", "#[cfg(test)]\nmod naive;\nmod fast;\n"),
            file("crates/x/src/naive/deep.rs", "fn a() {}"),
            file("crates/x/src/fast.rs", "fn a() {}"),
        ];
        mark_test_modules(&mut sources);
        assert_eq!(sources[1].line_counts(), (0, 1));
        assert_eq!(sources[2].line_counts(), (1, 0));
    }
}
