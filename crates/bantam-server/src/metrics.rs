//! `GET /metrics`: figures in Prometheus' text, under vLLM's names, so that its dashboards and the endpoint pickers of
//! clusters fit.

use std::fmt::Write;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use crate::counters::Times;
use crate::models::Figures;
use crate::state::App;

/// A figure's name, help, kind and value.
type Figure = (&'static str, &'static str, &'static str, fn(&Figures) -> u64);

const FIGURES: [Figure; 8] = [
    ("num_requests_running", "Answers that are being computed.", "gauge", |model| {
        model.queue.as_ref().map_or(0, |queue| queue.running() as u64)
    }),
    ("num_requests_waiting", "Requests that wait.", "gauge", |model| {
        model.queue.as_ref().map_or(0, |queue| queue.inside().saturating_sub(queue.running()) as u64)
    }),
    (
        "model_memory_bytes",
        "What the model may take at most; zero while it is not loaded.",
        "gauge",
        |model| model.loaded_bytes,
    ),
    ("prompt_tokens_total", "Tokens of prompts.", "counter", |model| model.counters.prompt_tokens.value()),
    ("generation_tokens_total", "New tokens.", "counter", |model| model.counters.generated_tokens.value()),
    ("prefix_cache_queries_total", "Tokens of prompts that were looked for.", "counter", |model| {
        model.counters.prompt_tokens.value()
    }),
    ("prefix_cache_hits_total", "Tokens of prompts that were there already.", "counter", |model| {
        model.counters.reused_tokens.value()
    }),
    ("request_failure_total", "Answers that failed or were cancelled.", "counter", |model| {
        model.counters.failed.value()
    }),
];

/// All figures of all models.
pub(crate) fn metrics(app: &App) -> Response {
    let mut out = String::new();
    let models = app.models.figures();
    for (name, help, kind, figure) in FIGURES {
        head(&mut out, name, help, kind);
        for model in &models {
            let _ = writeln!(out, "vllm:{name}{{{}}} {}", label(model), figure(model));
        }
    }
    head(&mut out, "request_success_total", "Answers that came to their end.", "counter");
    for model in &models {
        for (reason, counter) in [("stop", &model.counters.stopped), ("length", &model.counters.cut)] {
            let (name, label) = ("vllm:request_success_total", label(model));
            let _ = writeln!(out, "{name}{{{label},finished_reason=\"{reason}\"}} {}", counter.value());
        }
    }
    times(
        &mut out,
        &models,
        "time_to_first_token_seconds",
        "From the request to the first token.",
        |model| &model.counters.first_token,
    );
    times(&mut out, &models, "e2e_request_latency_seconds", "From the request to the end.", |model| {
        &model.counters.whole
    });
    let mut reply = Response::new(Body::from(out));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

fn times(out: &mut String, models: &[Figures], name: &str, help: &str, of: fn(&Figures) -> &Times) {
    head(out, name, help, "histogram");
    for model in models {
        let (times, label) = (of(model), label(model));
        for (limit, count) in times.up_to() {
            let _ = writeln!(out, "vllm:{name}_bucket{{{label},le=\"{limit:?}\"}} {count}");
        }
        let count = times.count();
        let _ = writeln!(out, "vllm:{name}_bucket{{{label},le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "vllm:{name}_sum{{{label}}} {}", times.sum_s());
        let _ = writeln!(out, "vllm:{name}_count{{{label}}} {count}");
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP vllm:{name} {help}\n# TYPE vllm:{name} {kind}");
}

fn label(model: &Figures) -> String {
    let name = model.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("model_name=\"{name}\"")
}
