//! A model with an engine of its own, and the memory that this takes.

use std::sync::Arc;

use anyhow::{Context, Result};
use bantam::model::BaseCheck;
use bantam::{Defaults, Loaded, MemoryNeed, WantedAdapter};
use bantam_engine::{Adapter, Engine, Figures, Request, Settings, Speculation};
use bantam_hub::{Located, Recipe};
use bantam_model::{PAGE, State};
use bantam_server::{AdapterPart, Fit, Generate, Listed, Need, Refusal, Running, Served};
use bantam_tensor::format::adapter::AdapterFile;
use bantam_text::{ChatTemplate, Special};

use super::prompt_cache::Cached;
use super::{facts, recipe};
use crate::args::ServeArgs;
use crate::models::Models;

/// Numbers of logits that a step gives for prompts at most, as the engine limits them.
const LOGITS_MAX: usize = 16 << 20;
/// A vocabulary in memory: pieces, their lookup, merges.
const BYTES_PER_TOKEN: u64 = 400;
/// Threads' stacks, connections, what is on its way.
const SMALL_CHANGE_BYTES: u64 = 16 << 20;

/// A model whose header was read.
pub(super) struct Opened<'a> {
    args: &'a ServeArgs,
    models: &'a Models,
    located: &'a Located,
    loaded: Loaded,
}

impl<'a> Opened<'a> {
    pub(super) fn open(args: &'a ServeArgs, models: &'a Models, located: &'a Located) -> Result<Self> {
        Ok(Opened { args, models, located, loaded: Loaded::open(&located.path)? })
    }

    fn recipe(&self) -> Option<&Recipe> {
        self.located.manifest.as_ref()?.recipe.as_ref()
    }

    /// What is told of it.
    pub(super) fn listed(&self, name: &str) -> Result<Listed> {
        Ok(Listed {
            name: name.to_owned(),
            details: facts::details(&self.loaded, self.located),
            sampling: recipe::sampling(self.recipe(), Defaults::of(&self.loaded).sampling)?,
            context_length: self.context_length()?,
            vocab_size: self.loaded.model.description.vocab_size,
            version: facts::version(self.located),
        })
    }

    /// What it takes with all that it could use.
    pub(super) fn need(&self) -> Result<Need> {
        let kept_bytes_max = self.args.cache.saturating_mul(1_000_000) as u64;
        let settings = self.settings(Fit { sequences_max: self.args.parallel(), kept_bytes_max })?;
        let model = &self.loaded.model;
        let rows = settings.step_rows_max;
        let predict = |model| MemoryNeed::predict(model, settings.kv, settings.context_length, rows);
        let (own, memory) = (predict(model), settings.memory(&model.description));
        let draft = match &settings.speculation {
            Speculation::Draft(draft) => predict(draft).total_bytes(),
            Speculation::Off | Speculation::Lookup => 0,
        };
        let vocab_size = model.description.vocab_size;
        let logits = rows.saturating_mul(vocab_size).min(LOGITS_MAX.max(vocab_size)) * 4;
        let text = vocab_size as u64 * BYTES_PER_TOKEN;
        Ok(Need {
            weights_bytes: own.weights_bytes,
            work_bytes: own.work_bytes
                + draft
                + self.adapters_bytes()?
                + logits as u64
                + text
                + SMALL_CHANGE_BYTES,
            sequence_bytes: memory.sequence_bytes as u64,
            sequences_max: self.args.parallel(),
            kept_bytes_max: memory.kept_bytes_max as u64,
        })
    }

    /// Starts it with what it is given.
    pub(super) fn serve(self, name: &str, fit: Fit) -> Result<Served> {
        let listed = self.listed(name)?;
        let tokenizer = self.loaded.tokenizer()?;
        let ids = |text: &str| tokenizer.to_ids(text, Special::AsText).ok();
        let sampling = self.args.sampling.over(listed.sampling, ids)?;
        let mut stop_tokens = Defaults::of(&self.loaded).stop_tokens;
        stop_tokens.extend(tokenizer.stops());
        let template = match self.recipe().and_then(|recipe| recipe.template.as_ref()) {
            Some(source) => {
                let roles = tokenizer.roles();
                let [bos, eos] = [roles.bos, roles.eos].map(|id| tokenizer.role_text(id));
                Some(ChatTemplate::compile(source, &bos, &eos)?)
            }
            None => self.loaded.template(&tokenizer).context("its conversations cannot be written")?,
        };
        let engine = Engine::start(self.loaded.model.clone(), self.settings(fit)?)?;
        let context_length = engine.settings().context_length;
        let generator: Box<dyn Generate> = match &self.args.prompt_cache {
            Some(folder) => Box::new(Cached::new(engine, folder, &listed.name)),
            None => Box::new(engine),
        };
        let check = self.args.adapters.check();
        let own = self.loaded.adapter(&self.adapters(), check)?;
        Ok(Served {
            name: listed.name,
            opening: recipe::opening(self.recipe()),
            stops: recipe::stops(self.recipe())?,
            max_tokens: recipe::max_tokens(self.recipe())?,
            template,
            sampling,
            seed: self.args.sampling.seed.or(recipe::seed(self.recipe())?),
            stop_tokens,
            context_length,
            vocab_size: listed.vocab_size,
            embedding_size: self.loaded.model.description.hidden_size,
            pooling: self.loaded.pooling(),
            sequences_max: fit.sequences_max,
            details: listed.details,
            generator: Box::new(Runner { generator, own, check, loaded: self.loaded }),
            tokenizer,
        })
    }

    fn settings(&self, fit: Fit) -> Result<Settings> {
        let settings = Settings {
            context_length: self.context_length()?,
            sequences_max: fit.sequences_max,
            kept_bytes_max: usize::try_from(fit.kept_bytes_max).unwrap_or(usize::MAX),
            ..self.args.machine.settings()
        };
        // What was promised is never passed, whatever the sequences share; each may have a page twice while it copies it.
        let description = &self.loaded.model.description;
        let memory = settings.memory(description);
        let copies = State::bytes_at(description, settings.kv, PAGE).saturating_mul(fit.sequences_max);
        let state_bytes_max =
            memory.running_bytes_max.saturating_add(memory.kept_bytes_max).saturating_add(copies);
        let settings = Settings { state_bytes_max, ..settings };
        self.args.speculation.over(settings, self.models, &self.loaded)
    }

    /// As the command line wishes, else as the recipe does.
    fn context_length(&self) -> Result<usize> {
        let own = recipe::context_length(self.recipe())?;
        Ok(self.args.context_length(&self.loaded, own))
    }

    /// Those that always change it.
    fn adapters(&self) -> Vec<WantedAdapter> {
        let paths = self.located.manifest.iter().flat_map(|manifest| self.models.hub.adapters(manifest));
        paths.map(|path| WantedAdapter { path, scale: 1.0 }).collect()
    }

    fn adapters_bytes(&self) -> Result<u64> {
        let bytes = |adapter: &WantedAdapter| Ok(adapter_bytes(&AdapterFile::open(&adapter.path)?));
        self.adapters().iter().map(bytes).sum::<Result<u64>>().context("its adapter")
    }
}

/// It is computed with in 32 bits, however it lies on the disk.
pub(super) fn adapter_bytes(file: &AdapterFile) -> u64 {
    file.parameters().saturating_mul(4)
}

/// An engine, and the model that adapters are opened for.
struct Runner {
    generator: Box<dyn Generate>,
    /// What changes the model where a request does not say.
    own: Option<Arc<Adapter>>,
    check: BaseCheck,
    loaded: Loaded,
}

impl Generate for Runner {
    fn submit(&self, mut request: Request) -> Result<Running, bantam_engine::Error> {
        request.adapter = request.adapter.or_else(|| self.own.clone());
        self.generator.submit(request)
    }

    fn adapter(&self, parts: &[AdapterPart]) -> Result<Arc<Adapter>, Refusal> {
        let wanted =
            |part: &AdapterPart| WantedAdapter { path: part.place.clone().into(), scale: part.scale };
        let wanted: Vec<WantedAdapter> = parts.iter().map(wanted).collect();
        let adapter = self.loaded.adapter(&wanted, self.check);
        let adapter = adapter.map_err(|error| Refusal::Invalid(error.to_string()))?;
        adapter.ok_or_else(|| Refusal::Invalid("no adapter is wanted".into()))
    }

    fn figures(&self) -> Option<Figures> {
        self.generator.figures()
    }
}
