//! `bantam top`: what a server does, again and again.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::args::TopArgs;
use crate::client::Client;
use crate::interrupt::Interrupt;
use crate::print::{print_json, print_table};
use crate::units;

/// How often Ctrl-C is looked for.
const TICK: Duration = Duration::from_millis(50);

pub(crate) fn run(args: &TopArgs, interrupt: &Interrupt) -> Result<()> {
    let client = Client::new(&args.server)?;
    let mut before = Reading::take(&client)?;
    let is_live = std::io::stdout().is_terminal() && !args.json && !args.once;
    if !is_live {
        return before.show(None, args.json);
    }
    while !interrupt.is_pressed() {
        let now = Reading::take(&client)?;
        // Home, and what was there is wiped away.
        write!(std::io::stdout().lock(), "\x1b[H\x1b[J")?;
        now.show(Some(&before), false)?;
        before = now;
        wait(Duration::from_secs_f64(args.interval.clamp(0.1, 3600.0)), interrupt);
    }
    Ok(())
}

fn wait(time: Duration, interrupt: &Interrupt) {
    let begun = Instant::now();
    while begun.elapsed() < time && !interrupt.is_pressed() {
        std::thread::sleep(TICK);
    }
}

/// The server's figures at a moment, of each model.
struct Reading {
    at: Instant,
    models: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Reading {
    fn take(client: &Client) -> Result<Self> {
        let text = client.text("/metrics")?;
        Ok(Reading { at: Instant::now(), models: parse(&text) })
    }

    fn show(&self, before: Option<&Reading>, as_json: bool) -> Result<()> {
        if as_json {
            let models: Value =
                self.models.iter().map(|(name, figures)| (name.clone(), json!(figures))).collect();
            return print_json(&json!({ "models": models }));
        }
        let head =
            ["MODEL", "MEMORY", "RUN", "WAIT", "IN TOK/S", "OUT TOK/S", "REUSED", "FIRST TOKEN", "DONE"];
        print_table(head, self.models.keys().map(|name| self.row(name, before)))
    }

    fn row(&self, name: &str, before: Option<&Reading>) -> [String; 9] {
        let figure = |key: &str| self.figure(name, key);
        let since = |key: &str| before.map(|before| (figure(key) - before.figure(name, key)).max(0.0));
        let seconds = before.map_or(1.0, |before| (self.at - before.at).as_secs_f64().max(1e-3));
        let rate = |key: &str| since(key).map_or("-".into(), |more| format!("{:.1}", more / seconds));
        let share = 100.0 * figure("prefix_cache_hits_total") / figure("prefix_cache_queries_total").max(1.0);
        let firsts = figure("time_to_first_token_seconds_count");
        let first = figure("time_to_first_token_seconds_sum") / firsts.max(1.0);
        [
            name.to_owned(),
            match figure("model_memory_bytes") {
                0.0 => "not loaded".into(),
                bytes => units::bytes(bytes as u64),
            },
            figure("num_requests_running").to_string(),
            figure("num_requests_waiting").to_string(),
            rate("prompt_tokens_total"),
            rate("generation_tokens_total"),
            format!("{share:.0} %"),
            if firsts > 0.0 { format!("{:.0} ms", first * 1e3) } else { "-".into() },
            figure("request_success_total").to_string(),
        ]
    }

    fn figure(&self, name: &str, key: &str) -> f64 {
        self.models.get(name).and_then(|figures| figures.get(key)).copied().unwrap_or(0.0)
    }
}

/// Figures by model and name; those of one name with different reasons are added up, buckets are left out.
fn parse(text: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut models: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) =
            line.strip_prefix("vllm:").and_then(|line| line.split_once("{model_name=\""))
        else {
            continue;
        };
        let Some((model, value)) = rest.split_once('"').zip(rest.rsplit_once(' ')).map(|(a, b)| (a.0, b.1))
        else {
            continue;
        };
        if let Some(value) = value.parse::<f64>().ok().filter(|_| !name.ends_with("_bucket")) {
            *models.entry(model.to_owned()).or_default().entry(name.to_owned()).or_default() += value;
        }
    }
    models
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_model() {
        let text = "# HELP vllm:x y\nvllm:num_requests_running{model_name=\"a\"} 2\n\
                    vllm:request_success_total{model_name=\"a\",finished_reason=\"stop\"} 3\n\
                    vllm:request_success_total{model_name=\"a\",finished_reason=\"length\"} 4\n\
                    vllm:t_bucket{model_name=\"b\",le=\"0.01\"} 1\nvllm:t_sum{model_name=\"b\"} 0.5\nnonsense\n";
        let models = parse(text);
        assert_eq!((models["a"]["num_requests_running"], models["a"]["request_success_total"]), (2.0, 7.0));
        assert_eq!(models["b"].len(), 1);
    }
}
