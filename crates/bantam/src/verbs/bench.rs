//! `bantam bench`: how fast a model runs here, beside how fast this machine could be.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use bantam::{Loaded, decode_bytes};
use bantam_engine::{Engine, Event, Request, Settings};
use bantam_model::{Adapter, Model};
use bantam_tensor::kernels::Machine;
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::limits;
use crate::models::Models;
use crate::print::print_json;

/// A speed at more than so many times the model's own context tells nothing.
const CONTEXTS_MAX: usize = 4;

pub(crate) fn run(args: &BenchArgs, models: &Models) -> Result<()> {
    let path = models.locate(&args.model)?;
    let begin = Instant::now();
    let loaded = Loaded::open(&path)?;
    let context_length =
        args.depth.saturating_add(args.prompt).saturating_add(args.gen_tokens).saturating_add(1);
    let made_for = loaded.model.description.context_length;
    if context_length / CONTEXTS_MAX > made_for {
        bail!("{context_length} tokens are far more than the {made_for} that the model was made for");
    }
    // What a prompt comes behind is kept from one request to the next; other states would only take memory.
    let kept_bytes_max = if args.depth > 0 { Settings::default().kept_bytes_max } else { 0 };
    let sequences_max = args.sequences;
    let adapter = args.adapter.open(&loaded)?;
    let context_length = context_length + bantam::virtual_tokens(adapter.as_ref());
    let settings = Settings { context_length, kept_bytes_max, sequences_max, ..args.machine.settings() };
    let engine = Engine::start(loaded.model.clone(), settings)?;
    let load_ms = begin.elapsed().as_secs_f64() * 1e3;
    let machine = args.machine.machine();
    let mut limits = vec![measure_limits(&machine, &loaded.model)];
    let mut rounds = Vec::new();
    // The first round warms up caches and page tables; it does not count.
    for round in 0..=args.rounds {
        let measured = measure(&engine, adapter.as_ref(), args, round as u32)?;
        if round > 0 {
            rounds.push(measured);
        }
    }
    limits.push(measure_limits(&machine, &loaded.model));
    let report = Report { load_ms, limits, rounds, model: &loaded.model, args, threads: machine.threads() };
    if args.json { print_json(&report.json()) } else { report.print() }
}

/// One round.
struct Round {
    /// Until all sequences have their first token.
    prefill_s: f64,
    /// From then on until the first sequence ends.
    decode_s: f64,
    /// New tokens of all sequences in that time.
    decoded: usize,
}

fn measure(engine: &Engine, adapter: Option<&Arc<Adapter>>, args: &BenchArgs, round: u32) -> Result<Round> {
    let (vocab_size, length) = (engine.model().description.vocab_size, args.depth + args.prompt);
    let seeds = (0..args.sequences as u32).map(|sequence| round * args.sequences as u32 + sequence);
    let prompts: Vec<Vec<u32>> = seeds.map(|seed| tokens(vocab_size, length, seed)).collect();
    if args.depth > 0 {
        for prompt in &prompts {
            time(engine, adapter, &prompt[..args.depth], 0)?;
        }
    }
    let times = time_together(engine, adapter, &prompts, args.gen_tokens + 1)?;
    let begin = times.iter().filter_map(|times| times.first()).copied().fold(0.0, f64::max);
    let end = times.iter().filter_map(|times| times.last()).copied().fold(f64::INFINITY, f64::min);
    let decoded = times.iter().flatten().filter(|time| **time > begin && **time <= end).count();
    if decoded == 0 {
        bail!("no token came while all sequences ran: choose more than {} with --gen", args.gen_tokens);
    }
    Ok(Round { prefill_s: begin, decode_s: end - begin, decoded })
}

/// [`time`] for several prompts at once.
fn time_together(
    engine: &Engine,
    adapter: Option<&Arc<Adapter>>,
    prompts: &[Vec<u32>],
    max_tokens: usize,
) -> Result<Vec<Vec<f64>>> {
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            prompts.iter().map(|prompt| scope.spawn(|| time(engine, adapter, prompt, max_tokens))).collect();
        readers.into_iter().map(|reader| reader.join().map_err(|_| anyhow!("a reader panicked"))?).collect()
    })
}

/// Ids from a fixed generator, other ones each round, so that nothing is reused.
fn tokens(vocab_size: usize, count: usize, round: u32) -> Vec<u32> {
    let mut random = bantam_engine::sampling::Random::new(u64::from(round) + 1);
    (0..count).map(|_| (random.uniform() * vocab_size as f64) as u32).collect()
}

/// Seconds from the request to each new token.
fn time(
    engine: &Engine,
    adapter: Option<&Arc<Adapter>>,
    prompt: &[u32],
    max_tokens: usize,
) -> Result<Vec<f64>> {
    let begin = Instant::now();
    let (prompt, adapter) = (prompt.to_vec(), adapter.cloned());
    let request = Request { prompt, adapter, max_tokens: Some(max_tokens), ..Request::default() };
    let mut times = Vec::new();
    for event in engine.submit(request)? {
        match event {
            Event::Token { .. } => times.push(begin.elapsed().as_secs_f64()),
            Event::Failed(error) => return Err(error.into()),
            Event::Prompt { .. } | Event::Pooled(_) | Event::Shifted { .. } | Event::Done { .. } => {}
        }
    }
    Ok(times)
}

/// What the machine can do at best.
#[derive(Clone, Copy)]
struct Limits {
    read_gb_s: f64,
    matrix_tflop_s: f64,
}

fn measure_limits(machine: &Machine, model: &Model) -> Limits {
    Limits { read_gb_s: limits::read_gb_s(machine, model), matrix_tflop_s: limits::matrix_tflop_s(machine) }
}

struct Report<'a> {
    load_ms: f64,
    limits: Vec<Limits>,
    rounds: Vec<Round>,
    model: &'a Model,
    args: &'a BenchArgs,
    threads: usize,
}

/// Median, least and greatest.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Spread { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

impl Report<'_> {
    fn prefill(&self) -> Spread {
        Spread::of(
            self.rounds.iter().map(|round| (self.args.sequences * self.args.prompt) as f64 / round.prefill_s),
        )
    }

    fn decode(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.decoded as f64 / round.decode_s))
    }

    fn ttft_ms(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.prefill_s * 1e3))
    }

    fn limit(&self, of: impl Fn(&Limits) -> f64) -> f64 {
        self.limits.iter().map(of).fold(0.0, f64::max)
    }

    /// Bytes that must be read for one token half way through the answer; weights are read once for all sequences.
    fn bytes_per_token(&self) -> f64 {
        let length = self.args.depth + self.args.prompt + self.args.gen_tokens / 2;
        let weights = decode_bytes(self.model, self.args.machine.kv, 0) as f64;
        let state = decode_bytes(self.model, self.args.machine.kv, length) as f64 - weights;
        weights / self.args.sequences as f64 + state
    }

    /// Operations of the products for one token of a prompt; the head is computed for the last one only.
    fn operations_per_token(&self) -> f64 {
        let layers = self.model.weights.layers.iter().flat_map(|layer| layer.linears());
        layers.map(|linear| 2.0 * linear.matrix.inputs as f64 * linear.matrix.outputs as f64).sum()
    }

    fn json(&self) -> Value {
        let (prefill, decode, ttft_ms) = (self.prefill(), self.decode(), self.ttft_ms());
        let (read, matrix) = (self.limit(|l| l.read_gb_s), self.limit(|l| l.matrix_tflop_s));
        json!({
            "prompt": self.args.prompt, "gen": self.args.gen_tokens, "depth": self.args.depth,
            "sequences": self.args.sequences,
            "threads": self.threads, "rounds": self.rounds.len(),
            "prefill_tok_s": prefill.median, "decode_tok_s": decode.median, "ttft_ms": ttft_ms.median,
            "load_ms": self.load_ms, "peak_rss_bytes": peak_rss_bytes(), "pss_bytes": pss_bytes(),
            "read_gb_s": read, "matrix_tflop_s": matrix,
            "decode_share_of_read": decode.median * self.bytes_per_token() / (read * 1e9),
            "prefill_share_of_matrix": prefill.median * self.operations_per_token() / (matrix * 1e12),
            "spread": {
                "prefill_tok_s": prefill.json(), "decode_tok_s": decode.json(), "ttft_ms": ttft_ms.json(),
            },
        })
    }

    fn print(&self) -> Result<()> {
        let (prefill, decode, ttft) = (self.prefill(), self.decode(), self.ttft_ms());
        let (read, matrix) = (self.limit(|l| l.read_gb_s), self.limit(|l| l.matrix_tflop_s));
        let share = |part: f64| format!("{:.0} %", 100.0 * part);
        let prefill_share = share(prefill.median * self.operations_per_token() / (matrix * 1e12));
        let decode_share = share(decode.median * self.bytes_per_token() / (read * 1e9));
        let range = |s: Spread| format!("{:9.1}  ({:.1} - {:.1})", s.median, s.min, s.max);
        let mut out = std::io::stdout().lock();
        let Report { args, threads, load_ms, .. } = self;
        let (rounds, sequences) = (self.rounds.len(), args.sequences);
        writeln!(
            out,
            "{threads} threads, {sequences} sequences, {rounds} rounds, medians (least - greatest)"
        )?;
        writeln!(
            out,
            "prefill {:5}  {} tok/s, {prefill_share} of {matrix:.2} Top/s",
            args.prompt,
            range(prefill)
        )?;
        let depth = args.depth + args.prompt;
        writeln!(
            out,
            "decode  {:5}  {} tok/s, {decode_share} of {read:.1} GB/s, behind {depth} tokens",
            args.gen_tokens,
            range(decode)
        )?;
        writeln!(out, "first token    {} ms", range(ttft))?;
        writeln!(out, "load           {load_ms:9.1} ms")?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        if let Some(bytes) = peak_rss_bytes() {
            let proportional = pss_bytes().map(|bytes| format!(", {:.1} proportional", mib(bytes)));
            writeln!(out, "peak memory    {:9.1} MiB{}", mib(bytes), proportional.unwrap_or_default())?;
        }
        Ok(())
    }
}

/// The most memory that this process had in use, where the system tells.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    bytes_told("/proc/self/status", "VmHWM:")
}

/// The memory that this process has in use now, where the system tells.
pub(crate) fn resident_bytes() -> u64 {
    bytes_told("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// The memory that this process has in use now, where what it shares with others, as the pages of a model's file, counts
/// in parts.
fn pss_bytes() -> Option<u64> {
    bytes_told("/proc/self/smaps_rollup", "Pss:")
}

/// A number of bytes in a file of the system.
pub(crate) fn bytes_told(file: &str, key: &str) -> Option<u64> {
    let told = std::fs::read_to_string(file).ok()?;
    let line = told.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

impl BenchArgs {
    pub(crate) fn check(&self) -> Result<()> {
        let fits = self.prompt > 0 && self.gen_tokens > 0 && self.rounds > 0 && self.sequences > 0;
        fits.then_some(()).context("--prompt, --gen, --sequences and --rounds must be above zero")
    }
}
