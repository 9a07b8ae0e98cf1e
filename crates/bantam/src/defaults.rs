//! How a model's makers want it sampled, else how llama.cpp does.

use bantam_engine::Sampling;
use bantam_tensor::Metadata;
use bantam_tensor::format::gguf;
use serde_json::{Value, json};

use crate::Loaded;

/// Settings that hold where the user says nothing.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// How tokens are chosen; the seed is zero.
    pub sampling: Sampling,
    /// Tokens that end an answer, besides those that the tokeniser knows.
    pub stop_tokens: Vec<u32>,
    /// Who says so.
    pub origin: Origin,
}

/// Who recommends settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// `generation_config.json`, or `general.sampling.*` in a GGUF file.
    Model,
    /// The model's files say nothing; these are llama.cpp's defaults.
    LlamaCpp,
}

impl Defaults {
    /// The settings for a model.
    pub fn of(loaded: &Loaded) -> Self {
        match &loaded.checkpoint.metadata {
            Metadata::Gguf(metadata) => of_gguf(metadata),
            Metadata::Folder(folder) => folder.generation_config.as_ref().map_or_else(llama_cpp, of_config),
        }
    }

    /// What is not neutral, by the names of the command line.
    pub fn to_json(&self) -> Value {
        let s = &self.sampling;
        json!({
            "temperature": s.temperature,
            "top_k": s.top_k,
            "top_p": s.top_p,
            "min_p": s.min_p,
            "typical": s.typical,
            "repeat_penalty": s.repeat_penalty,
            "from": match self.origin { Origin::Model => "model", Origin::LlamaCpp => "llama.cpp" },
        })
    }
}

/// llama.cpp's `common_params_sampling`.
fn llama_cpp() -> Defaults {
    let sampling = Sampling { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, ..Sampling::default() };
    Defaults { sampling, stop_tokens: Vec::new(), origin: Origin::LlamaCpp }
}

/// The keys of llama.cpp's `llama-arch.cpp`; what is absent stays as llama.cpp has it.
fn of_gguf(metadata: &gguf::Metadata) -> Defaults {
    let mut defaults = llama_cpp();
    let key = |name: &str| format!("general.sampling.{name}");
    let number = |name: &str| metadata.find::<f32>(&key(name)).ok().flatten().filter(|x| x.is_finite());
    let count = |name: &str| metadata.find::<u32>(&key(name)).ok().flatten().map(|x| x as usize);
    let sampling = &mut defaults.sampling;
    let mut is_told = false;
    let mut set = |place: &mut f32, found: Option<f32>| {
        is_told |= found.is_some();
        *place = found.unwrap_or(*place);
    };
    set(&mut sampling.temperature, number("temp"));
    set(&mut sampling.top_p, number("top_p"));
    set(&mut sampling.min_p, number("min_p"));
    set(&mut sampling.repeat_penalty, number("penalty_repeat"));
    let counts = [count("top_k"), count("penalty_last_n")];
    is_told |= counts.iter().any(Option::is_some);
    sampling.top_k = counts[0].unwrap_or(sampling.top_k);
    sampling.repeat_last_n = counts[1].unwrap_or(sampling.repeat_last_n);
    defaults.origin = if is_told { Origin::Model } else { Origin::LlamaCpp };
    defaults
}

/// As Hugging Face's transformers reads it: what a recommendation leaves out is off.
fn of_config(config: &Value) -> Defaults {
    let number = |key: &str| config[key].as_f64().map(|x| x as f32).filter(|x| x.is_finite());
    let stop_tokens = stop_tokens(&config["eos_token_id"]);
    let keys = ["temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"];
    if !keys.iter().any(|key| config[*key].is_number()) {
        return Defaults { stop_tokens, ..llama_cpp() };
    }
    let greedy = config["do_sample"] == json!(false);
    let sampling = Sampling {
        temperature: if greedy { 0.0 } else { number("temperature").unwrap_or(1.0) },
        top_k: config["top_k"].as_u64().map_or(0, |k| k as usize),
        top_p: number("top_p").unwrap_or(1.0),
        min_p: number("min_p").unwrap_or(0.0),
        typical: number("typical_p").unwrap_or(1.0),
        repeat_penalty: number("repetition_penalty").unwrap_or(1.0),
        repeat_last_n: usize::MAX,
        ..Sampling::default()
    };
    Defaults { sampling, stop_tokens, origin: Origin::Model }
}

/// One id or a list of them.
fn stop_tokens(ids: &Value) -> Vec<u32> {
    let list = ids.as_array().map_or(std::slice::from_ref(ids), Vec::as_slice);
    list.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_recommends_replaces_all() {
        let config = json!({ "temperature": 0.6, "top_k": 20, "eos_token_id": [1, 2] });
        let defaults = of_config(&config);
        assert_eq!((defaults.sampling.temperature, defaults.sampling.top_k), (0.6, 20));
        assert_eq!((defaults.sampling.top_p, defaults.sampling.min_p), (1.0, 0.0));
        assert_eq!((defaults.stop_tokens, defaults.origin), (vec![1, 2], Origin::Model));
    }

    #[test]
    fn a_config_that_recommends_nothing_changes_nothing() {
        let defaults = of_config(&json!({ "eos_token_id": 7, "bos_token_id": 1 }));
        assert_eq!(defaults.sampling, llama_cpp().sampling);
        assert_eq!((defaults.stop_tokens, defaults.origin), (vec![7], Origin::LlamaCpp));
    }

    #[test]
    fn gguf_keys_replace_one_by_one() {
        let mut metadata = gguf::Metadata::new();
        metadata.set("general.sampling.temp", 0.3_f32);
        metadata.set("general.sampling.top_k", 5_u32);
        let defaults = of_gguf(&metadata);
        assert_eq!((defaults.sampling.temperature, defaults.sampling.top_k), (0.3, 5));
        assert_eq!((defaults.sampling.top_p, defaults.origin), (0.95, Origin::Model));
    }
}
