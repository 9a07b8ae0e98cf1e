//! One Rust file, ready to be measured: its lines, brackets, functions, tests and `unsafe`.
//!
//! Lines count from 0 inside `tidy` and from 1 in messages. A *source line* has code on it and is no test; a
//! *test line* lies in a test folder, a `#[cfg(test)]` item or a `#[test]` function.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use super::lex::{Comment, Lexed, is_word_byte, lex};

/// A file and what the scan found in it.
pub(crate) struct Source {
    /// From the root of the workspace, with forward slashes.
    pub(crate) path: String,
    pub(crate) lexed: Lexed,
    /// Offset of each line.
    starts: Vec<usize>,
    /// Offset of an opening bracket -> offset of its closing one.
    pairs: HashMap<usize, usize>,
    is_test: Vec<bool>,
    /// Modules declared as `#[cfg(test)] mod name;`.
    test_modules: Vec<String>,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// One use of the keyword `unsafe`.
pub(crate) struct Unsafe {
    pub(crate) line: usize,
    /// A block or an `impl`, which need a SAFETY comment; else a function or a declaration.
    pub(crate) needs_proof: bool,
    pub(crate) has_proof: bool,
}

impl Source {
    /// Scans `text`; `path` decides whether the whole file is a test.
    pub(crate) fn new(path: String, text: &str) -> Self {
        let lexed = lex(text);
        let starts = std::iter::once(0).chain(lexed.code.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let pairs = pair_brackets(lexed.code.as_bytes());
        let mut source = Self { path, lexed, starts, pairs, is_test: Vec::new(), test_modules: Vec::new() };
        source.is_test = vec![is_test_path(&source.path); source.starts.len()];
        source.mark_tests();
        source
    }

    pub(crate) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|&start| start <= offset) - 1
    }

    /// The code of a line without blanks around it.
    pub(crate) fn code(&self, line: usize) -> &str {
        let end = self.starts.get(line + 1).copied().unwrap_or(self.lexed.code.len());
        self.lexed.code[self.starts[line]..end].trim()
    }

    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.is_test[line]
    }

    /// Makes the whole file a test, for a module declared under `#[cfg(test)]` elsewhere.
    pub(crate) fn mark_all_tests(&mut self) {
        self.is_test.fill(true);
    }

    /// Paths, without `.rs`, of the modules this file declares under `#[cfg(test)]`.
    pub(crate) fn test_module_paths(&self) -> impl Iterator<Item = String> {
        let stem = self.path.trim_end_matches(".rs");
        let home = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        self.test_modules.iter().map(move |name| format!("{home}/{name}"))
    }

    /// Lines with code on them: (in the source, in tests).
    pub(crate) fn line_counts(&self) -> (usize, usize) {
        let code: Vec<_> = (0..self.starts.len()).filter(|&line| !self.code(line).is_empty()).collect();
        let tests = code.iter().filter(|&&line| self.is_test[line]).count();
        (code.len() - tests, tests)
    }

    /// Comment lines outside tests: (comments on lines of their own, docs).
    pub(crate) fn comment_counts(&self) -> (usize, usize) {
        let outside = || self.lexed.comments.iter().filter(|comment| !self.is_test[comment.line]);
        let own = outside().filter(|comment| !comment.is_doc && self.code(comment.line).is_empty()).count();
        (own, outside().filter(|comment| comment.is_doc).count())
    }

    /// Functions outside tests; a nested one also counts in the one around it.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let words = self.words("fn").into_iter();
        words.filter_map(|at| self.function(at)).filter(|function| !self.is_test[function.line]).collect()
    }

    fn function(&self, at: usize) -> Option<Function> {
        let rest = self.lexed.code[at + 2..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // `fn(` is a type.
        if name.is_empty() {
            return None;
        }
        let body = self.body_after(at)?;
        let line = self.line(at);
        Some(Function { name, line, lines: self.line(body.end) - line + 1 })
    }

    /// Uses of `unsafe`, in tests too.
    pub(crate) fn unsafes(&self) -> Vec<Unsafe> {
        let found = self.words("unsafe").into_iter().map(|at| {
            let after = self.lexed.code[at + "unsafe".len()..].trim_start();
            let line = self.line(at);
            let needs_proof = after.starts_with('{') || after.starts_with("impl");
            Unsafe { line, needs_proof, has_proof: self.has_proof(line) }
        });
        found.collect()
    }

    /// `pub` items outside tests: (all, without docs).
    pub(crate) fn public_counts(&self) -> (usize, usize) {
        let lines: Vec<_> = (0..self.starts.len())
            .filter(|&line| !self.is_test[line] && is_public_item(self.code(line)))
            .collect();
        (lines.len(), lines.iter().filter(|&&line| !self.has_docs(line)).count())
    }

    /// Offsets of `word` where it stands alone in code.
    pub(crate) fn words(&self, word: &str) -> Vec<usize> {
        let code = self.lexed.code.as_bytes();
        let stands_alone = |at: usize| {
            let before = at == 0 || !is_word_byte(code[at - 1]);
            before && code.get(at + word.len()).is_none_or(|&byte| !is_word_byte(byte))
        };
        let found = self.lexed.code.match_indices(word).map(|(at, _)| at);
        found.filter(|&at| stands_alone(at)).collect()
    }

    /// How often `pattern` occurs in code outside tests.
    pub(crate) fn count(&self, pattern: &str) -> usize {
        let found = self.lexed.code.match_indices(pattern);
        found.filter(|(at, _)| !self.is_test[self.line(*at)]).count()
    }

    /// From the `{` to the `}` that an item starting at `offset` owns; `None` where a `;` ends it.
    fn body_after(&self, offset: usize) -> Option<Range<usize>> {
        let code = self.lexed.code.as_bytes();
        let mut at = offset;
        while at < code.len() {
            match code[at] {
                b'{' => return self.pairs.get(&at).map(|&end| at..end),
                b'(' | b'[' => at = *self.pairs.get(&at)?,
                b';' | b')' | b']' | b'}' => return None,
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn mark_tests(&mut self) {
        let attributes: Vec<_> = self.lexed.code.match_indices('#').map(|(at, _)| at).collect();
        for at in attributes {
            let Some(attribute) = self.attribute(at) else { continue };
            let text: String = self.lexed.code[attribute.clone()].split_whitespace().collect();
            if !is_test_attribute(&text) {
                continue;
            }
            if self.lexed.code.as_bytes().get(at + 1) == Some(&b'!') {
                self.mark_all_tests();
            }
            self.mark_item(at, attribute.end + 1);
        }
    }

    /// The inside of `#[..]` or `#![..]` at `at`.
    fn attribute(&self, at: usize) -> Option<Range<usize>> {
        let open = at + self.lexed.code[at..].find('[').filter(|&gap| gap <= 2)?;
        Some(open + 1..*self.pairs.get(&open)?)
    }

    /// Marks the item whose first attribute is at `first` and whose text goes on at `after`.
    fn mark_item(&mut self, first: usize, mut after: usize) {
        while let Some(gap) = self.lexed.code[after..].find(|c: char| !c.is_whitespace()) {
            match self.attribute(after + gap).filter(|_| self.lexed.code[after + gap..].starts_with('#')) {
                Some(next) => after = next.end + 1,
                None => break,
            }
        }
        if let Some(name) = declared_module(&self.lexed.code[after..]) {
            self.test_modules.push(name);
        } else if let Some(body) = self.body_after(after) {
            let lines = self.line(first)..=self.line(body.end);
            self.is_test[lines].fill(true);
        }
    }

    fn comments_by_line(&self, line: usize) -> impl Iterator<Item = &Comment> {
        self.lexed.comments.iter().filter(move |comment| comment.line == line)
    }

    fn is_proof(&self, line: usize) -> bool {
        self.comments_by_line(line).any(|comment| comment.text.to_ascii_uppercase().contains("SAFETY"))
    }

    /// A SAFETY comment beside the line, first inside the block, or on the statement the line belongs to.
    fn has_proof(&self, line: usize) -> bool {
        if self.is_proof(line) || self.is_proof(line + 1) {
            return true;
        }
        let commented: BTreeSet<_> = self.lexed.comments.iter().map(|comment| comment.line).collect();
        let is_comment = |at: usize| commented.contains(&at) && self.code(at).is_empty();
        let statement = (0..line).rev().find(|&at| {
            let code = self.code(at);
            is_comment(at) || code.is_empty() || (code.ends_with([';', '{', '}']) && !code.starts_with('#'))
        });
        let above = statement.map_or(0, |at| at + 1);
        (0..above).rev().take_while(|&at| is_comment(at)).any(|at| self.is_proof(at))
    }

    fn has_docs(&self, line: usize) -> bool {
        for at in (0..line).rev() {
            if self.comments_by_line(at).any(|comment| comment.is_doc) || self.code(at).starts_with("#[doc") {
                return true;
            }
            let code = self.code(at);
            let is_attribute = code.starts_with('#') || code.ends_with(']') || code.ends_with(',');
            if !is_attribute && (!code.is_empty() || self.comments_by_line(at).next().is_none()) {
                return false;
            }
        }
        false
    }
}

fn pair_brackets(code: &[u8]) -> HashMap<usize, usize> {
    let mut pairs = HashMap::new();
    let mut open = Vec::new();
    for (at, byte) in code.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => open.push(at),
            b')' | b']' | b'}' => {
                if let Some(start) = open.pop() {
                    pairs.insert(start, at);
                }
            }
            _ => {}
        }
    }
    pairs
}

fn is_test_path(path: &str) -> bool {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    let in_tests = folders.split('/').any(|folder| matches!(folder, "tests" | "benches" | "examples"));
    in_tests || file == "tests.rs" || file.ends_with("_tests.rs")
}

/// `attribute` without blanks, e.g. `cfg(test)`, `test`, `cfg(all(test,unix))`.
fn is_test_attribute(attribute: &str) -> bool {
    let condition = attribute.strip_prefix("cfg(");
    let condition = condition.map(|inner| inner.trim_start_matches("all(").trim_start_matches("any("));
    match condition {
        Some(inner) => inner.strip_prefix("test").is_some_and(|rest| rest.starts_with([')', ','])),
        None => attribute == "test" || attribute.ends_with("::test"),
    }
}

/// The name in `mod name;`.
fn declared_module(item: &str) -> Option<String> {
    let item = item.trim_start();
    let item = item.strip_prefix("pub(crate)").or(item.strip_prefix("pub")).unwrap_or(item).trim_start();
    let (name, _) = item.strip_prefix("mod ")?.split_once(';')?;
    name.trim().bytes().all(is_word_byte).then(|| name.trim().to_owned())
}

fn is_public_item(code: &str) -> bool {
    let Some(mut rest) = code.strip_prefix("pub ") else { return false };
    for word in ["async ", "const ", "unsafe ", "extern "] {
        rest = rest.strip_prefix(word).filter(|_| rest.contains("fn ")).unwrap_or(rest);
    }
    ["fn ", "struct ", "enum ", "union ", "trait ", "type ", "const ", "static ", "_"]
        .iter()
        .any(|kind| rest.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/y.rs".into(), text)
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let source = source(
            "fn a() {}\nfn b(x: [u8; 3])\nwhere\n    T: X,\n{\n    c();\n}\nfn d();\nlet e: fn(u8);\n",
        );
        let found: Vec<_> = source.functions().iter().map(|f| (f.name.clone(), f.line, f.lines)).collect();
        assert_eq!(found, [("a".into(), 0, 1), ("b".into(), 1, 6)]);
    }

    #[test]
    fn tests_are_told_from_source() {
        let inline = source(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[test]\n#[ignore]\nfn c() {\n}\n",
        );
        assert_eq!(inline.line_counts(), (1, 8));
        assert_eq!(inline.functions().len(), 1);
        let declared = source("#[cfg(test)]\nmod naive;\nfn a() {}\n");
        assert_eq!(declared.test_module_paths().collect::<Vec<_>>(), ["crates/x/src/y/naive"]);
        assert_eq!(Source::new("crates/x/tests/a.rs".into(), "fn a() {}").line_counts(), (0, 1));
        assert_eq!(source("#[cfg(not(test))]\nfn a() {}\n").line_counts(), (2, 0));
    }

    #[test]
    fn unsafe_blocks_need_a_proof() {
        let check = |text: &str| source(text).unsafes()[0].has_proof;
        assert!(check("// SAFETY: in bounds\nlet x = unsafe { a() };"));
        assert!(check(
            "fn f() {\n    // SAFETY: two lines\n    // of it\n    let x =\n        unsafe { a() };\n}"
        ));
        assert!(check("unsafe {\n    // SAFETY: inside\n    a()\n}"));
        assert!(!check("// SAFETY: of another\nlet y = 1;\nlet x = unsafe { a() };"));
        assert!(!source("unsafe fn f() {}").unsafes()[0].needs_proof);
        assert!(source("#![forbid(unsafe_code)] // unsafe\n").unsafes().is_empty());
    }

    #[test]
    fn public_items_are_documented_or_bare() {
        let source =
            source("/// Docs.\n#[derive(Debug)]\npub struct A;\n\npub fn b() {}\npub(crate) fn c() {}\n");
        assert_eq!(source.public_counts(), (2, 1));
    }
}
