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
type Figure = (&'static str, &'static str, &'static str, fn(&Figures) -> f64);

const FIGURES: [Figure; 10] = [
    ("num_requests_running", "Answers that are being computed.", "gauge", |model| {
        model.queue.as_ref().map_or(0.0, |queue| queue.running() as f64)
    }),
    ("num_requests_waiting", "Requests that wait.", "gauge", |model| {
        model.queue.as_ref().map_or(0.0, |queue| queue.inside().saturating_sub(queue.running()) as f64)
    }),
    (
        "kv_cache_usage_perc",
        "States of sequences, as a part of what they may take: 1 is all.",
        "gauge",
        |model| {
            model
                .engine
                .map_or(0.0, |engine| engine.state_bytes as f64 / engine.state_bytes_max.max(1) as f64)
        },
    ),
    (
        "num_preemptions_total",
        "Answers that were paused for want of memory, since the model was loaded.",
        "counter",
        |model| model.engine.map_or(0.0, |engine| engine.pauses as f64),
    ),
    (
        "model_memory_bytes",
        "What the model may take at most; zero while it is not loaded.",
        "gauge",
        |model| model.loaded_bytes as f64,
    ),
    ("prompt_tokens_total", "Tokens of prompts.", "counter", |model| {
        model.counters.prompt_tokens.value() as f64
    }),
    ("generation_tokens_total", "New tokens.", "counter", |model| {
        model.counters.generated_tokens.value() as f64
    }),
    ("prefix_cache_queries_total", "Tokens of prompts that were looked for.", "counter", |model| {
        model.counters.prompt_tokens.value() as f64
    }),
    ("prefix_cache_hits_total", "Tokens of prompts that were there already.", "counter", |model| {
        model.counters.reused_tokens.value() as f64
    }),
    ("request_failure_total", "Answers that failed or were cancelled.", "counter", |model| {
        model.counters.failed.value() as f64
    }),
];

/// Figures that vLLM has no name for.
const OWN_FIGURES: [Figure; 6] = [
    ("forced_tokens_total", "New tokens that a grammar forced, and nothing computed.", "counter", |model| {
        model.counters.forced_tokens.value() as f64
    }),
    ("mask_total", "Choices of tokens under a grammar.", "counter", |model| {
        model.counters.masks.value() as f64
    }),
    ("mask_nanoseconds_total", "Time that grammars took for them.", "counter", |model| {
        model.counters.mask_nanos.value() as f64
    }),
    ("state_bytes", "States of running and ended sequences.", "gauge", |model| {
        model.engine.map_or(0.0, |engine| engine.state_bytes as f64)
    }),
    ("state_bytes_peak", "The most that they were since the model was loaded.", "gauge", |model| {
        model.engine.map_or(0.0, |engine| engine.state_bytes_peak as f64)
    }),
    ("state_bytes_max", "The most that they may be.", "gauge", |model| {
        model.engine.map_or(0.0, |engine| engine.state_bytes_max as f64)
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
    for (name, help, kind, figure) in OWN_FIGURES {
        let _ = writeln!(out, "# HELP bantam:{name} {help}\n# TYPE bantam:{name} {kind}");
        for model in &models {
            let _ = writeln!(out, "bantam:{name}{{{}}} {}", label(model), figure(model));
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
