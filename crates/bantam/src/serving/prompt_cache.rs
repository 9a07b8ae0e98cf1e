//! Prompt caches on disk: what an engine leaves when it ends, for the next one with the same model and settings.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bantam_engine::{Engine, Error, Figures, Request};
use bantam_server::{Generate, Running};

/// An engine that begins with what was kept, and keeps what it has when it is dropped.
pub(super) struct Cached {
    engine: Engine,
    path: PathBuf,
}

impl Cached {
    /// Reads what is there for a model. What cannot be read is told, and will be written over: a cache only saves time.
    pub(super) fn new(engine: Engine, folder: &Path, model: &str) -> Self {
        let cached = Cached { engine, path: folder.join(file_name(model)) };
        match cached.read() {
            Ok(0) => {}
            Ok(tokens) => eprintln!("{}: {tokens} tokens of prompts", cached.path.display()),
            Err(error) => eprintln!("{error:#}; going on without it"),
        }
        cached
    }

    fn read(&self) -> Result<usize> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            file => file,
        };
        let named = || format!("cannot read the prompt cache {}", self.path.display());
        self.engine.load_states(BufReader::new(file.with_context(named)?)).with_context(named)
    }

    /// All of it or nothing takes the file's place, which only its owner may read: states tell what was asked.
    fn write(&self) -> Result<()> {
        let part = self.path.with_extension("part");
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = private(&part)?;
        let written = self.engine.save_states(BufWriter::with_capacity(1 << 20, file.try_clone()?));
        let placed = written.map_err(anyhow::Error::from).and_then(|_| {
            file.sync_all()?;
            Ok(fs::rename(&part, &self.path)?)
        });
        if placed.is_err() {
            let _ = fs::remove_file(&part);
        }
        placed
    }
}

fn private(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok(options.open(path)?)
}

/// A name that is one on every system.
fn file_name(model: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    format!("{}.states", model.chars().map(plain).collect::<String>())
}

impl Generate for Cached {
    fn submit(&self, request: Request) -> Result<Running, Error> {
        Generate::submit(&self.engine, request)
    }

    fn figures(&self) -> Option<Figures> {
        Generate::figures(&self.engine)
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        if let Err(error) = self.write() {
            eprintln!("cannot write the prompt cache {}: {error:#}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_names_of_files() {
        assert_eq!(file_name("smollm2:135m"), "smollm2-135m.states");
        assert_eq!(file_name("../a/b c.gguf"), "---a-b-c-gguf.states");
    }
}
