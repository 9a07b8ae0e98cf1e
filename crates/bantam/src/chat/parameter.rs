//! Parameters of a chat, by the names that Ollama and llama.cpp give them.

use bantam::{Options, WhenFull};

/// The parameters, with what they do.
pub(crate) const PARAMETERS: &[(&str, &str)] = &[
    ("temperature", "how much chance; 0 for none"),
    ("top_k", "only the so many likeliest tokens; 0 for all"),
    ("top_p", "only the likeliest with this probability together"),
    ("min_p", "only those at least this much as likely as the likeliest"),
    ("typical", "only the locally typical ones"),
    ("repeat_penalty", "make what was said less likely; 1 for no change"),
    ("repeat_last_n", "the penalties look back so many tokens"),
    ("presence_penalty", "taken off what was said at all"),
    ("frequency_penalty", "taken off what was said, for each time"),
    ("seed", "of chance; `random` for another one each time"),
    ("num_predict", "tokens in an answer at most; -1 for no bound"),
    ("stop", "end an answer at this text; without a text, none"),
    ("overflow", "when the context is full: stop or shift"),
    ("num_ctx", "tokens of context"),
];

/// The name that a parameter has here.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace('-', "_");
    match name.as_str() {
        "temp" => "temperature".into(),
        "typical_p" => "typical".into(),
        "max_tokens" | "n_predict" => "num_predict".into(),
        "ctx" | "n_ctx" | "context" => "num_ctx".into(),
        _ => name,
    }
}

/// Changes a parameter of how a session answers; `name` is canonical. The error says what was wanted.
pub(crate) fn set(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    let mut changed = options.clone();
    let sampling = &mut changed.sampling;
    match name {
        "temperature" => sampling.temperature = number(value)?,
        "top_k" => sampling.top_k = count(value)?.unwrap_or(0),
        "top_p" => sampling.top_p = number(value)?,
        "min_p" => sampling.min_p = number(value)?,
        "typical" => sampling.typical = number(value)?,
        "repeat_penalty" => sampling.repeat_penalty = number(value)?,
        "repeat_last_n" => sampling.repeat_last_n = count(value)?.unwrap_or(usize::MAX),
        "presence_penalty" => sampling.presence_penalty = number(value)?,
        "frequency_penalty" => sampling.frequency_penalty = number(value)?,
        "seed" => sampling.seed = value.parse().map_err(|_| "wanted a whole number, or random")?,
        "num_predict" => changed.max_tokens = count(value)?,
        "stop" => {
            changed.stops = Some(value.replace("\\n", "\n")).filter(|v| !v.is_empty()).into_iter().collect()
        }
        "overflow" => changed.when_full = when_full(value)?,
        _ => return Err(unknown(name)),
    }
    changed.sampling.check(usize::MAX).map_err(|error| error.to_string())?;
    *options = changed;
    Ok(())
}

fn unknown(name: &str) -> String {
    let near = PARAMETERS.iter().find(|(known, _)| known.contains(name) || name.contains(known));
    match near {
        Some((near, _)) => format!("no parameter \"{name}\"; did you mean {near}?"),
        None => format!("no parameter \"{name}\"; /set shows what there is"),
    }
}

fn number(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| "wanted a number".to_owned())
}

/// A whole number; any below zero stands for no bound.
pub(crate) fn count(text: &str) -> Result<Option<usize>, String> {
    let number: i64 = text.parse().map_err(|_| "wanted a whole number")?;
    Ok(usize::try_from(number).ok())
}

fn when_full(text: &str) -> Result<WhenFull, String> {
    match text {
        "stop" => Ok(WhenFull::Stop),
        "shift" => Ok(WhenFull::Shift),
        _ => Err("wanted stop or shift".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam::engine::Sampling;
    use bantam::text::Thinking;

    fn options() -> Options {
        Options {
            system: None,
            sampling: Sampling::default(),
            max_tokens: None,
            stops: Vec::new(),
            stop_tokens: Vec::new(),
            when_full: WhenFull::Stop,
            thinking: Thinking::default(),
            now: None,
            adapter: None,
            format: None,
        }
    }

    #[test]
    fn parameters_are_set_by_any_of_their_names() {
        let mut options = options();
        for (name, value) in [("temp", "0.25"), ("Top-K", "7"), ("max_tokens", "5"), ("stop", "a\\nb")] {
            set(&mut options, &canonical(name), value).unwrap();
        }
        assert_eq!((options.sampling.temperature, options.sampling.top_k), (0.25, 7));
        assert_eq!((options.max_tokens, options.stops.as_slice()), (Some(5), &["a\nb".to_owned()][..]));
        set(&mut options, "num_predict", "-1").unwrap();
        assert_eq!(options.max_tokens, None);
    }

    #[test]
    fn wrong_values_change_nothing() {
        let mut options = options();
        assert!(set(&mut options, "top_p", "1.5").is_err());
        assert!(set(&mut options, "temperature", "warm").is_err());
        assert_eq!(options.sampling, Sampling::default());
        assert!(set(&mut options, "temperatur", "1").unwrap_err().contains("did you mean temperature"));
    }
}
