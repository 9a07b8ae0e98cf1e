//! What a model of the store adds to its files, as settings.

use anyhow::{Result, anyhow, bail};
use bantam_engine::Sampling;
use bantam_hub::Recipe;
use bantam_text::ChatTemplate;
use serde_json::{Value, json};

/// Parameters that are about machines, or about sampling of another kind, and are not needed here.
const IGNORED: [&str; 14] = [
    "num_gpu",
    "main_gpu",
    "num_thread",
    "num_batch",
    "num_keep",
    "use_mmap",
    "use_mlock",
    "low_vram",
    "f16_kv",
    "numa",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "tfs_z",
];
/// Parameters that are read elsewhere than by [`sampling`].
const COUNTS: [&str; 4] = ["num_ctx", "num_predict", "seed", "stop"];

/// Refuses what could not be used when the model is loaded.
pub(super) fn check(recipe: &Recipe) -> Result<()> {
    sampling(Some(recipe), Sampling::default())?;
    stops(Some(recipe))?;
    for name in ["num_ctx", "num_predict", "seed"] {
        whole(Some(recipe), name)?;
    }
    let known = |name: &&String| parameter_names().any(|known| known == name.as_str());
    if let Some(name) = recipe.parameters.keys().find(|name| !known(name)) {
        let known: Vec<&str> = parameter_names().collect();
        bail!("parameter `{name}` is not known: wanted one of {}", known.join(", "));
    }
    let Some(template) = &recipe.template else { return Ok(()) };
    // The mark of Go's templates: fields of the thing at hand.
    if ["{{ .", "{{.", "{{- .", "{{ if", "{{- if", "{{ range", "{{- range"]
        .iter()
        .any(|mark| template.contains(mark))
    {
        bail!("the template is one of Go's: leave it out to use the model's own, or write it in Jinja");
    }
    ChatTemplate::compile(template, "", "")?;
    Ok(())
}

fn parameter_names() -> impl Iterator<Item = &'static str> {
    let own = NUMBERS.iter().map(|(name, _)| *name).chain(["top_k", "repeat_last_n"]);
    own.chain(COUNTS).chain(IGNORED)
}

type Place = fn(&mut Sampling) -> &mut f32;

const NUMBERS: [(&str, Place); 7] = [
    ("temperature", |sampling| &mut sampling.temperature),
    ("top_p", |sampling| &mut sampling.top_p),
    ("min_p", |sampling| &mut sampling.min_p),
    ("typical_p", |sampling| &mut sampling.typical),
    ("repeat_penalty", |sampling| &mut sampling.repeat_penalty),
    ("presence_penalty", |sampling| &mut sampling.presence_penalty),
    ("frequency_penalty", |sampling| &mut sampling.frequency_penalty),
];

/// How tokens are chosen, over what the model's makers recommend.
pub(super) fn sampling(recipe: Option<&Recipe>, mut sampling: Sampling) -> Result<Sampling> {
    let Some(recipe) = recipe else { return Ok(sampling) };
    for (name, place) in NUMBERS {
        if let Some(value) = recipe.parameters.get(name) {
            let number = value.as_f64().filter(|number| number.is_finite());
            *place(&mut sampling) = number.ok_or_else(|| wrong(name, value))? as f32;
        }
    }
    if let Some(top_k) = whole(Some(recipe), "top_k")? {
        sampling.top_k = usize::try_from(top_k).unwrap_or(0);
    }
    if let Some(last_n) = whole(Some(recipe), "repeat_last_n")? {
        sampling.repeat_last_n = usize::try_from(last_n).unwrap_or(usize::MAX);
    }
    Ok(sampling)
}

/// What was said before each conversation.
pub(super) fn opening(recipe: Option<&Recipe>) -> Vec<Value> {
    let Some(recipe) = recipe else { return Vec::new() };
    let system = recipe.system.iter().map(|text| json!({ "role": "system", "content": text }));
    system.chain(recipe.messages.iter().cloned()).collect()
}

/// Texts that end an answer.
pub(super) fn stops(recipe: Option<&Recipe>) -> Result<Vec<String>> {
    let Some(value) = recipe.and_then(|recipe| recipe.parameters.get("stop")) else { return Ok(Vec::new()) };
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong("stop", value));
    list.iter().map(text).collect()
}

pub(super) fn max_tokens(recipe: Option<&Recipe>) -> Result<Option<usize>> {
    // Below zero is as many as there is room for.
    Ok(whole(recipe, "num_predict")?.and_then(|most| usize::try_from(most).ok()))
}

pub(super) fn context_length(recipe: Option<&Recipe>) -> Result<Option<usize>> {
    Ok(whole(recipe, "num_ctx")?.and_then(|length| usize::try_from(length).ok()).filter(|length| *length > 0))
}

pub(super) fn seed(recipe: Option<&Recipe>) -> Result<Option<u64>> {
    Ok(whole(recipe, "seed")?.and_then(|seed| u64::try_from(seed).ok()))
}

fn whole(recipe: Option<&Recipe>, name: &str) -> Result<Option<i64>> {
    let value = recipe.and_then(|recipe| recipe.parameters.get(name));
    value.map(|value| value.as_i64().ok_or_else(|| wrong(name, value))).transpose()
}

fn wrong(name: &str, value: &Value) -> anyhow::Error {
    let found: String = value.to_string().chars().take(40).collect();
    anyhow!("parameter `{name}` is {found}, which it cannot be")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(parameters: Value) -> Recipe {
        Recipe { parameters: parameters.as_object().unwrap().clone(), ..Recipe::default() }
    }

    #[test]
    fn parameters_become_settings() {
        let recipe = recipe(
            json!({ "temperature": 0.5, "top_k": -1, "stop": "x", "num_ctx": 512, "num_predict": -2 }),
        );
        check(&recipe).unwrap();
        let sampling =
            sampling(Some(&recipe), Sampling { top_k: 40, min_p: 0.5, ..Sampling::default() }).unwrap();
        assert_eq!((sampling.temperature, sampling.top_k, sampling.min_p), (0.5, 0, 0.5));
        assert_eq!(stops(Some(&recipe)).unwrap(), ["x"]);
        assert_eq!(
            (context_length(Some(&recipe)).unwrap(), max_tokens(Some(&recipe)).unwrap()),
            (Some(512), None)
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_once() {
        for bad in [
            json!({ "temperature": "hot" }),
            json!({ "stop": [1] }),
            json!({ "num_ctx": 1.5 }),
            json!({ "x": 1 }),
        ] {
            assert!(check(&recipe(bad.clone())).is_err(), "{bad}");
        }
        let with = |template: &str| Recipe { template: Some(template.into()), ..Recipe::default() };
        assert!(check(&with("{{ .System }} {{ .Prompt }}")).unwrap_err().to_string().contains("Go"));
        assert!(check(&with("{% for m in messages %}{{ m.content }}")).is_err());
        assert!(check(&with("{% for m in messages %}{{ m.content }}{% endfor %}")).is_ok());
    }
}
