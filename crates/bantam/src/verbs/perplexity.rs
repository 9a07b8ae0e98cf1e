//! `bantam perplexity`: how well a model predicts a text, and how far it is from another.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bantam::Loaded;
use bantam_engine::{Engine, Settings};
use bantam_eval::{
    Divergence, DivergenceReport, Perplexity, PredictionsHeader, PredictionsReader, PredictionsWriter,
    Scored, Windows,
};
use bantam_text::Special;
use serde_json::{Value, json};

use crate::args::PerplexityArgs;
use crate::models::Models;
use crate::print::print_json;

pub(crate) fn run(args: &PerplexityArgs, models: &Models) -> Result<()> {
    let loaded = Loaded::open(&models.locate(&args.model)?)?;
    let tokenizer = loaded.tokenizer()?;
    let text = read_text(&args.file)?;
    let tokens = tokenizer.to_ids(&text, Special::AsText)?;
    // The tokeniser's own beginning counts as the text's first token, as in llama.cpp.
    let tokens = tokenizer.begin(tokens);
    let bos = tokenizer.prefix().first().copied();
    let scored = if args.whole { Scored::Whole } else { Scored::SecondHalf };
    let bos = bos.filter(|_| !args.whole);
    let windows = Windows { length: args.ctx, scored, bos, count_max: args.windows };
    let cut = windows.cut(&tokens)?;
    if args.whole && (args.kl_base.is_some() || args.kl_write.is_some()) {
        bail!("files of predictions hold the second halves of windows: leave out --whole");
    }
    let adapter = args.adapter.open(&loaded)?;
    let context_length = args.ctx + bantam::virtual_tokens(adapter.as_ref());
    let settings = Settings { context_length, ..args.machine.settings() };
    let engine = Engine::start(loaded.model.clone(), settings)?;
    let mut scoring = Scoring::new(args, &cut, loaded.model.description.vocab_size)?;
    let begin = Instant::now();
    let mut progress = Progress::new(cut.len());
    bantam_eval::run(&engine, adapter.as_ref(), &windows, &cut, |position| {
        progress.window(position.window, &scoring.perplexity);
        scoring.add(position.logits, position.token)
    })?;
    progress.end();
    let speed = (cut.len() * args.ctx) as f64 / begin.elapsed().as_secs_f64();
    let header = json!({
        "window": args.ctx, "windows": cut.len(), "scored": if args.whole { "whole" } else { "second half" },
        "bos": bos, "tokens_of_file": tokens.len(), "text_sha256": bantam_hub::Digest::of(text.as_bytes()).hex(),
    });
    scoring.finish(args, header, speed)
}

fn read_text(file: &str) -> Result<String> {
    if file != "-" {
        return std::fs::read_to_string(file).with_context(|| format!("cannot read {file} as text in UTF-8"));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input is not text in UTF-8")?;
    Ok(text)
}

/// What is made of each position.
struct Scoring {
    perplexity: Perplexity,
    writer: Option<PredictionsWriter>,
    base: Option<(PredictionsReader, Divergence)>,
}

impl Scoring {
    fn new(args: &PerplexityArgs, cut: &[Vec<u32>], vocab_size: usize) -> Result<Self> {
        let tokens: Vec<u32> = cut.concat();
        let header = PredictionsHeader { window: args.ctx, vocab_size, tokens };
        let base = match &args.kl_base {
            None => None,
            Some(path) => {
                let reader = PredictionsReader::open(Path::new(path))?;
                check_base(&reader.header, &header)
                    .with_context(|| format!("{path} cannot be compared with"))?;
                Some((reader, Divergence::default()))
            }
        };
        let writer = args.kl_write.as_ref().map(|path| PredictionsWriter::create(Path::new(path), &header));
        Ok(Scoring { perplexity: Perplexity::default(), writer: writer.transpose()?, base })
    }

    fn add(&mut self, logits: &[f32], token: u32) -> Result<(), bantam_eval::Error> {
        self.perplexity.add(bantam_eval::nll(logits, token));
        if let Some(writer) = &mut self.writer {
            writer.push(logits)?;
        }
        if let Some((reader, divergence)) = &mut self.base {
            divergence.add(&reader.next_row()?, logits, token);
        }
        Ok(())
    }

    fn finish(self, args: &PerplexityArgs, mut header: Value, speed: f64) -> Result<()> {
        if let Some(writer) = self.writer {
            writer.finish()?;
        }
        let report = self.base.and_then(|(_, divergence)| divergence.report());
        let (value, error) = (self.perplexity.value(), self.perplexity.error());
        if args.json {
            header["perplexity"] = json!(value);
            header["error"] = json!(error);
            header["scored_tokens"] = json!(self.perplexity.count());
            header["tok_s"] = json!(speed);
            header["divergence"] = report.as_ref().map_or(Value::Null, divergence_json);
            return print_json(&header);
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "perplexity {value:.4} +/- {error:.4}")?;
        writeln!(
            out,
            "{} windows of {}, {} scored, BOS {}, {} tokens of the file, {speed:.0} tok/s",
            header["windows"], header["window"], header["scored"], header["bos"], header["tokens_of_file"]
        )?;
        writeln!(out, "text sha256 {}", header["text_sha256"])?;
        if let Some(report) = report {
            print_divergence(&mut out, &report)?;
        }
        Ok(())
    }
}

fn check_base(base: &PredictionsHeader, own: &PredictionsHeader) -> Result<()> {
    if base.vocab_size != own.vocab_size {
        bail!("its vocabulary has {} tokens, this model's {}", base.vocab_size, own.vocab_size);
    }
    if base.window != own.window {
        bail!("its windows have {} tokens, these {}: give --ctx {}", base.window, own.window, base.window);
    }
    if !base.tokens.starts_with(&own.tokens) {
        bail!("it is of another text, or of fewer windows");
    }
    Ok(())
}

fn divergence_json(r: &DivergenceReport) -> Value {
    json!({
        "tokens": r.tokens, "mean": r.mean, "mean_error": r.mean_error, "greatest": r.greatest,
        "percentile_99": r.percentile_99, "percentile_999": r.percentile_999, "same_top": r.same_top,
        "mean_shift": r.mean_shift, "rms_shift": r.rms_shift, "base_perplexity": r.base_perplexity,
        "ratio": r.ratio, "ratio_error": r.ratio_error,
    })
}

fn print_divergence(out: &mut impl Write, r: &DivergenceReport) -> Result<()> {
    writeln!(out, "KL divergence from the base {:.3e} +/- {:.1e} nats per token", r.mean, r.mean_error)?;
    writeln!(
        out,
        "  99 % below {:.3e}, 99.9 % below {:.3e}, greatest {:.3e}",
        r.percentile_99, r.percentile_999, r.greatest
    )?;
    writeln!(out, "  same likeliest token {:.3} %", 100.0 * r.same_top)?;
    writeln!(
        out,
        "  change of the right token's probability: mean {:+.4} %, RMS {:.4} %",
        100.0 * r.mean_shift,
        100.0 * r.rms_shift
    )?;
    writeln!(
        out,
        "  perplexity of the base {:.4}, ratio {:.6} +/- {:.6}",
        r.base_perplexity, r.ratio, r.ratio_error
    )?;
    Ok(())
}

/// A line that is rewritten on a terminal.
struct Progress {
    windows: usize,
    shown: Option<usize>,
    visible: bool,
}

impl Progress {
    fn new(windows: usize) -> Self {
        Progress { windows, shown: None, visible: std::io::stderr().is_terminal() }
    }

    fn window(&mut self, window: usize, so_far: &Perplexity) {
        if self.visible && self.shown != Some(window) {
            self.shown = Some(window);
            eprint!("\rwindow {} of {}, perplexity so far {:.4} ", window + 1, self.windows, so_far.value());
        }
    }

    fn end(&self) {
        if self.visible {
            eprintln!();
        }
    }
}
