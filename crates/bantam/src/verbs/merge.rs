//! `bantam merge`: an adapter folded into its base, and what that changes.
//!
//! The adapted model is the truth. The base's divergence from it says what the adapter does, the merged model's says
//! what merging loses; few bits can lose all of it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bantam::engine::{Engine, Event, Request, Sampling, Settings};
use bantam::model::Adapter;
use bantam::text::Special;
use bantam::{Loaded, Merged};
use bantam_eval::{Divergence, DivergenceReport, Row, Scored, Windows};
use serde_json::json;

use crate::args::MergeArgs;
use crate::models::Models;
use crate::print::print_json;
use crate::units;

/// More of the adapter's effect must not be lost.
const LOST_MAX: f64 = 0.1;

/// Nats per token that are no loss: predictions are compared with 16 bits.
const NOISE: f64 = 1e-3;

/// Tokens of a window, and windows.
const WINDOW: usize = 128;
const WINDOWS_MAX: usize = 8;

pub(crate) fn run(args: &MergeArgs, models: &Models) -> Result<()> {
    let base = Loaded::open(&models.locate(&args.model)?)?;
    let adapter = args.adapter.open(&base)?;
    let adapter = adapter.context("nothing to merge: give an adapter with --adapter PATH")?;
    let merged = Merged::write(&base, &adapter, args.storage, &args.output, |done, of| {
        if std::io::stderr().is_terminal() {
            eprint!("\rmerging {done} of {of} matrices ");
        }
    })?;
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    let result = merged.open()?;
    let measured = measure(args, &base, &adapter, &result)?;
    let lost = measured.lost.mean;
    let is_too_much = lost > LOST_MAX * measured.effect.mean + NOISE;
    if is_too_much && !args.force {
        bail!(
            "merging would lose too much: the adapter moves the base by {:.2e} nats per token, and the merged model \
             is {lost:.2e} away from the adapted one; choose more bits (--storage f16), or --force",
            measured.effect.mean
        );
    }
    let file_bytes = result.checkpoint.file_bytes();
    drop(result);
    merged.publish()?;
    report(args, &measured, file_bytes)
}

/// Divergences from the adapted model.
struct Measured {
    /// Of the base: what the adapter does.
    effect: DivergenceReport,
    /// Of the merged model: what merging loses.
    lost: DivergenceReport,
}

fn measure(args: &MergeArgs, base: &Loaded, adapter: &Arc<Adapter>, merged: &Loaded) -> Result<Measured> {
    let length = WINDOW.min(base.model.description.context_length);
    let settings = Settings { context_length: length, ..args.machine.settings() };
    let engines = [base, merged].map(|loaded| Engine::start(loaded.model.clone(), settings.clone()));
    let [base_engine, merged_engine] = engines;
    let (base_engine, merged_engine) = (base_engine?, merged_engine?);
    let windows = Windows { length, scored: Scored::Whole, bos: None, count_max: Some(WINDOWS_MAX) };
    let cut = match &args.text {
        Some(file) => windows.cut(&text_ids(file, base)?)?,
        None => said(&base_engine, adapter, base, length)?,
    };
    let (mut effect, mut lost) = (Divergence::default(), Divergence::default());
    for window in &cut {
        let window = std::slice::from_ref(window);
        let mut truth = Vec::new();
        bantam_eval::run(&base_engine, Some(adapter), &windows, window, |position| {
            truth.push(Row::of(position.logits));
            Ok(())
        })?;
        for (engine, divergence) in [(&base_engine, &mut effect), (&merged_engine, &mut lost)] {
            let mut rows = truth.iter();
            bantam_eval::run(engine, None, &windows, window, |position| {
                rows.next().into_iter().for_each(|row| divergence.add(row, position.logits, position.token));
                Ok(())
            })?;
        }
    }
    let report = |divergence: Divergence| divergence.report().context("nothing could be measured");
    Ok(Measured { effect: report(effect)?, lost: report(lost)? })
}

fn text_ids(file: &str, base: &Loaded) -> Result<Vec<u32>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {file} as text in UTF-8"))?;
    let tokenizer = base.tokenizer()?;
    Ok(tokenizer.begin(tokenizer.to_ids(&text, Special::AsText)?))
}

/// What the adapted model says when nothing is asked: texts on which it is sure of itself, as in use.
fn said(engine: &Engine, adapter: &Arc<Adapter>, base: &Loaded, length: usize) -> Result<Vec<Vec<u32>>> {
    let start = base.tokenizer().ok().and_then(|tokenizer| tokenizer.prefix().first().copied());
    let ask = |seed: usize| {
        engine.submit(Request {
            prompt: vec![start.unwrap_or_default()],
            max_tokens: Some(length - 1),
            sampling: Sampling { temperature: 1.0, seed: seed as u64, ..Sampling::default() },
            adapter: Some(Arc::clone(adapter)),
            ..Request::default()
        })
    };
    let streams = (0..WINDOWS_MAX).map(ask).collect::<Result<Vec<_>, _>>()?;
    let mut windows = Vec::with_capacity(WINDOWS_MAX);
    for stream in streams {
        let mut window = vec![start.unwrap_or_default()];
        for event in stream {
            match event {
                Event::Token { id, .. } => window.push(id),
                Event::Failed(error) => return Err(error.into()),
                Event::Prompt { .. } | Event::Pooled(_) | Event::Shifted { .. } | Event::Done { .. } => {}
            }
        }
        windows.push(window);
    }
    Ok(windows)
}

fn report(args: &MergeArgs, measured: &Measured, file_bytes: u64) -> Result<()> {
    let Measured { effect, lost } = measured;
    if args.json {
        return print_json(&json!({
            "output": args.output, "file_bytes": file_bytes, "tokens": effect.tokens,
            "kl_before": effect.mean, "kl_before_error": effect.mean_error,
            "kl_after": lost.mean, "kl_after_error": lost.mean_error, "same_top_after": lost.same_top,
        }));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}: {}", args.output.display(), units::bytes(file_bytes))?;
    writeln!(out, "KL divergence from the adapted model, nats per token over {} tokens:", effect.tokens)?;
    writeln!(out, "  base    {:.3e} +/- {:.1e}", effect.mean, effect.mean_error)?;
    writeln!(
        out,
        "  merged  {:.3e} +/- {:.1e}, same likeliest token {:.2} %",
        lost.mean,
        lost.mean_error,
        100.0 * lost.same_top
    )?;
    Ok(())
}
