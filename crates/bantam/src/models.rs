//! From what the user wrote to a model on this machine, fetched if need be.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Error, Result, anyhow};
use bantam::Loaded;
use bantam_hub::{Hub, Located, Reference, Settings, Source};

use crate::interrupt::{Interrupt, Stopped};
use crate::print::told;
use crate::progress::Watch;

/// The models that the user can name, and how they may be fetched.
pub(crate) struct Models {
    /// The store, the catalogue, the mirrors.
    pub(crate) hub: Hub,
    /// Where this program keeps what is its own.
    pub(crate) home: PathBuf,
    interrupt: Interrupt,
    accept_terms: bool,
}

/// What the user wants to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Which model.
    pub(crate) model: String,
    /// The prompt on the command line.
    pub(crate) prompt: Option<String>,
}

impl Models {
    /// Models of a store and its mirrors; with `accept_terms` nobody is asked about licences.
    pub(crate) fn new(settings: Settings, accept_terms: bool, interrupt: Interrupt) -> Result<Self> {
        let home = settings.home.clone();
        Ok(Models { hub: Hub::new(settings)?, home, interrupt, accept_terms })
    }

    /// Whether nobody is asked about licences.
    pub(crate) fn accepts_terms(&self) -> bool {
        self.accept_terms
    }

    /// The file or folder of a model; it is fetched first if it is not on this machine.
    pub(crate) fn locate(&self, model: &str) -> Result<PathBuf> {
        Ok(self.pull(model)?.path)
    }

    /// The model, opened; it is fetched first if it is not on this machine.
    pub(crate) fn open(&self, model: &str) -> Result<Loaded> {
        let located = self.pull(model)?;
        Loaded::open(&located.path).map_err(|error| advised(error.into(), &located))
    }

    /// The model and what the store knows of it; it is fetched first if it is not on this machine.
    pub(crate) fn pull(&self, model: &str) -> Result<Located> {
        let mut watch = Watch::new(self.interrupt.clone(), self.accept_terms);
        match self.hub.pull(&model.parse()?, now_unix_s(), &mut watch) {
            Err(bantam_hub::Error::Cancelled) => Err(anyhow!(Stopped(
                "stopped; what was fetched is kept, and the next pull goes on from there"
            ))),
            done => Ok(done?),
        }
    }

    /// Which of the words after `run` are the model and which the prompt: a word alone is the prompt if it holds
    /// white space or cannot be a model. One that looks like a misspelt model is refused, with the likely names.
    pub(crate) fn wanted(&self, model: Option<&str>, prompt: &[String]) -> Result<Wanted> {
        let default = || self.hub.catalogue().default_name().to_owned();
        let joined = || (!prompt.is_empty()).then(|| prompt.join(" "));
        let Some(word) = model else { return Ok(Wanted { model: default(), prompt: None }) };
        match self.names_model(word) {
            Names::Model => Ok(Wanted { model: word.to_owned(), prompt: joined() }),
            Names::Nothing if prompt.is_empty() => {
                Ok(Wanted { model: default(), prompt: Some(word.to_owned()) })
            }
            Names::Nothing => Err(anyhow!(
                "no model is called `{word}`; put a prompt in quotes, as in: bantam run \"{word} {}\"",
                prompt.join(" ")
            )),
            Names::Nearly(error) => Err(anyhow!(error)
                .context(format!("to ask the default model this: bantam run {} \"{word}\"", default()))),
        }
    }

    fn names_model(&self, word: &str) -> Names {
        if word.chars().any(char::is_whitespace) && !std::path::Path::new(word).exists() {
            return Names::Nothing;
        }
        let Ok(reference) = word.parse::<Reference>() else { return Names::Nothing };
        match self.hub.resolve(&reference) {
            Err(bantam_hub::Error::UnknownModel { name, suggestions })
                if name.contains(':') || !suggestions.is_empty() =>
            {
                Names::Nearly(bantam_hub::Error::UnknownModel { name, suggestions })
            }
            Err(bantam_hub::Error::UnknownModel { .. }) => Names::Nothing,
            _ => Names::Model,
        }
    }
}

/// Why a model cannot be opened, and what to do where it is the store's.
pub(crate) fn advised(error: Error, located: &Located) -> Error {
    match &located.manifest {
        Some(manifest) if manifest.source != Source::Ollama => anyhow!(
            "{}; if its file is damaged, take it out with `bantam rm {}` and bring it here again",
            told(&error),
            manifest.name
        ),
        _ => error,
    }
}

/// Seconds since 1970.
pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What a word may name.
enum Names {
    Model,
    Nearly(bantam_hub::Error),
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models() -> Models {
        let settings = Settings::from_lookup(|name| match name {
            "HOME" => Some("/nonexistent/home".into()),
            _ => None,
        });
        Models::new(settings.unwrap(), false, Interrupt::default()).unwrap()
    }

    fn wanted(model: Option<&str>, prompt: &[&str]) -> Result<(String, Option<String>)> {
        let prompt: Vec<String> = prompt.iter().map(|&word| word.to_owned()).collect();
        models().wanted(model, &prompt).map(|wanted| (wanted.model, wanted.prompt))
    }

    fn is(model: Option<&str>, prompt: &[&str], expected: (&str, Option<&str>)) {
        let (model, prompt) = wanted(model, prompt).unwrap();
        assert_eq!((model.as_str(), prompt.as_deref()), expected);
    }

    #[test]
    fn a_word_alone_is_a_model_or_the_prompt() {
        is(None, &[], ("smollm2:135m", None));
        is(Some("Why is the sky blue?"), &[], ("smollm2:135m", Some("Why is the sky blue?")));
        is(Some("Hello!"), &[], ("smollm2:135m", Some("Hello!")));
        is(Some("qwen3:0.6b"), &[], ("qwen3:0.6b", None));
        is(Some("org/repo"), &[], ("org/repo", None));
        is(Some("./no-such.gguf"), &[], ("./no-such.gguf", None));
    }

    #[test]
    fn words_behind_a_model_are_the_prompt() {
        is(Some("smollm2:135m"), &["Why?"], ("smollm2:135m", Some("Why?")));
        is(Some("smollm2:135m"), &["Why", "is"], ("smollm2:135m", Some("Why is")));
    }

    #[test]
    fn misspelt_models_are_no_prompts() {
        let error = format!("{:#}", wanted(Some("smolm2:135m"), &[]).unwrap_err());
        assert!(error.contains("did you mean smollm2:135m"), "{error}");
        let error = format!("{:#}", wanted(Some("why"), &["is", "it"]).unwrap_err());
        assert!(error.contains("bantam run \"why is it\""), "{error}");
    }
}
