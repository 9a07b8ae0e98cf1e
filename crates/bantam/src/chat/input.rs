//! The line editor: history, completion of commands, and texts of many lines.

use std::path::PathBuf;

use anyhow::Result;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use super::command::{COMMANDS, is_open};
use super::parameter::PARAMETERS;

/// What came from the keyboard.
pub(crate) enum Line {
    Text(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D.
    End,
}

/// Reads lines; keeps them in a file, if one is given.
pub(crate) struct Input {
    editor: Editor<Commands, FileHistory>,
    history: Option<PathBuf>,
}

impl Input {
    pub(crate) fn new(history: Option<PathBuf>) -> Result<Self> {
        let config = Config::builder().max_history_size(1000)?.history_ignore_space(true).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Commands));
        if let Some(path) = &history {
            // There is none the first time.
            let _ = editor.load_history(path);
        }
        Ok(Input { editor, history })
    }

    pub(crate) fn read(&mut self) -> Result<Line> {
        let line = match self.editor.readline(">>> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => return Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => return Ok(Line::End),
            Err(error) => return Err(error.into()),
        };
        if self.history.is_some() && !line.trim().is_empty() {
            self.editor.add_history_entry(&line)?;
        }
        Ok(Line::Text(line))
    }

    /// From now on, lines are kept in this file, or not at all.
    pub(crate) fn keep_history(&mut self, history: Option<PathBuf>) {
        self.history = history;
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let Some(path) = &self.history else { return };
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        // A history that cannot be kept is no reason to complain at the end.
        let _ = self.editor.save_history(path);
    }
}

/// What the editor knows of commands.
struct Commands;

impl Completer for Commands {
    type Candidate = String;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..end];
        if let Some(name) = typed.strip_prefix("/set ") {
            let names = PARAMETERS.iter().map(|(name, _)| *name).chain(["system", "verbose", "think"]);
            return Ok(("/set ".len(), beginning(names, name)));
        }
        let words = COMMANDS.iter().filter_map(|(command, _)| command.split(' ').next());
        Ok((0, if typed.starts_with('/') { beginning(words, typed) } else { Vec::new() }))
    }
}

fn beginning<'a>(words: impl Iterator<Item = &'a str>, start: &str) -> Vec<String> {
    words.filter(|word| word.starts_with(start)).map(|word| format!("{word} ")).collect()
}

impl Validator for Commands {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let open = is_open(context.input());
        Ok(if open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Hinter for Commands {
    type Hint = String;
}
impl Highlighter for Commands {}
impl Helper for Commands {}
