//! From a path to a model with its tokeniser, template and recommended settings.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bantam_engine::Pooling;
use bantam_model::Model;
use bantam_tensor::format::gguf;
use bantam_tensor::{Checkpoint, Metadata};
use bantam_text::{ChatTemplate, GgufVocab, Texts, Tokenizer};
use serde_json::Value;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The files.
    #[error(transparent)]
    File(#[from] bantam_tensor::Error),
    /// The config or the weights, and where they are.
    #[error("{}: {error}", path.display())]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// Why it is no model.
        error: bantam_model::Error,
    },
    /// An adapter.
    #[error("{}: {error}", path.display())]
    Adapter {
        /// Its file or folder.
        path: PathBuf,
        /// Why it is not for this model.
        error: bantam_model::Error,
    },
    /// Adapters that do not go together.
    #[error("the adapters cannot be added up: {0}")]
    Adapters(bantam_model::Error),
    /// The tokeniser.
    #[error("the tokeniser cannot be used: {0}")]
    Text(#[from] bantam_text::Error),
    /// The chat template.
    #[error("the chat template cannot be used: {0}")]
    Template(bantam_text::Error),
    /// There is no tokeniser.
    #[error(
        "no tokeniser: wanted tokenizer.json or tokenizer.model in the folder, or tokenizer.ggml.* in the GGUF file"
    )]
    NoTokenizer,
}

/// A model, ready to run.
pub struct Loaded {
    /// The description bound to its weights.
    pub model: Arc<Model>,
    /// What its files say, weights included.
    pub checkpoint: Checkpoint,
    tokenizer: OnceLock<Tokenizer>,
}

impl Loaded {
    /// Opens a GGUF file or a folder, maps its weights and binds them. Nothing is computed over the weights.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let checkpoint = Checkpoint::open(path)?;
        let unusable = |error| LoadError::Model { path: path.to_owned(), error };
        let model = Arc::new(Model::bind(&checkpoint).map_err(unusable)?);
        Ok(Loaded { model, checkpoint, tokenizer: OnceLock::new() })
    }

    /// The tokeniser of its files, built when it is first asked for.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        if let Some(built) = self.tokenizer.get() {
            return Ok(built.clone());
        }
        let built = tokenizer_of(&self.checkpoint.metadata)?;
        Ok(self.tokenizer.get_or_init(|| built).clone())
    }

    /// All weights once; tables that a converter computed from the config are none.
    pub fn parameters(&self) -> u64 {
        let is_computed = |name: &str| name.starts_with("rope_factors") || name.starts_with("rope_freqs");
        let learned = self.checkpoint.tensors().filter(|tensor| !is_computed(tensor.name()));
        learned.map(|tensor| tensor.elements() as u64).sum()
    }

    /// How its last hidden states become the embedding of a text: as its files say, else their mean.
    ///
    /// Sources: sentence-transformers' `1_Pooling/config.json`, llama.cpp's `LLAMA_POOLING_TYPE_*`.
    pub fn pooling(&self) -> Pooling {
        match &self.checkpoint.metadata {
            Metadata::Gguf(metadata) => {
                match metadata.find::<u32>(&format!("{}.pooling_type", self.model.architecture)) {
                    Ok(Some(2)) => Pooling::First,
                    Ok(Some(3)) => Pooling::Last,
                    _ => Pooling::Mean,
                }
            }
            Metadata::Folder(folder) => {
                let config = folder.json("1_Pooling/config.json").ok().flatten().unwrap_or_default();
                match () {
                    () if config["pooling_mode_cls_token"] == true => Pooling::First,
                    () if config["pooling_mode_lasttoken"] == true => Pooling::Last,
                    () => Pooling::Mean,
                }
            }
        }
    }

    /// The chat template's source, where the files have one.
    pub fn chat_template(&self) -> Option<String> {
        match &self.checkpoint.metadata {
            Metadata::Gguf(metadata) => metadata.string("tokenizer.chat_template").ok().map(str::to_owned),
            Metadata::Folder(folder) => folder.chat_template.clone(),
        }
    }

    /// The chat template, ready for conversations in the tokeniser's special tokens.
    pub fn template(&self, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, LoadError> {
        let roles = tokenizer.roles();
        let [bos, eos] = [roles.bos, roles.eos].map(|id| tokenizer.role_text(id));
        let compile = |source: String| ChatTemplate::compile(&source, &bos, &eos);
        self.chat_template().map(compile).transpose().map_err(LoadError::Template)
    }

    /// The settings for sampling that the model's makers recommend, as `generation_config.json` names them.
    pub fn generation_config(&self) -> Option<&Value> {
        match &self.checkpoint.metadata {
            Metadata::Gguf(_) => None,
            Metadata::Folder(folder) => folder.generation_config.as_ref(),
        }
    }
}

/// The tokeniser of a file or folder that need not hold weights.
pub fn open_tokenizer(path: &Path) -> Result<Tokenizer, LoadError> {
    if path.is_dir() {
        let folder = bantam_tensor::format::Folder::open(path)?;
        return tokenizer_of(&Metadata::Folder(Box::new(folder)));
    }
    tokenizer_of(&Checkpoint::open(path)?.metadata)
}

fn tokenizer_of(metadata: &Metadata) -> Result<Tokenizer, LoadError> {
    match metadata {
        Metadata::Gguf(metadata) => {
            let tokenizer = Tokenizer::from_gguf(&gguf_vocab(metadata)?)?;
            for name in ["tokens", "scores", "token_type", "merges"] {
                if let Some(array) = metadata.find::<&gguf::Array>(&key(name))? {
                    array.release();
                }
            }
            Ok(tokenizer)
        }
        Metadata::Folder(folder) => {
            let config = folder.tokenizer_config.as_ref();
            if let Some(json) = folder.tokenizer_json()? {
                return Ok(Tokenizer::from_tokenizer_json(&json, config)?);
            }
            let model = folder.tokenizer_model()?.ok_or(LoadError::NoTokenizer)?;
            Ok(Tokenizer::from_sentencepiece(&model, config)?)
        }
    }
}

/// What GGUF files call an entry of the vocabulary.
fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

/// The vocabulary in a GGUF file's metadata, without a copy of its pieces.
fn gguf_vocab(metadata: &gguf::Metadata) -> Result<GgufVocab<'_>, LoadError> {
    if metadata.get(&key("model")).is_none() {
        return Err(LoadError::NoTokenizer);
    }
    let strings = |name: &str| -> Result<Texts<'_>, LoadError> {
        let found = metadata.find::<gguf::Strings<'_>>(&key(name))?;
        Ok(found.map(|strings| Texts::packed(strings.as_bytes(), strings.len())).unwrap_or_default())
    };
    let id = |name: &str| metadata.find::<u32>(&key(name));
    let flag = |name: &str| metadata.find::<bool>(&key(name));
    Ok(GgufVocab {
        model: metadata.string(&key("model"))?,
        pre: metadata.find(&key("pre"))?,
        tokens: strings("tokens")?,
        scores: metadata.find(&key("scores"))?.unwrap_or_default(),
        token_types: metadata.find(&key("token_type"))?.unwrap_or_default(),
        merges: strings("merges")?,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        eom: id("eom_token_id")?,
        unknown: id("unknown_token_id")?,
        separator: id("seperator_token_id")?,
        padding: id("padding_token_id")?,
        cls: id("cls_token_id")?,
        mask: id("mask_token_id")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_separator: flag("add_sep_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?,
        precompiled_charsmap: metadata
            .find::<&gguf::Array>(&key("precompiled_charsmap"))?
            .and_then(gguf::Array::as_bytes),
        lowercase: flag("normalizer.lowercase")?,
    })
}
