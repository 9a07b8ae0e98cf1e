//! The folder of a run: what it was told, how it goes, what it learnt, and what it needs to go on.

use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bantam::Loaded;
use bantam::model::Adapter;
use bantam_model::Model;
use bantam_tensor::format::adapter::{AdapterFile, AdapterForm};
use bantam_tensor::format::atomic;
use bantam_tensor::{Source, Storage};
use bantam_train::Trainer;
use serde_json::Value;

const CONFIG: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
const STATE: &str = "state.bin";
const RANKS: &str = "ranks.json";

/// What is kept of what was learnt.
pub(crate) enum Keep<'a> {
    /// An adapter for a model of this name.
    Adapter {
        /// As the user gave it.
        base_name: &'a str,
    },
    /// All weights.
    Checkpoint {
        /// Where they began.
        loaded: &'a Loaded,
        /// That of the matrices, where one is asked for.
        storage: Option<Storage>,
    },
}

/// A folder.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Whether a new run may begin in a folder, or one be gone on with. To be asked before work is done for it.
    pub(crate) fn check(path: &Path, resume: bool) -> Result<()> {
        match (resume, path.join(CONFIG).is_file()) {
            (true, false) => bail!("{} holds no run to go on with: leave out --resume", path.display()),
            (false, true) => bail!(
                "{} holds a run already: go on with it by --resume, or choose another --output",
                path.display()
            ),
            _ => Ok(()),
        }
    }

    /// A folder for a new run, or that of a run to go on with.
    pub(crate) fn open(path: &Path, resume: bool) -> Result<Self> {
        Self::check(path, resume)?;
        let folder = Folder { path: path.to_owned() };
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(folder)
    }

    pub(crate) fn write_config(&self, config: &Value) -> Result<()> {
        self.write(CONFIG, |file| serde_json::to_writer_pretty(file, config).map_err(Into::into))
    }

    /// What was measured so far, up to a step.
    pub(crate) fn metrics(&self, steps: u64) -> Result<Vec<Value>> {
        let Ok(text) = fs::read_to_string(self.path.join(METRICS)) else { return Ok(Vec::new()) };
        // A line that a kill cut off is told again.
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.filter(|line| line["step"].as_u64().is_some_and(|step| step <= steps)).collect())
    }

    pub(crate) fn write_metrics(&self, metrics: &[Value]) -> Result<()> {
        self.write(METRICS, |file| metrics.iter().try_for_each(|line| writeln!(file, "{line}")))
    }

    pub(crate) fn write_state(&self, trainer: &Trainer) -> Result<()> {
        self.write(STATE, |file| trainer.write_state(file))
    }

    pub(crate) fn read_state(&self, trainer: &mut Trainer) -> Result<()> {
        let path = self.path.join(STATE);
        let file = fs::File::open(&path).with_context(|| {
            format!(
                "{} has no state to go on from; the run stopped before its first evaluation",
                path.display()
            )
        })?;
        trainer.read_state(&mut BufReader::new(file)).with_context(|| {
            format!("cannot go on from {}; give the arguments of the run that wrote it", path.display())
        })
    }

    /// What was learnt so far: an adapter for PEFT in the folder itself, and beside it the GGUF file for llama.cpp; or a
    /// checkpoint of its own.
    pub(crate) fn write_best(&self, keep: &Keep<'_>, trainer: &Trainer) -> Result<()> {
        match (keep, trainer.adapter()) {
            (Keep::Adapter { base_name }, Some(adapter)) => {
                self.write_adapter(adapter, trainer.model(), base_name)
            }
            (Keep::Adapter { .. }, None) => Ok(()),
            (Keep::Checkpoint { loaded, storage }, _) => {
                let out = self.checkpoint(loaded);
                Ok(bantam::write_model(loaded, trainer.model(), *storage, &out)?)
            }
        }
    }

    fn write_adapter(&self, adapter: &Adapter, model: &Model, base_name: &str) -> Result<()> {
        let gguf = (AdapterForm::Gguf, self.path.join("adapter.gguf"));
        // Lengths of rows (DoRA) and prefixes GGUF has no words for.
        let gguf = Some(gguf).filter(|_| !adapter.has_magnitudes() && adapter.prefix.is_none());
        for (form, path) in [(AdapterForm::Peft, self.path.clone())].into_iter().chain(gguf) {
            let file = adapter.to_file(model, form)?;
            AdapterFile { base_name: Some(base_name.to_owned()), ..file }.write(&path)?;
        }
        Ok(())
    }

    /// The adapter as it was last written.
    pub(crate) fn read_adapter(&self, model: &Model) -> Result<Adapter> {
        let file = AdapterFile::open(&self.path)?;
        Ok(Adapter::bind(&file, model, bantam::model::BaseCheck::Fingerprint)?)
    }

    /// Where a checkpoint of its own lies, in the form of the one that it began from.
    pub(crate) fn checkpoint(&self, loaded: &Loaded) -> PathBuf {
        match loaded.checkpoint.source() {
            Source::Gguf => self.path.join("model.gguf"),
            Source::Folder => self.path.join("model"),
        }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What so many examples are ordered by, if an earlier run found it.
    pub(crate) fn read_ranks(&self, count: usize) -> Option<Vec<f64>> {
        let bytes = fs::read(self.path.join(RANKS)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|ranks: &Vec<f64>| ranks.len() == count)
    }

    pub(crate) fn write_ranks(&self, ranks: &[f64]) -> Result<()> {
        self.write(RANKS, |file| serde_json::to_writer(file, ranks).map_err(Into::into))
    }

    /// A small file that nobody else may read.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        });
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    pub(crate) fn read_secret(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}, without which the run cannot go on", path.display()))
    }

    pub(crate) fn remove_secret(&self, name: &str) {
        // What is not there cannot be removed.
        let _ = fs::remove_file(self.path.join(name));
    }

    pub(crate) fn write_page(&self, page: &str) -> Result<()> {
        self.write("report.html", |file| file.write_all(page.as_bytes()))
    }

    fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut std::io::BufWriter<fs::File>) -> std::io::Result<()>,
    ) -> Result<()> {
        Ok(atomic::write(&self.path.join(name), fill)?)
    }
}
